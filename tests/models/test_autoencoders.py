from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

from nas.errors import CheckpointError, ConfigError
from nas.models import block_cost, build_module, make_codec
from nas.models.parts import make_decoder
from nas.space import Block, SearchSpace
from tests.frozen import save_autoencoder
from tests.space.spaces import tiny

CLIPS: dict[str, dict[str, Any]] = {
    "AutoencoderKLTemporalDecoder": {
        "down_block_types": ["DownEncoderBlock2D"] * 2, "block_out_channels": [32, 32], "layers_per_block": 1,
    },
    "AutoencoderKLHunyuanVideo": {
        "latent_channels": 4, "block_out_channels": [16] * 4, "norm_num_groups": 4, "layers_per_block": 1,
        "scaling_factor": 0.5,
    },
    "AutoencoderKLCogVideoX": {
        "latent_channels": 4, "block_out_channels": [8] * 4, "norm_num_groups": 4, "layers_per_block": 1,
    },
    "AutoencoderKLWan": {
        "base_dim": 4, "z_dim": 4, "num_res_blocks": 1,
        "latents_mean": [0.5, 1.0, 1.5, 2.0], "latents_std": [2.0, 4.0, 8.0, 16.0],
    },
    "AutoencoderVidTok": {
        "ch": 8, "ch_mult": [1, 1], "spatial_ds": [0], "spatial_us": [1], "tempo_ds": [0], "tempo_us": [1],
        "num_res_blocks": 1, "is_causal": False,
    },
}  # fmt: skip
"""Small autoencoders of diffusers that know more than one frame."""

SIZES = {
    "AutoencoderKLTemporalDecoder": (3, 2, 1),
    "AutoencoderKLHunyuanVideo": (9, 8, 4),
    "AutoencoderKLCogVideoX": (9, 8, 4),
    "AutoencoderKLWan": (9, 8, 4),
    "AutoencoderVidTok": (16, 2, 2),
}
"""Their frames, spatial and temporal factors."""


def _video(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _save_autoencoder(kind: str, folder: Path) -> AutoencoderKL | AutoencoderTiny:
    if kind == "AutoencoderKL":
        return save_autoencoder(folder, shift_factor=0.25)
    torch.manual_seed(0)
    model = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=4,
    ).eval()
    model.save_pretrained(folder)
    return model


def _space(root: Path, **codec: Any) -> SearchSpace:
    """A space whose file lies in `root/spaces`, and its autoencoder in `root/vae`."""
    part = {"kind": "autoencoder", "path": "../vae", "latent_channels": 4, "spatial_factor": 2} | codec
    return SearchSpace.from_dict(tiny(codec=part), where=root / "spaces" / "space.yaml")


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny"])
def test_autoencoder_that_diffusers_saved(kind: str, tmp_path: Path) -> None:
    model = _save_autoencoder(kind, tmp_path / "vae")
    space = _space(tmp_path)
    codec, x = make_codec(space), _video(2, 3, 3, 8, 16)
    latent = codec.encode(x)
    assert latent.shape == (2, *space.latent_shape)
    with torch.no_grad():
        encoded = model.encode(x[1])
        raw = encoded.latent_dist.mean if kind == "AutoencoderKL" else encoded.latents
        expected = (raw - 0.25) * 0.5 if kind == "AutoencoderKL" else raw
        decoded = model.decode(raw).sample.clamp(-1, 1)
    torch.testing.assert_close(latent[1], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codec.decode(latent)[1], decoded, rtol=1e-4, atol=1e-4)
    assert torch.equal(codec.encode(x), latent)


def test_autoencoder_decoder_is_a_block_with_costs(tmp_path: Path) -> None:
    model = _save_autoencoder("AutoencoderKL", tmp_path / "vae")
    space = _space(tmp_path)
    block = space.lower_pipeline(space.smallest()).decoder.blocks[0]
    with torch.no_grad():
        assert build_module(block)(torch.randn(1, *space.latent_shape)).shape == block.output_shape
    decoder = [*model.decoder.parameters(), *model.post_quant_conv.parameters()]
    cost = block_cost(block)
    assert cost.macs > 0
    assert cost.parameters == sum(parameter.numel() for parameter in decoder)


def _refused(space: SearchSpace) -> str:
    with pytest.raises(CheckpointError) as caught:
        make_codec(space)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_that_hold_no_autoencoder(tmp_path: Path) -> None:
    folder, space = tmp_path / "vae", _space(tmp_path)
    config = folder / "config.json"
    assert _refused(space) == f"{config}: no such file"
    folder.mkdir()
    for text, message in (("{", "not JSON"), ("[]", "'' is not an autoencoder"), ("{}", "'' is not an autoencoder")):
        config.write_text(text)
        assert message in _refused(space)
    config.write_text(json.dumps({"_class_name": "AutoencoderNothing"}))
    assert "_class_name 'AutoencoderNothing' is not an autoencoder of diffusers" in _refused(space)
    UNet2DConditionModel(**tiny()["backbone"]).save_pretrained(folder)
    assert "_class_name 'UNet2DConditionModel' is not an autoencoder of diffusers" in _refused(space)


def test_damaged_autoencoder(tmp_path: Path) -> None:
    _save_autoencoder("AutoencoderTiny", tmp_path / "vae")
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert _refused(_space(tmp_path)).startswith(f"{tmp_path / 'vae'}: cannot be loaded")
    file.unlink()
    assert _refused(_space(tmp_path)).startswith(f"{file}: no such file; ")


