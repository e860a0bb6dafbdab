"""A small search problem with known answers: every score and latency is a formula. Imports no torch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.search import Space
from nas.space import Architecture
from nas.space.choices import ArchitectureSet
from nas.space.slots import Slot

LAYER_MS = {"none": 0.0, "conv1d": 1.0, "self_attention_1d": 2.5, "conv3d": 6.0}
LAYER_MS |= {f"layer_{number}": number / 4 for number in range(25)}

CANDIDATES = (
    ("none", "conv1d"),
    ("none", "conv1d", "self_attention_1d"),
    ("none", "conv1d", "self_attention_1d", "conv3d"),
)


class PlainSpace(ArchitectureSet):
    """Slots without a network: all that a search needs, there at once."""

    fingerprint = "plain"

    def __init__(self, candidates: Sequence[tuple[str, ...]] = CANDIDATES) -> None:
        stages = ("down.0", "down.1", "mid")
        slots = (Slot(stage, 0, names) for stage, names in zip(stages, candidates, strict=False))
        super().__init__("plain", tuple(slots), "a test")


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

    def __init__(self, space: Space, scale: float = 1.0) -> None:
        self.space, self.scale = space, scale

    def predict(self, architecture: Architecture) -> Figure:
        unet_ms = self.scale * (2 + sum(LAYER_MS[name] for name in architecture.choices))
        return Figure(2 + 4 * unet_ms, unet_ms)

    def fastest(self) -> Architecture:
        return self.space.smallest()


def formula_loss(architecture: Architecture) -> float:
    gain = sum((index + 1) * LAYER_MS[name] ** 0.5 for index, name in enumerate(architecture.choices))
    return 10 - gain + random.Random(architecture.id).random()


def true_front(space: Space, latency: FormulaLatency, budget_ms: float = float("inf")) -> set[str]:
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
