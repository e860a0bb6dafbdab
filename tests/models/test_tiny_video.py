"""The tiny autoencoder of clips: causal, in pieces, as a folder, as a codec, and in the formats of phones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nas.errors import CheckpointError, ConfigError
from nas.latency import Estimator, get_phone
from nas.latency.estimating.operations import operations
from nas.models import block_cost, build_module, make_codec
from nas.models.costs import abstract_block
from nas.models.tiny_video import AutoencoderTinyVideo
from nas.models.tiny_video_levels import MemoryBlock
from nas.runtimes import compare, get_runtime, to_arrays
from nas.runtimes.core_ml.program import read_program
from nas.space import Block, SearchSpace
from tests.space.spaces import tiny

LAYOUT: dict[str, Any] = {
    "decoder_block_out_channels": [16, 8, 8],
    "num_decoder_blocks": [1, 1, 0],
    "encoder_block_out_channels": [8, 8, 8],
    "num_encoder_blocks": [0, 1, 1],
}
"""Eight frames and 8x8 pixels to one latent place."""


def _model(**changes: Any) -> AutoencoderTinyVideo:
    torch.manual_seed(0)
    return AutoencoderTinyVideo(**LAYOUT | changes).eval()  # type: ignore[no-any-return]


def _video(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _space(root: Path, frames: int = 16, **codec: Any) -> SearchSpace:
    part = {"kind": "autoencoder", "latent_channels": 4, "spatial_factor": 8, "temporal_factor": 8} | codec
    video = {"frames": frames, "height": 16, "width": 32, "fps": 8}
    return SearchSpace.from_dict(tiny(codec=part, video=video), where=root / "space.yaml")


def _decoder_block(space: SearchSpace) -> Block:
    return space.lower_pipeline(space.smallest()).decoder.blocks[0]


def test_block_computes_the_published_one() -> None:
    """TAEHV concatenates a frame with the one before, zeros at first, and convolves both together."""
    torch.manual_seed(0)
    block, x = MemoryBlock(6), torch.randn(2, 5, 6, 4, 4)
    own, before = block.conv_in.weight.chunk(2)
    with torch.no_grad():
        block.conv_in.bias[6:] = 0  # the published block has one bias, for both
        made, last = block(x.flatten(0, 1), 2, None)
        for clip in range(2):
            for frame in range(5):
                past = x[clip, frame - 1] if frame else torch.zeros(6, 4, 4)
                pair, weight = torch.cat([x[clip, frame], past])[None], torch.cat([own, before], 1)
                y = F.relu(F.conv2d(pair, weight, block.conv_in.bias[:6], padding=1))
                y = F.relu(x[clip, frame] + block.conv_out(F.relu(block.conv_mid(y))))
                torch.testing.assert_close(made[clip * 5 + frame], y[0], rtol=1e-4, atol=1e-5)
    assert last.shape == (2, 6, 4, 4)


def test_a_clip_in_pieces_is_the_whole_clip() -> None:
    whole, piecewise, x = _model(), _model(latent_frames_at_once=1), _video(2, 3, 24, 16, 32)
    with torch.no_grad():
        z, pixels = whole.encode(x).latents, whole(x).sample
        assert z.shape == (2, 4, 3, 2, 4)
        assert pixels.shape == x.shape
        torch.testing.assert_close(piecewise.encode(x).latents, z)
        torch.testing.assert_close(piecewise.decode(z).sample, pixels)
        made, memory = [], None
        for latent in z.transpose(1, 2).split(1, dim=1):
            frames, memory = whole.decoder(latent, memory)
            made.append(frames)
        torch.testing.assert_close(torch.cat(made, 1).transpose(1, 2), pixels)
        torch.testing.assert_close(whole.decode(z[:1]).sample, pixels[:1])


def test_a_frame_depends_on_no_later_one_and_on_earlier_ones() -> None:
    model, x = _model(), _video(1, 3, 24, 16, 16)
    later = x.clone()
    later[:, :, 8:16] *= -1
    with torch.no_grad():
        z, other = model.encode(x).latents, model.encode(later).latents
        assert torch.equal(z[:, :, 0], other[:, :, 0])
        assert all((z[:, :, frame] - other[:, :, frame]).abs().max() > 1e-6 for frame in (1, 2))
        pixels, decoded = (
            model.decode(z).sample,
            model.decode(torch.cat([z[:, :, :1], -z[:, :, 1:2], z[:, :, 2:]], 2)).sample,
        )
        assert torch.equal(pixels[:, :, :8], decoded[:, :, :8])
        assert (pixels[:, :, 16:] - decoded[:, :, 16:]).abs().max() > 1e-6


def test_an_image_is_a_clip_that_stands_still() -> None:
    model, image = _model(), _video(2, 3, 1, 16, 16)
    with torch.no_grad():
        z = model.encode(image).latents
        assert z.shape == (2, 4, 1, 2, 2)
        assert torch.equal(z, model.encode(image.expand(-1, -1, 8, -1, -1)).latents)


def test_a_first_frame_apart(tmp_path: Path) -> None:
    """As in diffusers' causal autoencoders, 1 + 8 + 8 frames are three latent frames, and an image is one of each."""
    plain, model, x = _model(), _model(first_frame_apart=True), _video(1, 3, 17, 16, 32)
    with torch.no_grad():
        z = model.encode(x).latents
        assert z.shape == (1, 4, 3, 2, 4)
        torch.testing.assert_close(z, plain.encode(torch.cat([x[:, :, :1].expand(-1, -1, 7, -1, -1), x], 2)).latents)
        torch.testing.assert_close(model.encode(x[:, :, :1]).latents, z[:, :, :1])
        torch.testing.assert_close(model.decode(z).sample, plain.decode(z).sample[:, :, 7:])
        assert model.decode(z[:, :, :1]).sample.shape[2] == 1
    model.save_pretrained(tmp_path / "vae")
    codec = make_codec(_space(tmp_path, frames=17, path="vae"))
    assert codec.decode(codec.encode(x.transpose(1, 2))).shape == (1, 17, 3, 16, 32)


