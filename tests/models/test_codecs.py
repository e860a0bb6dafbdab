from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.models import Codec, build_module, make_codec
from tests.space.spaces import few, tiny_space


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


def test_codec_is_abstract() -> None:
    with pytest.raises(TypeError):
        Codec()  # type: ignore[abstract]
