"""A small search problem with known answers: every score and latency is a formula."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from nas.quality import QualityMetric
from nas.space import Architecture, SearchSpace

LAYER_MS = {"none": 0.0, "conv1d": 1.0, "self_attention_1d": 2.5, "conv3d": 6.0}


def small_space(**changes: Any) -> SearchSpace:
    """24 architectures in three slots."""
    return SearchSpace.from_dict(
        {
            "name": "small",
            "video": {"frames": 4, "height": 16, "width": 16, "fps": 8},
            "codec": {"kind": "space_to_depth", "factor": 4},
            "text": {"kind": "learned", "tokens": 8, "width": 32, "layers": 1, "heads": 4, "vocabulary": 256},
            "backbone": {
                "down_block_types": ["DownBlock2D", "DownBlock2D"],
                "mid_block_type": "UNetMidBlock2DCrossAttn",
                "up_block_types": ["UpBlock2D", "UpBlock2D"],
                "block_out_channels": [16, 32],
                "layers_per_block": 1,
                "norm_num_groups": 8,
                "cross_attention_dim": 32,
                "attention_head_dim": 4,
            },
            "slots": [
                {"stage": "down.0", "candidates": ["none", "conv1d"]},
                {"stage": "down.1", "candidates": ["none", "conv1d", "self_attention_1d"]},
                {"stage": "mid", "candidates": ["none", "conv1d", "self_attention_1d", "conv3d"]},
            ],
        }
        | changes
    )


@dataclass(frozen=True)
class Figure:
    pipeline_ms: float
    unet_ms: float
    provenance: str = "measured"
    device: str = "test bench"
    runtime: str = "formula"
    steps: int = 4


class FormulaLatency:
    """10 ms and what each layer adds, four steps long."""

    def __init__(self, space: SearchSpace, scale: float = 1.0) -> None:
        self.space, self.scale = space, scale

    def predict(self, architecture: Architecture) -> Figure:
        unet_ms = self.scale * (2 + sum(LAYER_MS[name] for name in architecture.choices))
        return Figure(2 + 4 * unet_ms, unet_ms)

    def fastest(self) -> Architecture:
        return self.space.smallest()


class FormulaQuality(QualityMetric):
    """A loss that falls with what the layers do, with a bit of noise that is fixed per architecture."""

    name = "formula loss"
    direction = "minimize"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def score(self, architecture: Architecture) -> float:
        self.calls.append(architecture.id)
        return formula_loss(architecture)


def formula_loss(architecture: Architecture) -> float:
    gain = sum((index + 1) * LAYER_MS[name] ** 0.5 for index, name in enumerate(architecture.choices))
    return 10 - gain + random.Random(architecture.id).random()


def true_front(space: SearchSpace, latency: FormulaLatency, budget_ms: float = float("inf")) -> set[str]:
    """Ids of the front over the whole space, by comparing all pairs."""
    points = {
        one.id: (formula_loss(one), latency.predict(one).pipeline_ms)
        for one in space.enumerate()
        if latency.predict(one).pipeline_ms <= budget_ms
    }
    return {
        key
        for key, (loss, ms) in points.items()
        if not any(a <= loss and b <= ms and (a, b) != (loss, ms) for a, b in points.values())
    }
