"""Predicting the latency of whole architectures from the latencies of their blocks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.latency.rows import Provenance, weakest
from nas.latency.table import LatencyTable
from nas.space import Architecture, Node, SearchSpace

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class PipelineLatency:
    """Latency of making one clip.

    Args:
        text_encoder_ms: One call of the text encoder.
        unet_ms: One call of the denoising network.
        decoder_ms: One call of the decoder.
        steps: Calls of the denoising network. Guidance doubles the work of each step; models that need it
            need twice as many calls.
        provenance: `measured` where all blocks' latencies are; a sum of measured latencies is itself a prediction.
        device: The device the latencies belong to.
        runtime: The runtime they belong to.
    """

    text_encoder_ms: float
    unet_ms: float
    decoder_ms: float
    steps: int
    provenance: Provenance
    device: str
    runtime: str

    @property
    def pipeline_ms(self) -> float:
        """Text encoder once, denoising network `steps` times, decoder once."""
        return self.text_encoder_ms + self.steps * self.unet_ms + self.decoder_ms

    def to_dict(self) -> dict[str, float | int | str]:
        """Plain data for reports; `unet_calls` are the steps, twice as many with guidance."""
        values = dataclasses.asdict(self)
        return {"unet_calls": values.pop("steps"), **values, "pipeline_ms": self.pipeline_ms}


class LatencyPredictor:
    """Sums the blocks of a plan.

    Args:
        space: The search space.
        table: Latencies of its blocks.
        steps: Denoising steps of one clip.
    """

    def __init__(self, space: SearchSpace, table: LatencyTable, steps: int = 4) -> None:
        self.space = space
        self.table = table
        self.steps = steps

    def predict(self, architecture: Architecture) -> PipelineLatency:
        """Latency of an architecture.

        Raises:
            ArchitectureError: It does not belong to the space.
            TableError: A block is not in the table.
        """
        pipeline = self.space.lower_pipeline(architecture)
        plans = (pipeline.text_encoder, pipeline.unet, pipeline.decoder)
        text_encoder_ms, unet_ms, decoder_ms = (self._sum_ns(plan.nodes) / _NS_PER_MS for plan in plans)
        provenance = weakest(self.table.row(block) for block in pipeline.blocks)
        metadata = self.table.metadata
        return PipelineLatency(
            text_encoder_ms, unet_ms, decoder_ms, self.steps, provenance, metadata.device, metadata.runtime
        )

    def predict_many(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """`pipeline_ms` of many architectures, equal to `predict`'s to the last bit; raises as `predict`."""
        names = [self.space.check(architecture).choices for architecture in architectures]
        unet_ns = np.full(len(names), self._contributions.backbone_ns, dtype=np.int64)
        for column, slot_ns in zip(zip(*names, strict=True), self._contributions.slots_ns, strict=False):
            unet_ns += np.fromiter((slot_ns[name] for name in column), dtype=np.int64, count=len(names))
        fixed = self._contributions
        return fixed.text_encoder_ns / _NS_PER_MS + self.steps * (unet_ns / _NS_PER_MS) + fixed.decoder_ns / _NS_PER_MS

    def fastest(self) -> Architecture:
        """The architecture of least predicted latency: slots add up, so it is the fastest choice of each.

        Raises:
            TableError: A block of the space is not in the table.
        """
        return self._extreme(min)

    def slowest(self) -> Architecture:
        """The architecture of greatest predicted latency; raises as `fastest`."""
        return self._extreme(max)

    def bounds(self) -> tuple[float, float]:
        """Least and greatest `pipeline_ms` of any architecture; raises as `fastest`."""
        return self.predict(self.fastest()).pipeline_ms, self.predict(self.slowest()).pipeline_ms

    def _extreme(self, choose: Callable[..., str]) -> Architecture:
        slots_ns = self._contributions.slots_ns
        return self.space.architecture([choose(slot_ns, key=slot_ns.__getitem__) for slot_ns in slots_ns])

    def _sum_ns(self, nodes: Iterable[Node]) -> int:
        counts = Counter(node.block for node in nodes)
        return sum(count * self.table.latency_ns(block, space=self.space.where) for block, count in counts.items())

    @cached_property
    def _contributions(self) -> _Contributions:
        """What each part adds, read off the plans of architectures that hold every candidate of every slot.

        A temporal layer keeps the shape of what passes it, so a slot's choice changes no other node.
        """
        pipeline = self.space.lower_pipeline(self.space.smallest())
        nodes = {node.name: node for variant in self.space.covering() for node in self.space.lower(variant).nodes}
        placed: dict[tuple[str, str], int] = {}
        for variant in self.space.covering():
            plan = self.space.lower(variant)
            for slot, name in zip(self.space.slots, variant.choices, strict=True):
                placed[slot.id, name] = self._sum_ns(node for node in plan.nodes if node.slot == slot.id)
        return _Contributions(
            self._sum_ns(pipeline.text_encoder.nodes),
            self._sum_ns(node for node in nodes.values() if node.slot is None),
            self._sum_ns(pipeline.decoder.nodes),
            tuple({name: placed[slot.id, name] for name in slot.candidates} for slot in self.space.slots),
        )


@dataclass(frozen=True)
class _Contributions:
    """Nanoseconds that each part adds; `slots_ns` has one mapping from candidate to cost per slot."""

    text_encoder_ns: int
    backbone_ns: int
    decoder_ns: int
    slots_ns: tuple[Mapping[str, int], ...]