@pytest.mark.parametrize(
    ("changes", "spatial", "temporal"),
    [
        ({"patch_size": 1, "patch_size_t": 1}, 4, 4),
        ({"patch_size": 4, "temporal_upsample": [False, True], "patch_size_t": 1}, 16, 2),
        ({"spatial_upsample": [True, False], "temporal_upsample": [False, False], "patch_size_t": 1}, 4, 1),
        ({"temporal_upsample": [False, False], "patch_size_t": 3, "num_decoder_blocks": [0, 0, 0]}, 8, 3),
    ],
)
def test_factors(changes: dict[str, Any], spatial: int, temporal: int) -> None:
    model = _model(**changes)
    assert (model.spatial_compression_ratio, model.temporal_compression_ratio) == (spatial, temporal)
    x = _video(1, 3, 2 * temporal, 2 * spatial, 3 * spatial)
    with torch.no_grad():
        z = model.encode(x).latents
        assert z.shape == (1, 4, 2, 2, 3)
        assert model.decode(z).sample.shape == x.shape


def test_folder_as_a_codec(tmp_path: Path) -> None:
    model = _model(scaling_factor=0.5, latents_mean=[0.1, 0.2, 0.3, 0.4])
    model.save_pretrained(tmp_path / "vae")
    assert json.loads((tmp_path / "vae" / "config.json").read_text())["_class_name"] == "AutoencoderTinyVideo"
    space, x = _space(tmp_path, path="vae"), _video(2, 16, 3, 16, 32)
    codec = make_codec(space)
    with torch.no_grad():
        z = model.encode(x.transpose(1, 2)).latents.transpose(1, 2)
        pixels = model.decode(z.transpose(1, 2)).sample.transpose(1, 2)
    latent = codec.encode(x)
    assert latent.shape == (2, *space.latent_shape)
    mean = torch.tensor([0.1, 0.2, 0.3, 0.4]).reshape(-1, 1, 1)
    torch.testing.assert_close(latent, (z - mean) * 0.5, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codec.decode(latent), pixels.clamp(-1, 1), rtol=1e-4, atol=1e-5)
    assert codec.encode(x[:, :1]).shape[1] == 1
    layout = {"_class_name": "AutoencoderTinyVideo", **LAYOUT, "patch_size": 2}
    plain = {"scaling_factor": 0.5, "latents_mean": [0.1, 0.2, 0.3, 0.4]}
    block = _decoder_block(space)
    assert block == _decoder_block(_space(tmp_path, layout=layout | plain))
    assert block_cost(block).parameters == sum(parameter.numel() for parameter in model.decoder.parameters())
    assert build_module(block).eval()(latent).shape == pixels.shape


