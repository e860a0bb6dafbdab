from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import CheckpointError
from nas.models import Codec, block_cost, build_module, make_codec
from nas.space import SearchSpace
from tests.space.spaces import few, tiny, tiny_space


def _video(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@few
@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_space_to_depth_loses_nothing(factor: int, batch: int, frames: int, height: int, width: int) -> None:
    video = {"frames": frames, "height": 2 * factor * height, "width": 2 * factor * width, "fps": 4}
    space = tiny_space(codec={"kind": "space_to_depth", "factor": factor}, video=video)
    codec, x = make_codec(space), _video(batch, frames, 3, video["height"], video["width"])
    latent = codec.encode(x)
    assert latent.shape == (batch, *space.latent_shape)
    assert torch.equal(codec.decode(latent), x)


def test_space_to_depth_keeps_patches_together() -> None:
    codec, x = make_codec(tiny_space()), torch.zeros(1, 3, 3, 8, 16)
    x[0, 1, :, 2:4, 6:8] = 1
    latent = codec.encode(x)
    assert (latent[0, 1, :, 1, 3] == 1).all()
    assert latent.sum() == 12


def test_identity() -> None:
    space = tiny_space(codec={"kind": "identity"})
    codec, x = make_codec(space), _video(2, 3, 3, 8, 16)
    assert codec.encode(x).shape == (2, *space.latent_shape)
    assert torch.equal(codec.decode(codec.encode(x)), x)


@pytest.mark.parametrize("codec", [{"kind": "identity"}, {"kind": "space_to_depth", "factor": 2}])
def test_decoder_block_is_the_codec_and_keeps_pixels_in_range(codec: dict[str, Any]) -> None:
    space = tiny_space(codec=codec)
    decoder = build_module(space.lower_pipeline(space.smallest()).decoder.blocks[0])
    latent = 3 * torch.randn(2, *space.latent_shape)
    pixels = decoder(latent)
    assert torch.equal(pixels, make_codec(space).decode(latent))
    assert pixels.abs().max() == 1


def _save_autoencoder(kind: str, folder: Path) -> AutoencoderKL | AutoencoderTiny:
    torch.manual_seed(0)
    model: Any
    if kind == "AutoencoderKL":
        model = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.5,
            shift_factor=0.25,
        )
    else:
        model = AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=4,
        )
    model.eval().save_pretrained(folder)
    return model  # type: ignore[no-any-return]


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
    assert _refused(_space(tmp_path)).startswith(f"{tmp_path / 'vae'}: cannot be loaded")


@pytest.mark.parametrize(("key", "real", "said"), [("latent_channels", 4, 8), ("spatial_factor", 2, 4)])
@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny"])
def test_autoencoder_of_other_sizes_than_the_file_says(
    kind: str, key: str, real: int, said: int, tmp_path: Path
) -> None:
    _save_autoencoder(kind, tmp_path / "vae")
    config = tmp_path / "vae" / "config.json"
    expected = f"{config}: its {key} is {real}, but the search space's codec.{key} is {said}"
    assert _refused(_space(tmp_path, **{key: said})) == expected


def test_codec_is_abstract() -> None:
    with pytest.raises(TypeError):
        Codec()  # type: ignore[abstract]
