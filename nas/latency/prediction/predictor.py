"""Predicting the latency of whole architectures from the latencies of their blocks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.errors import ArchitectureError
from nas.latency.prediction.fit import LatencyFit, fit_path
from nas.latency.prediction.linear_fit import COVERAGE
from nas.latency.tables.blocks import refuse_foreign_table
from nas.latency.tables.metadata import EstimateInterval
from nas.latency.tables.rows import Provenance, weakest
from nas.latency.tables.table import LatencyTable
from nas.space import NONE, Architecture, Node, PipelinePlan, Plan, SearchSpace

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class PipelineLatency:
    """The latency of generating one clip.

    Args:
        text_encoder_ms: One call of the text encoder.
        unet_ms: One call of the denoising network.
        decoder_ms: One call of the decoder.
        steps: Calls of the denoising network. Guidance doubles the work of each step; models that need it
            need twice as many calls.
        provenance: `measured` if all blocks' latencies are; their sum is still a prediction.
        device: The device the latencies belong to.
        runtime: The runtime they belong to.
        low_ms: Lower end of the interval of `pipeline_ms`. With a fit: the denoising network at the end of its 90%
            prediction interval, text encoder and decoder at the ends of their measured 95% confidence intervals. Of
            estimates: the estimated share at the end of the table's interval, all of it together, because blocks of
            one network are off in the same direction. `None` with neither, because the error is unknown then.
        high_ms: Upper end; `None` as `low_ms`.
        fitted_networks: Whole networks that the prediction was fitted to; 0 without a fit.
        interval_percent: Share of networks that the interval is for: 90 with a fit, the table's figure for estimates.
    """

    text_encoder_ms: float
    unet_ms: float
    decoder_ms: float
    steps: int
    provenance: Provenance
    device: str
    runtime: str
    low_ms: float | None = None
    high_ms: float | None = None
    fitted_networks: int = 0
    interval_percent: int | None = None

    @property
    def pipeline_ms(self) -> float:
        """Text encoder once, denoising network `steps` times, decoder once."""
        return self.text_encoder_ms + self.steps * self.unet_ms + self.decoder_ms

    def to_dict(self) -> dict[str, float | int | str | None]:
        """Plain data for reports; `unet_calls` are the steps, twice as many with guidance."""
        values = dataclasses.asdict(self)
        return {"unet_calls": values.pop("steps"), **values, "pipeline_ms": self.pipeline_ms}


class LatencyPredictor:
    """Adds up the blocks of a plan, and corrects the sum of the denoising network with a fit.

    Text encoder and decoder are single blocks, measured as they run, so they need no correction. If a table's latencies
    do not include the time of a call, its metadata hold that time, and it is added once per network.

    Args:
        space: The search space.
        table: Latencies of its blocks.
        steps: Denoising steps of one clip.
        fit: What whole networks of the space have shown; predictions are plain sums without it.

    Raises:
        TableError: The fit belongs to another space, or the table's rows have changed since.
    """

    def __init__(self, space: SearchSpace, table: LatencyTable, steps: int = 4, fit: LatencyFit | None = None) -> None:
        if fit is not None:
            fit.require(space, table)
        self.space = space
        self.table = table
        self.steps = steps
        self.fit = fit

    @classmethod
    def open(cls, space: SearchSpace, table_path: str | Path, steps: int = 4) -> LatencyPredictor:
        """The predictor from files: a table, and the fit of this space if there is one beside it.

        Raises:
            TableError: The table is missing or damaged, or belongs to other spaces, or the fit is damaged or does not
                belong to it.
        """
        table = LatencyTable.load(table_path)
        refuse_foreign_table(space, table)
        fitted = fit_path(table_path, space.name).is_file()
        return cls(space, table, steps, LatencyFit.load(table_path, space.name) if fitted else None)

    def predict(self, architecture: Architecture) -> PipelineLatency:
        """Latency of an architecture.

        Raises:
            ArchitectureError: It does not belong to the space.
            TableError: A block is not in the table.
        """
        pipeline = self.space.lower_pipeline(architecture)
        text_encoder, decoder = self._as_measured(pipeline.text_encoder), self._as_measured(pipeline.decoder)
        unet_ms = self.scale * (self._sum_ns(pipeline.unet.nodes) / _NS_PER_MS + self._overhead_ms) + self._offset_ms
        latency = PipelineLatency(
            text_encoder.latency_ms,
            unet_ms,
            decoder.latency_ms,
            self.steps,
            weakest(self.table.row(block) for block in pipeline.blocks),
            self.table.metadata.device_text,
            self.table.metadata.runtime,
        )
        unet = self._unet_interval(pipeline, unet_ms, latency.provenance)
        if unet is None:
            return latency
        return dataclasses.replace(
            latency,
            low_ms=text_encoder.low_ms + self.steps * unet.low_ms + decoder.low_ms,
            high_ms=text_encoder.high_ms + self.steps * unet.high_ms + decoder.high_ms,
            fitted_networks=0 if self.fit is None else len(self.fit.networks),
            interval_percent=unet.percent,
        )

    def predict_many(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """`pipeline_ms` of many architectures, equal to `predict`'s to the last bit.

        Raises:
            ArchitectureError: One of them does not belong to the space.
            TableError: A block of the space is not in the table.
        """
        return self.predict_encoded(self.space.encode(architectures))

    def predict_encoded(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """`pipeline_ms` of architectures in the form of `SearchSpace.encode`.

        Args:
            indices: Shape (architectures, slots).

        Returns:
            Latencies in milliseconds, shape (architectures,).

        Raises:
            ArchitectureError: The number of slots is wrong, or an index is not the place of a candidate.
            TableError: A block of the space is not in the table.
        """
        self._check_indices(indices)
        fixed = self._contributions
        unet_ns = np.full(len(indices), fixed.backbone_ns, dtype=np.int64)
        for column, slot_ns in zip(indices.T, fixed.slots_ns, strict=True):
            unet_ns += slot_ns[column]
        unet_ms = self.scale * (unet_ns / _NS_PER_MS + self._overhead_ms) + self._offset_ms
        text_encoder_ms = fixed.text_encoder_ns / _NS_PER_MS + self._overhead_ms
        return text_encoder_ms + self.steps * unet_ms + (fixed.decoder_ns / _NS_PER_MS + self._overhead_ms)

    def fastest(self) -> Architecture:
        """The architecture of least predicted latency: the fastest choice of each slot, because slots add up.

        Raises:
            TableError: A block of the space is not in the table.
        """
        return self._extreme(np.argmin)

    def slowest(self) -> Architecture:
        """The architecture of greatest predicted latency; raises as `fastest`."""
        return self._extreme(np.argmax)

    def bounds(self) -> tuple[float, float]:
        """Least and greatest `pipeline_ms` of any architecture; raises as `fastest`."""
        return self.predict(self.fastest()).pipeline_ms, self.predict(self.slowest()).pipeline_ms

    def _extreme(self, choose: Callable[[NDArray[np.int64]], np.intp]) -> Architecture:
        return self.space.decode([int(choose(slot_ns)) for slot_ns in self._contributions.slots_ns])

    def _check_indices(self, indices: NDArray[np.int64]) -> None:
        sizes = [len(slot.candidates) for slot in self.space.slots]
        if indices.ndim != 2 or indices.shape[1] != len(sizes):
            what = f"indices of shape {indices.shape}, expected (architectures, {len(sizes)})"
            raise ArchitectureError(what, where=self.space.where)
        # A negative index would count from the end, and give the latency of another candidate.
        wrong = (indices < 0) | (indices >= sizes)
        if wrong.any():
            row, place = (int(index) for index in np.argwhere(wrong)[0])
            slot = self.space.slots[place]
            what = f"row {row}: slot {slot.id} has {sizes[place]} candidates, none at index {indices[row, place]}"
            raise ArchitectureError(what, where=self.space.where)

    def _unet_interval(self, pipeline: PipelinePlan, unet_ms: float, provenance: Provenance) -> _Interval | None:
        """The interval of the denoising network; `None` if nothing is known of it."""
        if self.fit is not None:
            return _Interval(*self.fit.interval_ms(unet_ms), round(100 * COVERAGE))
        known = self._estimate_interval
        if known is None or provenance != "estimated":
            return None
        estimated_ms = sum(self._estimated_ms(node) for node in pipeline.unet.nodes) + self._estimated_overhead_ms
        below_ms, above_ms = estimated_ms * (1 - 1 / known.factor), estimated_ms * (known.factor - 1)
        return _Interval(unet_ms - below_ms, unet_ms + above_ms, known.coverage_percent)

    @property
    def _estimate_interval(self) -> EstimateInterval | None:
        basis = self.table.metadata.estimate
        return None if basis is None else basis.interval

    def _estimated_ms(self, node: Node) -> float:
        """What of a node's latency is estimated: all of it or nothing."""
        row = self.table.row(node.block, space=self.space.where)
        return self.table.latency_ms(node.block) if row.provenance == "estimated" else 0.0

    @cached_property
    def _estimated_overhead_ms(self) -> float:
        """The time of a call, if it is estimated; a table with measured rows has a measured one."""
        kinds = {row.provenance for row in self.table.rows.values() if row.usable}
        return self._overhead_ms if kinds == {"estimated"} else 0.0

    @property
    def fixed_call_ms(self) -> float:
        """Milliseconds of each call of the denoising network beside its blocks."""
        return self.scale * self._overhead_ms + self._offset_ms

    @property
    def scale(self) -> float:
        """What the sum of the denoising network's blocks is multiplied with; 1 without a fit."""
        return 1.0 if self.fit is None else self.fit.scale

    @property
    def _offset_ms(self) -> float:
        return 0.0 if self.fit is None else self.fit.offset_ms

    @property
    def _overhead_ms(self) -> float:
        """The time of each call of a network beside its blocks."""
        return self.table.metadata.call_overhead_ms or 0.0

    def _sum_ns(self, nodes: Iterable[Node]) -> int:
        counts = Counter(node.block for node in nodes)
        return sum(count * self.table.latency_ns(block, space=self.space.where) for block, count in counts.items())

    def _as_measured(self, plan: Plan) -> _Part:
        sum_ms = self._sum_ns(plan.nodes) / _NS_PER_MS + self._overhead_ms
        below_ms = above_ms = 0.0
        for node in plan.nodes:
            row, latency_ms = self.table.row(node.block), self.table.latency_ms(node.block)
            below_ms += latency_ms - (row.ci_low_ms or latency_ms)
            above_ms += (row.ci_high_ms or latency_ms) - latency_ms
        if (known := self._estimate_interval) is not None:
            estimated_ms = sum(map(self._estimated_ms, plan.nodes)) + self._estimated_overhead_ms
            below_ms += estimated_ms * (1 - 1 / known.factor)
            above_ms += estimated_ms * (known.factor - 1)
        return _Part(sum_ms - below_ms, sum_ms, sum_ms + above_ms)

    @cached_property
    def _contributions(self) -> _Contributions:
        """What each part adds. A temporal layer keeps the shape of its input, so it changes no other node."""
        pipeline = self.space.lower_pipeline(self.space.smallest())
        placed = {
            place: self.table.latency_ns(block, space=self.space.where)
            for place, block in self.space.placed_blocks().items()
        }
        return _Contributions(
            self._sum_ns(pipeline.text_encoder.nodes),
            self._sum_ns(node for node in pipeline.unet.nodes if node.slot is None),
            self._sum_ns(pipeline.decoder.nodes),
            tuple(
                np.array([0 if name == NONE else placed[slot.id, name] for name in slot.candidates])
                for slot in self.space.slots
            ),
        )


class _Interval(NamedTuple):
    """The interval of one call of the denoising network, and the percentage of networks that it holds for."""

    low_ms: float
    high_ms: float
    percent: int


class _Part(NamedTuple):
    """The latency of a part of the pipeline, with its interval."""

    low_ms: float
    latency_ms: float
    high_ms: float


@dataclass(frozen=True)
class _Contributions:
    """Nanoseconds that each part adds; `slots_ns` has one array over the candidates per slot."""

    text_encoder_ns: int
    backbone_ns: int
    decoder_ns: int
    slots_ns: tuple[NDArray[np.int64], ...]
