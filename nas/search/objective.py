"""What a trial records of an architecture: known costs, constraints, and the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from nas.errors import BudgetError, ConfigError
from nas.search.latencies.devices import DeviceLatency, SeveralDevices, checked_figure, one_or_several
from nas.search.probes import probes
from nas.search.protocols import Cost, CostModel, LatencyFigure, LatencyModel, Space
from nas.space import Architecture, Budgets

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution

    from nas.quality.base import QualityMetric


CONTEXTS = 8
"""Random architectures in which the candidates of a slot are compared."""

RECENT = 4096
"""Architectures whose known costs are remembered."""

LATENCY_LIMIT = "latency_ms"
"""Name of the latency budget; of one of several devices, ` on ` and the device follow."""


@dataclass(frozen=True)
class KnownCosts:
    """Costs of an architecture that are known without scoring it.

    Args:
        latency_ms: Predicted latency of the pipeline for one clip; of several devices, on the one that decides.
        unet_ms: Predicted latency of one call of the denoising network.
        provenance: Where the latency comes from: `measured`, `estimated` or `published`.
        runtime: How it is executed there; of several settings, the fastest for it.
        parameters: Weights of the denoising network; `None` without a cost model.
        memory_bytes: Memory of its program at the peak, estimated; peak activations if the cost model knows no more;
            `None` without a cost model.
        low_ms: Lower end of the interval of `latency_ms`; `None` if the error is unknown.
        high_ms: Upper end.
        interval_percent: Share of networks that the interval is for.
        device: Of several devices, the one that decides: see `nas.search.latencies.devices`.
        devices: The latencies on all of several devices.
    """

    latency_ms: float
    unet_ms: float
    provenance: str
    runtime: str
    parameters: int | None
    memory_bytes: int | None
    device: str = ""
    devices: Mapping[str, DeviceLatency] = field(default_factory=dict, hash=False)
    low_ms: float | None = None
    high_ms: float | None = None
    interval_percent: int | None = None


class Objective:
    """Scores architectures and compares their known costs with the budgets.

    Args:
        space: The search space.
        latency: Predicts the latency of architectures; for several devices, a model for each by its name.
        quality: The metric; its direction is that of the first objective.
        budgets: Upper limits on the known costs.
        cost: Parameters and memory; needed if a budget limits them.
        which: With several devices, what the second objective is: the latency on a device, by its name, or `worst`, the
            largest share of its latency budget over the devices.

    Raises:
        ConfigError: A budget limits parameters or memory, and there is no cost model. With several devices, also as
            `nas.search.latencies.devices.SeveralDevices`.
    """

    def __init__(
        self,
        space: Space,
        latency: LatencyModel | Mapping[str, LatencyModel],
        quality: QualityMetric,
        budgets: Budgets,
        cost: CostModel | None,
        which: str | None = None,
    ) -> None:
        self.space, self.quality, self.cost = space, quality, cost
        self.latency, latency_budget = one_or_several(latency, budgets.latency_ms, which, space)
        self.budgets = budgets.model_copy(update={"latency_ms": latency_budget})
        # Samplers ask for thousands of architectures between two evaluations, most of them once.
        self._recent_costs = lru_cache(maxsize=RECENT)(self._look_up_costs)
        self._recent_figures = lru_cache(maxsize=RECENT)(self._look_up_figures)
        others = self.budgets.model_dump(exclude={"latency_ms"}, exclude_none=True)
        limits_ms = latency_budget if isinstance(latency_budget, Mapping) else {"": latency_budget}
        self._limited_devices = {
            _limit_name(device): device for device, limit in limits_ms.items() if limit is not None
        }
        own = {name: limits_ms[device] for name, device in self._limited_devices.items()}
        self.limits = {name: float(limit) for name, limit in (own | others).items() if limit is not None}
        if cost is None and others:
            names = ", ".join(sorted(others))
            raise ConfigError(f"budgets on {names} need a cost model, and there is none", where="search.budgets",
                              hint="pass cost=... to nas.search.run_search")  # fmt: skip

    @property
    def limits_programs(self) -> bool:
        """Whether a memory budget limits the memory of programs, and not their activations alone."""
        if self.budgets.memory_bytes is None or self.cost is None:
            return False
        return hasattr(self.cost(self.space.smallest()), "memory_bytes")

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

    @property
    def devices(self) -> SeveralDevices | None:
        """The devices, if there are several."""
        return self.latency if isinstance(self.latency, SeveralDevices) else None

    def costs(self, architecture: Architecture) -> KnownCosts:
        """The known costs of an architecture; those of recent ones are remembered.

        Raises:
            NasError: Its latency is unknown.
        """
        return self._recent_costs(architecture)

    def _look_up_costs(self, architecture: Architecture) -> KnownCosts:
        device, figures = self._deciding(architecture), self._latencies(architecture)
        cost = None if self.cost is None else self.cost(architecture)
        latencies = {name: _device_latency(figure) for name, figure in figures.items()}
        deciding = latencies[device]
        return KnownCosts(
            deciding.latency_ms,
            deciding.unet_ms,
            deciding.provenance,
            deciding.runtime,
            None if cost is None else cost.parameters,
            None if cost is None else memory_bytes(cost),
            device,
            {} if self.devices is None else latencies,
            deciding.low_ms,
            deciding.high_ms,
            deciding.interval_percent,
        )

    def second(self, architecture: Architecture) -> float:
        """The value of the second objective, which is to be minimised.

        With one device it is the predicted latency in milliseconds. With several, it is that of the named device, or
        the largest share of its latency budget over the devices, which has no unit. Samplers that treat it as known
        call it for many architectures.

        Raises:
            NasError: A latency is unknown.
        """
        latencies_ms = self._latencies_ms(architecture)
        return latencies_ms[""] if self.devices is None else self.devices.second.value(latencies_ms)

    def constraints(self, architecture: Architecture) -> dict[str, float]:
        """For each budget, the share by which the architecture exceeds it; zero or less if the budget is met.

        Shares are comparable, so that a sampler can add them up.
        """
        return {name: self._cost(name, architecture) / limit - 1 for name, limit in self.limits.items()}

    def feasible(self, architecture: Architecture) -> bool:
        """Whether every budget is met."""
        return all(excess <= 0 for excess in self.constraints(architecture).values())

    def check_budgets(self) -> None:
        """Check that each budget can be met by some architecture.

        Raises:
            BudgetError: A budget cannot be met; the message names the architecture that comes closest.
        """
        for name, best in self.least.items():
            if self.constraints(best)[name] > 0:
                raise budget_error(name, self.limits[name], self._cost(name, best), best)

    @cached_property
    def least(self) -> dict[str, Architecture]:
        """For each budget, the architecture that comes closest to meeting it."""
        models = {"": self.latency} if self.devices is None else self.devices.models
        fastest = {name: models[device].fastest() for name, device in self._limited_devices.items()}
        return fastest | {name: self._least(name) for name in self.limits if name not in fastest}

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
        """What a budget limits."""
        if name in self._limited_devices:
            return self._latencies_ms(architecture)[self._limited_devices[name]]
        return float(getattr(self.costs(architecture), name))

    def _latencies(self, architecture: Architecture) -> dict[str, LatencyFigure]:
        """The latency on each device; those of recent architectures are remembered."""
        return self._recent_figures(architecture)

    def _look_up_figures(self, architecture: Architecture) -> dict[str, LatencyFigure]:
        several = self.devices
        return {"": checked_figure(self.latency, architecture)} if several is None else several.figures(architecture)

    def _latencies_ms(self, architecture: Architecture) -> dict[str, float]:
        return {device: float(figure.pipeline_ms) for device, figure in self._latencies(architecture).items()}

    def _deciding(self, architecture: Architecture) -> str:
        """The device that decides."""
        return "" if self.devices is None else self.devices.second.device(self._latencies_ms(architecture))


def memory_bytes(cost: Cost) -> int:
    """What a memory budget limits."""
    return int(getattr(cost, "memory_bytes", cost.peak_activation_bytes))


def _interval(figure: LatencyFigure) -> dict[str, Any]:
    """The interval of a latency; empty for a latency model that knows none."""
    return {name: getattr(figure, name, None) for name in ("low_ms", "high_ms", "interval_percent")}


def _limit_name(device: str) -> str:
    """Name of the latency budget of a device; an only device has no name."""
    return f"{LATENCY_LIMIT} on {device}" if device else LATENCY_LIMIT


def _device_latency(figure: LatencyFigure) -> DeviceLatency:
    latency_ms, unet_ms = float(figure.pipeline_ms), float(figure.unet_ms)
    return DeviceLatency(latency_ms, unet_ms, figure.provenance, figure.runtime, **_interval(figure))


_BEST = {"latency_ms": "fastest", "parameters": "smallest", "memory_bytes": "leanest"}
_UNITS = {"latency_ms": "ms", "parameters": "parameters", "memory_bytes": "bytes"}


def budget_error(name: str, limit: float, least: float, best: Architecture) -> BudgetError:
    """The error for a budget that cannot be met; names the architecture that comes closest."""
    quantity, on, device = name.partition(" on ")
    unit = _UNITS[quantity]
    enough = f"{math.ceil(1000 * least) / 1000:,.10g}" if quantity == LATENCY_LIMIT else f"{least:,.0f}"
    return BudgetError(
        f"no architecture meets the budget of {limit:,.10g} {unit}{on}{device}; the {_BEST[quantity]} is {best.id} "
        f"({best}) with {enough} {unit}",
        hint=f"raise the budget to {enough} {unit} or more, or change the space",
    )
