"""What an architecture may cost at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from nas.files import StrictModel

Milliseconds = Annotated[float, Field(gt=0)]
PerDevice = Annotated[dict[str, Milliseconds], Field(min_length=1)]


class Budgets(StrictModel):
    """Upper limits that every architecture of a front has to respect; `None` means no limit.

    Args:
        latency_ms: Predicted latency of the whole pipeline, for one clip: a number, or one for each device by its name.
        parameters: Weights of the denoising network.
        memory_bytes: Memory that the denoising network's program needs on the device, estimated: its weights as they
            are stored, and the values alive between its blocks.
    """

    latency_ms: Milliseconds | PerDevice | None = None
    parameters: int | None = Field(None, gt=0)
    memory_bytes: int | None = Field(None, gt=0)

    def or_else(self, others: Budgets) -> Budgets:
        """These limits; a limit that is not set, also that of one device, is taken from `others`."""
        limits = others.model_dump() | self.model_dump(exclude_none=True)
        if isinstance(self.latency_ms, Mapping) and isinstance(others.latency_ms, Mapping):
            limits["latency_ms"] = {**others.latency_ms, **self.latency_ms}
        return Budgets(**limits)
