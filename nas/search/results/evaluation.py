"""One scored architecture of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.search.latencies.devices import DeviceLatency
from nas.search.noise.differences import standard_error
from nas.space import Architecture


@dataclass(frozen=True)
class Evaluation:
    """One scored architecture.

    Args:
        architecture: What was scored.
        quality: Its score, in the direction of the study.
        latency_ms: Predicted latency of the pipeline for one clip; of several devices, on the one that decides.
        unet_ms: Predicted latency of one call of the denoising network.
        parameters: Weights of the denoising network; `None` when unknown.
        provenance: Where the latency comes from: `measured`, `estimated` or `published`.
        runtime: How it is executed there; of several settings, the fastest for it.
        trial: Number of the trial in the study.
        feasible: Whether it meets the budgets of the study.
        search_quality: The score of the search, if `quality` is a score of the second stage.
        quality_parts: Scores on parts of the held-out data, of which `quality` is the mean; empty if unknown.
        device: Of several devices, the one that decides: the one whose latency is minimised, or with the largest share.
        devices: The latencies on all of several devices.
        memory_bytes: Memory that its program needs, estimated; `None` if unknown, as in studies of earlier versions.
        low_ms: Lower end of the interval of `latency_ms`; `None` if the error is unknown.
        high_ms: Upper end.
        interval_percent: Share of networks that the interval is for.
        share: The largest share of its latency budget over the devices, if that is minimised; it has no unit.
    """

    architecture: Architecture
    quality: float
    latency_ms: float
    unet_ms: float
    parameters: int | None
    provenance: str
    runtime: str
    trial: int
    feasible: bool
    search_quality: float | None = None
    quality_parts: tuple[float, ...] = ()
    device: str = ""
    devices: Mapping[str, DeviceLatency] = field(default_factory=dict, hash=False)
    share: float | None = None
    memory_bytes: int | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    interval_percent: int | None = None

    @property
    def second(self) -> float:
        """The second objective: `latency_ms`, or `share` if that is minimised."""
        return self.latency_ms if self.share is None else self.share

    @property
    def interval_ms(self) -> tuple[float, float] | None:
        """The interval of `latency_ms`; `None` if the error is unknown."""
        return None if self.low_ms is None or self.high_ms is None else (self.low_ms, self.high_ms)

    def latency_on(self, device: str) -> float:
        """Milliseconds of the pipeline on a device of the study; a study of one device has no other."""
        return self.devices[device].latency_ms if self.devices else self.latency_ms

    @property
    def standard_error(self) -> float | None:
        """The standard error of the score; `None` if it is unknown, because there are no parts."""
        return standard_error(self.quality_parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for tables and JSON."""
        searched = {} if self.search_quality is None else {"search_quality": self.search_quality}
        share = {} if self.share is None else {"share": self.share}
        devices = {name: latency.to_dict() for name, latency in self.devices.items()}
        names = ("low_ms", "high_ms", "interval_percent", "memory_bytes")
        further = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {
            "id": self.architecture.id,
            "layers": str(self.architecture),
            "quality": self.quality,
            "standard_error": self.standard_error,
            **searched,
            **share,
            "latency_ms": self.latency_ms,
            "parameters": self.parameters,
            **further,
            "provenance": self.provenance,
            "runtime": self.runtime,
            **({"device": self.device, "devices": devices} if devices else {}),
        }


FrontMember = Evaluation
"""A feasible evaluation that no other feasible evaluation of its study dominates."""
