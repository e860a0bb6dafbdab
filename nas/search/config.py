"""Settings of a search."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from nas.files import StrictModel, validation_errors
from nas.search.samplers.choice import choose_sampler, find_sampler
from nas.space import Budgets

MOST = 10**9
"""Larger numbers are typing mistakes, and some would not fit into the integers that store them."""


class SearchConfig(StrictModel):
    """How long to search, and how.

    Args:
        evaluations: Distinct architectures to score, over all runs of the study. Failed ones count.
        sampler: What proposes architectures: a registered name, or `module:factory` for a sampler of your own.
            `pareto` learns quality and knows latency (`ParetoSampler`), `exhaustive` enumerates the space, and
            `random`, `nsga2`, `nsga3` and `tpe` are Optuna's.
        sampler_options: Options of the sampler that differ from its defaults.
        seed: Equal seeds propose equal architectures.
        steps: Denoising steps per clip for which the latency is predicted.
        budgets: Upper limits. A limit that is left out is taken from the search space.
        latency: With several devices, what is minimised beside quality: the latency on a device, by its name, or
            `worst`, the largest share of its latency budget over the devices.
        first_batches: Batches of held-out data that each architecture is scored on; more only while no other
            architecture clearly beats it (`nas.search.noise.racing`). Metrics that score in one piece have no batches.
        timeout_s: Seconds after which this run ends. The evaluation under way is finished.
        patience: End after this many evaluations in a row that left the front unchanged.
        max_failures: Give up after this many failed evaluations in a row.
    """

    evaluations: int = Field(100, gt=0, le=MOST)
    sampler: str = "pareto"
    sampler_options: dict[str, Any] = {}
    seed: int = 0
    steps: int = Field(4, gt=0, le=MOST)
    budgets: Budgets = Budgets()
    latency: str | None = None
    first_batches: int = Field(4, ge=2, le=MOST)
    timeout_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    patience: int | None = Field(None, gt=0, le=MOST)
    max_failures: int = Field(5, gt=0, le=MOST)

    _newer: ClassVar[tuple[str, ...]] = ("sampler_options", "latency", "first_batches")

    @field_validator("sampler")
    @classmethod
    def _known(cls, name: str) -> str:
        with validation_errors():
            find_sampler(name)
        return name

    @field_validator("sampler_options")
    @classmethod
    def _belong_to_the_sampler(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "sampler" not in info.data:  # it is unknown, which is reported already
            return options
        with validation_errors():
            return dict(choose_sampler(info.data["sampler"], options).options)

    @model_serializer(mode="wrap")
    def _without_new_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out defaults of what earlier versions did not have, so that digests of old runs stay valid."""
        values: dict[str, Any] = serialize(self)
        for name in self._newer:
            # An empty tuple is serialized as an empty list.
            if not values[name] or values[name] == type(self).model_fields[name].default:
                del values[name]
        return values