@pytest.mark.parametrize("key", ["spatial_factor", "temporal_factor"])
def test_folder_of_other_factors_than_the_space_says(key: str, tmp_path: Path) -> None:
    _model().save_pretrained(tmp_path / "vae")
    message = f"its {key} is 8, but the search space's codec.{key} is 4"
    with pytest.raises(CheckpointError, match=message):
        make_codec(_space(tmp_path, path="vae", **{key: 4}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_decoder_blocks": [1]}, "num_decoder_blocks: expected 3 integers of at least 0, got [1]"),
        ({"num_encoder_blocks": 3}, "num_encoder_blocks: expected 3 integers of at least 0, got 3"),
        ({"encoder_block_out_channels": [8, -8, 8]}, "expected 3 integers of at least 1, got [8, -8, 8]"),
        ({"decoder_block_out_channels": []}, "decoder_block_out_channels: expected integers of at least 1, got []"),
        ({"decoder_block_out_channels": ["wide"]}, 'expected integers of at least 1, got ["wide"]'),
        ({"spatial_upsample": [2, 2]}, "spatial_upsample: expected true or false 2 times, one for each two levels"),
        ({"temporal_upsample": [True]}, "temporal_upsample: expected true or false 2 times"),
        ({"patch_size": 0}, "patch_size_t and patch_size: expected integers of at least 1, got [2, 0]"),
        ({"latent_frames_at_once": 0}, "latent_frames_at_once: expected integers of at least 1, got [0]"),
        ({"first_frame_apart": 1}, "first_frame_apart: expected true or false, got 1"),
        ({"depth": 3}, "codec.layout: AutoencoderTinyVideo has no field 'depth'"),
    ],
)
def test_layouts_that_cannot_be(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    space = _space(tmp_path, layout={"_class_name": "AutoencoderTinyVideo", **LAYOUT, **changes})
    with pytest.raises(ConfigError) as caught:
        build_module(_decoder_block(space))
    assert message in str(caught.value)
    assert "codec.layout" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frames_that_are_no_whole_groups_do_not_fit_the_space(tmp_path: Path) -> None:
    layout = {"_class_name": "AutoencoderTinyVideo", **LAYOUT}
    with pytest.raises(ConfigError, match=r"makes 1x16x3x16x32 of latent:1x2x4x2x4, not 1x12x3x16x32"):
        block_cost(_decoder_block(_space(tmp_path, frames=12, layout=layout)))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "coreai"])
@pytest.mark.parametrize("at_once", [None, 1])
def test_decoder_in_the_formats_of_phones_computes_the_same(runtime: str, at_once: int | None, tmp_path: Path) -> None:
    layout = {"_class_name": "AutoencoderTinyVideo", **LAYOUT, "latent_frames_at_once": at_once}
    block = _decoder_block(_space(tmp_path, layout=layout))
    torch.manual_seed(0)
    module, z = build_module(block).eval(), torch.randn(block.inputs[0].shape)
    settings = {"precision": "fp32"} if runtime == "coreai" else {}
    run = get_runtime(runtime, **settings).prepare(module, (z,), ("latent",), tmp_path)
    with torch.no_grad():
        reference = module(z)
    assert compare(run.run(to_arrays([z])), reference.numpy()).psnr_db >= 90


@pytest.mark.slow
def test_core_ml_program_has_four_dimensions_inside(tmp_path: Path) -> None:
    """Only the clip itself has five: its latent, and its pixels with their clamp."""
    block = _decoder_block(_space(tmp_path, layout={"_class_name": "AutoencoderTinyVideo", **LAYOUT}))
    path = tmp_path / "decoder.mlpackage"
    get_runtime("coreml").convert(build_module(block), (torch.randn(block.inputs[0].shape),), ("latent",), path)
    program = read_program(path)
    assert program.highest_rank == 5
    assert program.operations["conv"] == 10


def test_nothing_of_it_leaves_the_neural_engine_by_estimate(tmp_path: Path) -> None:
    block = _decoder_block(_space(tmp_path, layout={"_class_name": "AutoencoderTinyVideo", **LAYOUT}))
    assert {each.kind for each in operations(*abstract_block(block))} == {"convolution", "elementwise", "layout"}
    assert Estimator(get_phone("iphone-16-pro-max"), "cpu_and_ne").block_ms(block) > 0