@pytest.mark.parametrize(("key", "real", "said"), [("latent_channels", 4, 8), ("spatial_factor", 2, 4)])
@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny"])
def test_autoencoder_of_other_sizes_than_the_file_says(
    kind: str, key: str, real: int, said: int, tmp_path: Path
) -> None:
    _save_autoencoder(kind, tmp_path / "vae")
    config = tmp_path / "vae" / "config.json"
    expected = f"{config}: its {key} is {real}, but the search space's codec.{key} is {said}"
    assert _refused(_space(tmp_path, **{key: said})) == expected


def _clip_space(root: Path, kind: str, **codec: Any) -> SearchSpace:
    frames, spatial, temporal = SIZES[kind]
    part = {
        "kind": "autoencoder", "latent_channels": 4, "spatial_factor": spatial, "temporal_factor": temporal,
    } | codec  # fmt: skip
    video = {"frames": frames, "height": 2 * spatial, "width": 4 * spatial, "fps": 4}
    return SearchSpace.from_dict(tiny(codec=part, video=video), where=root / "space.yaml")


def _decoder_block(space: SearchSpace) -> Block:
    return space.lower_pipeline(space.smallest()).decoder.blocks[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLIPS)
def test_autoencoder_of_clips(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = getattr(diffusers, kind)(**CLIPS[kind]).eval()
    model.save_pretrained(tmp_path / "vae")
    space = _clip_space(tmp_path, kind, path="vae")
    codec, x = make_codec(space), _video(1, *(space.file.video.frames, 3, *(f * SIZES[kind][1] for f in (2, 4))))
    latent = codec.encode(x)
    assert latent.shape == (1, *space.latent_shape)
    with torch.no_grad():
        flat = kind == "AutoencoderKLTemporalDecoder"
        z = model.encode(x[0] if flat else x.transpose(1, 2)).latent_dist.mode()
        decoded = model.decode(z, num_frames=len(x[0])) if flat else model.decode(z)
        pixels = decoded if isinstance(decoded, torch.Tensor) else decoded.sample
    z, pixels = (z[None], pixels[None]) if flat else (z.transpose(1, 2), pixels.transpose(1, 2))
    std = torch.tensor(CLIPS[kind].get("latents_std", [1.0])).reshape(-1, 1, 1) / model.config.get("scaling_factor", 1)
    mean = torch.tensor(CLIPS[kind].get("latents_mean", [0.0])).reshape(-1, 1, 1)
    torch.testing.assert_close(latent, (z - mean) / std, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codec.decode(latent), pixels.clamp(-1, 1), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(make_decoder(space)(latent), codec.decode(latent))
    by_layout = _clip_space(tmp_path, kind, layout={"_class_name": kind, **CLIPS[kind]})
    block = _decoder_block(by_layout)
    assert block == _decoder_block(space)
    assert build_module(block).eval()(latent).shape == block.output_shape == x.shape
    assert block_cost(block).parameters == sum(parameter.numel() for parameter in make_decoder(space).parameters())


def test_key_of_a_decoder_holds_what_it_computes_and_not_where_it_lies(tmp_path: Path) -> None:
    for name in ("here", "there"):
        _save_autoencoder("AutoencoderKL", tmp_path / name / "vae")
    keys = {_decoder_block(_space(tmp_path / name)).key for name in ("here", "there")}
    assert len(keys) == 1
    assert str(tmp_path) not in keys.pop()
    defaults = {"_class_name": "AutoencoderTiny", "latent_channels": 4, "act_fn": "relu"}
    written, left_out = ({"path": None, "layout": layout} for layout in (defaults, {"_class_name": "AutoencoderTiny"}))
    assert _decoder_block(_space(tmp_path, **written)) == _decoder_block(_space(tmp_path, **left_out))


def test_layouts_that_cannot_be(tmp_path: Path) -> None:
    for layout, message in (
        ({"_class_name": "AutoencoderTiny", "depth": 3}, "codec.layout: AutoencoderTiny has no field 'depth'"),
        ({"depth": 3}, "codec.layout: _class_name '' is not an autoencoder of diffusers"),
    ):
        with pytest.raises(ConfigError, match=message):
            _decoder_block(_space(tmp_path, path=None, layout=layout))
    with pytest.raises(ConfigError, match="needs a path, or a layout, or both"):
        _space(tmp_path, path=None)
    layout = {"_class_name": "AutoencoderTiny"}
    with pytest.raises(ConfigError, match=r"codec has a layout, and no weights; name the folder .* in codec.path"):
        make_codec(_space(tmp_path, path=None, layout=layout))
    _save_autoencoder("AutoencoderTiny", tmp_path / "vae")
    assert "is another autoencoder than the search space's codec.layout says" in _refused(
        _space(tmp_path, layout=layout)
    )


def test_decoder_that_makes_another_clip_than_the_space_says(tmp_path: Path) -> None:
    layout = {"_class_name": "AutoencoderKLHunyuanVideo", **CLIPS["AutoencoderKLHunyuanVideo"]}
    video = {"frames": 12, "height": 16, "width": 32, "fps": 4}
    codec = {"kind": "autoencoder", "layout": layout, "latent_channels": 4, "spatial_factor": 8, "temporal_factor": 4}
    with pytest.raises(ConfigError, match=r"makes 1x9x3x16x32 of latent:1x3x4x2x4, not 1x12x3x16x32"):
        block_cost(_decoder_block(SearchSpace.from_dict(tiny(codec=codec, video=video))))


def test_frames_that_an_autoencoder_cannot_encode(tmp_path: Path) -> None:
    torch.manual_seed(0)
    diffusers.AutoencoderVidTok(**CLIPS["AutoencoderVidTok"]).save_pretrained(tmp_path / "vae")
    codec = make_codec(_clip_space(tmp_path, "AutoencoderVidTok", path="vae"))
    with pytest.raises(ConfigError, match=r"AutoencoderVidTok cannot encode 1 frames: .*; set image_batch_size: 0"):
        codec.encode(_video(1, 1, 3, 4, 8))
