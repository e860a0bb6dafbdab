"""A small model with guidance, and its bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.export import export_bundle
from nas.models import Generation, VideoModel
from nas.space import SearchSpace
from tests.tiny import ONE_LEVEL, TINY

SPACE = TINY | {
    "video": {"frames": 2, "height": 8, "width": 8, "fps": 8},
    "codec": {"kind": "space_to_depth", "factor": 2},
    "prediction": "velocity",
    "backbone": ONE_LEVEL
    | {
        "down_block_types": ["CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D"],
        "mid_block_type": None,
    },
    "slots": [{"stage": "down.0", "candidates": ["conv1d", "self_attention_1d"]}],
}

LATENCY = {
    "unet_calls": 6, "text_encoder_ms": 0.25, "unet_ms": 1.5, "decoder_ms": 0.125, "pipeline_ms": 9.375,
    "provenance": "measured", "device": "a machine", "runtime": "onnxruntime",
}  # fmt: skip


def build(generation: Generation) -> VideoModel:
    space = SearchSpace.from_dict(SPACE)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        architecture = space.architecture(["self_attention_1d"])
        model = VideoModel.build(space, architecture, generation)
        for parameter in model.unet.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.unet.eval()
    model.text_encoder.eval()
    return model


@pytest.fixture(scope="session")
def guided() -> VideoModel:
    """A model that needs guidance, and steps that are not even."""
    return build(Generation(steps=3, guidance_scale=2.5, shift=3.0))


@pytest.fixture(scope="session")
def onnx_bundle(guided: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle, with the ONNX networks alone: no weights for torch, no space."""
    folder = tmp_path_factory.mktemp("guided") / "bundle"
    export_bundle(guided, folder, ["onnx"], latency=LATENCY, prompt="a red dog")
    return folder
