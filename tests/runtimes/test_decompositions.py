from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas.errors import RuntimeUnavailableError
from nas.models import build_module, example_inputs
from nas.runtimes import get_runtime
from nas.runtimes.core_ml.program import read_program
from nas.runtimes.decompositions import nearest_3d, nearest_exact_2d
from nas.space import SearchSpace
from tests.models.test_autoencoders import CLIPS, SIZES
from tests.space.spaces import tiny


@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 1, 1), (2, 2, 3), (1, 1, 1)])
def test_upsampling_of_clips_is_torchs(factors: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, 4, 2, 5)
    expected = F.interpolate(x, scale_factor=factors, mode="nearest")
    assert torch.equal(nearest_3d(x, None, [float(factor) for factor in factors]), expected)
    assert torch.equal(nearest_3d(x, list(expected.shape[2:]), None), expected)
    exact = F.interpolate(x[:, :, 0], scale_factor=factors[1:], mode="nearest-exact")
    assert torch.equal(nearest_exact_2d(x[:, :, 0], None, [float(factor) for factor in factors[1:]]), exact)


class _Half(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=(1.5, 1, 1), mode="nearest")


def test_upsampling_by_a_half_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"^_Half cannot be converted to Core ML: nearest upsampling of"):
        get_runtime("coreml").convert(_Half(), (torch.randn(1, 1, 2, 2, 2),), ("x",), tmp_path / "half.mlpackage")


@pytest.mark.parametrize("kind", ["AutoencoderKLTemporalDecoder", "AutoencoderVidTok"])
def test_decoders_of_clips_become_core_ml_programs(kind: str, tmp_path: Path) -> None:
    frames, spatial, temporal = SIZES[kind]
    codec = {
        "kind": "autoencoder", "layout": {"_class_name": kind, **CLIPS[kind]}, "latent_channels": 4,
        "spatial_factor": spatial, "temporal_factor": temporal,
    }  # fmt: skip
    video = {"frames": frames, "height": 2 * spatial, "width": 4 * spatial, "fps": 4}
    space = SearchSpace.from_dict(tiny(codec=codec, video=video))
    block = space.lower_pipeline(space.smallest()).decoder.blocks[0]
    path = tmp_path / "decoder.mlpackage"
    get_runtime("coreml").convert(build_module(block), (torch.randn(block.inputs[0].shape),), ("latent",), path)
    assert read_program(path).highest_rank <= 5


def test_clip_becomes_a_core_ml_program(tmp_path: Path) -> None:
    """With as many tokens as it has positions, of which it then takes all: a slice that is its input."""
    pytest.importorskip("transformers")
    layout = {"vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    layout |= {"num_attention_heads": 2, "max_position_embeddings": 8}
    space = SearchSpace.from_dict(tiny(text={"kind": "clip", "layout": layout, "tokens": 8, "width": 16}))
    block = space.lower_pipeline(space.smallest()).text_encoder.blocks[0]
    path = tmp_path / "text.mlpackage"
    get_runtime("coreml").convert(build_module(block), example_inputs(block), ("tokens",), path)
    assert read_program(path).operations["softmax"] == 2, "one attention per layer"
