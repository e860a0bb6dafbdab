"""What a trial records of an architecture: known costs, constraints, and the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas.errors import BudgetError, ConfigError, NasError
from nas.search.probes import probes
from nas.search.protocols import CostModel, LatencyModel, Space
from nas.search.scores import Score, score
from nas.space import Architecture, Budgets

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution

    from nas.quality.base import QualityMetric


CONTEXTS = 8
"""Random architectures in which the candidates of a slot are compared."""


@dataclass(frozen=True)
class KnownCosts:
    """Costs of an architecture that are known without scoring it.

    Args:
        latency_ms: Predicted latency of the pipeline for one clip.
        unet_ms: Predicted latency of one call of the denoising network.
        provenance: Where the latency comes from: `measured`, `estimated` or `published`.
        runtime: How it is executed there; of several settings, the fastest for it.
        parameters: Weights of the denoising network; `None` without a cost model.
        memory_bytes: Peak of its activations; `None` without a cost model.
    """

    latency_ms: float
    unet_ms: float
    provenance: str
    runtime: str
    parameters: int | None
    memory_bytes: int | None


class Objective:
    """Scores architectures and compares their known costs with the budgets.

    Args:
        space: The search space.
        latency: Predicts the latency of architectures.
        quality: The metric; its direction is that of the first objective.
        budgets: Upper limits on the known costs.
        cost: Parameters and memory; needed if a budget limits them.

    Raises:
        ConfigError: A budget limits parameters or memory, and there is no cost model.
    """

    def __init__(
        self, space: Space, latency: LatencyModel, quality: QualityMetric, budgets: Budgets, cost: CostModel | None
    ) -> None:
        self.space, self.latency, self.quality, self.budgets, self.cost = space, latency, quality, budgets, cost
        self._known: dict[str, KnownCosts] = {}
        self.limits = {name: float(limit) for name, limit in budgets.model_dump().items() if limit is not None}
        if cost is None and self.limits.keys() - {"latency_ms"}:
            names = ", ".join(sorted(self.limits.keys() - {"latency_ms"}))
            raise ConfigError(f"budgets on {names} need a cost model, and there is none", where="search.budgets",
                              hint="pass cost=... to nas.search.run_search")  # fmt: skip

    @cached_property
    def distributions(self) -> dict[str, CategoricalDistribution]:
        """The slots as parameters of Optuna: one per slot, by its id."""
        from optuna.distributions import CategoricalDistribution

        return {slot.id: CategoricalDistribution(slot.candidates) for slot in self.space.slots}

    def architecture(self, params: Mapping[str, Any]) -> Architecture:
        """The architecture that values of these parameters describe."""
        return self.space.architecture([params[slot.id] for slot in self.space.slots])

    def params(self, architecture: Architecture) -> dict[str, str]:
        """The values of the parameters that describe an architecture."""
        return {slot.id: choice for slot, choice in zip(self.space.slots, architecture.choices, strict=True)}

    def costs(self, architecture: Architecture) -> KnownCosts:
        """The known costs of an architecture; computed once.

        Raises:
            NasError: Its latency is unknown.
        """
        if architecture.id not in self._known:
            figure = self.latency.predict(architecture)
            if not (math.isfinite(figure.pipeline_ms) and figure.pipeline_ms > 0):
                raise NasError(f"the latency model returned {figure.pipeline_ms} ms", where=f"{architecture.id}",
                               hint="a latency is a positive number, and an unknown one an error")  # fmt: skip
            cost = None if self.cost is None else self.cost(architecture)
            self._known[architecture.id] = KnownCosts(
                float(figure.pipeline_ms),
                float(figure.unet_ms),
                figure.provenance,
                figure.runtime,
                None if cost is None else cost.parameters,
                None if cost is None else cost.peak_activation_bytes,
            )
        return self._known[architecture.id]

    def second(self, architecture: Architecture) -> float:
        """The value of the second objective, which is to be minimised: the predicted latency in milliseconds.

        Samplers that treat it as known call it for many architectures.

        Raises:
            NasError: The latency is unknown.
        """
        return float(self.latency.predict(architecture).pipeline_ms)

    def constraints(self, architecture: Architecture) -> dict[str, float]:
        """For each budget, the share by which the architecture exceeds it; zero or less if the budget is met.

        Shares are comparable, so that a sampler can add them up.
        """
        costs = self.costs(architecture)
        return {name: getattr(costs, name) / limit - 1 for name, limit in self.limits.items()}

    def feasible(self, architecture: Architecture) -> bool:
        """Whether every budget is met."""
        return all(excess <= 0 for excess in self.constraints(architecture).values())

    def score(self, architecture: Architecture) -> Score:
        """The quality of an architecture; raises as `nas.search.scores.score`."""
        return score(self.quality, architecture)

    def check_budgets(self) -> None:
        """Check that each budget can be met by some architecture.

        Raises:
            BudgetError: A budget cannot be met; the message names the architecture that comes closest.
        """
        for name, best in self.least.items():
            if self.constraints(best)[name] > 0:
                raise budget_error(name, self.limits[name], getattr(self.costs(best), name), best)

    @cached_property
    def least(self) -> dict[str, Architecture]:
        """For each budget, the architecture that comes closest to meeting it."""
        return {name: self.latency.fastest() if name == "latency_ms" else self._least(name) for name in self.limits}

    def _least(self, name: str) -> Architecture:
        """The architecture with the fewest parameters or the least memory, found slot by slot.

        This is exact for sums over slots, such as parameters, because the best candidate of a slot does not depend on
        other slots. Peak memory is a maximum over slots, so a large candidate in one slot hides the others. The
        candidates of a slot are therefore compared in several architectures, and again in the best result, as long as
        that improves it.
        """
        contexts, best = probes(self.space, CONTEXTS), self.space.smallest()
        while True:
            contexts.append(best)
            lightest = self.space.architecture(
                [self._lightest_choice(name, index, contexts) for index in range(len(self.space.slots))]
            )
            if self._cost(name, lightest) >= self._cost(name, best):
                return best
            best = lightest

    def _lightest_choice(self, name: str, index: int, contexts: Sequence[Architecture]) -> str:
        def total(candidate: str) -> float:
            rows = ([*context.choices[:index], candidate, *context.choices[index + 1 :]] for context in contexts)
            return sum(self._cost(name, self.space.architecture(choices)) for choices in rows)

        return min(self.space.slots[index].candidates, key=total)

    def _cost(self, name: str, architecture: Architecture) -> float:
        return float(getattr(self.costs(architecture), name))


_BEST = {"latency_ms": "fastest", "parameters": "smallest", "memory_bytes": "leanest"}
_UNITS = {"latency_ms": "ms", "parameters": "parameters", "memory_bytes": "bytes"}


def budget_error(name: str, limit: float, least: float, best: Architecture) -> BudgetError:
    """The error for a budget that cannot be met; names the architecture that comes closest."""
    unit = _UNITS[name]
    enough = f"{math.ceil(1000 * least) / 1000:,.10g}" if name == "latency_ms" else f"{least:,.0f}"
    return BudgetError(
        f"no architecture meets the budget of {limit:,.10g} {unit}; the {_BEST[name]} is {best.id} ({best}) "
        f"with {enough} {unit}",
        hint=f"raise the budget to {enough} {unit} or more, or change the space",
    )
