"""What an architecture may cost at most."""

from __future__ import annotations

from pydantic import Field

from nas.files import StrictModel


class Budgets(StrictModel):
    """Upper limits that every architecture of a front has to respect; `None` means no limit.

    Args:
        latency_ms: Predicted latency of the whole pipeline, for one clip.
        parameters: Weights of the denoising network.
        memory_bytes: Peak of the values alive between the blocks of the denoising network, in fp32.
    """

    latency_ms: float | None = Field(None, gt=0)
    parameters: int | None = Field(None, gt=0)
    memory_bytes: int | None = Field(None, gt=0)

    def or_else(self, others: Budgets) -> Budgets:
        """These limits; a limit that is not set is taken from `others`."""
        return Budgets(**(others.model_dump() | self.model_dump(exclude_none=True)))
