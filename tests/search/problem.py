"""The small search problem as a search space with a network to each architecture, and as a quality metric."""

from __future__ import annotations

from typing import Any

from nas.quality import QualityMetric
from nas.space import Architecture, SearchSpace
from tests.search.formulas import FormulaLatency, formula_loss, true_front
from tests.tiny import TINY

__all__ = ["FormulaLatency", "FormulaQuality", "formula_loss", "small_space", "true_front"]


def small_space(**changes: Any) -> SearchSpace:
    """24 architectures in three slots."""
    return SearchSpace.from_dict(
        TINY
        | {
            "name": "small",
            "text": TINY["text"] | {"width": 32, "heads": 4, "vocabulary": 256},
            "prediction": "velocity",
            "backbone": TINY["backbone"]
            | {
                "down_block_types": ["DownBlock2D", "DownBlock2D"],
                "up_block_types": ["UpBlock2D", "UpBlock2D"],
                "block_out_channels": [16, 32],
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


class FormulaQuality(QualityMetric):
    """A loss that falls with what the layers do, with a bit of noise that is fixed per architecture."""

    name = "formula loss"
    direction = "minimize"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def score(self, architecture: Architecture) -> float:
        self.calls.append(architecture.id)
        return formula_loss(architecture)
