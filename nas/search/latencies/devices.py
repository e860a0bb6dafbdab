"""Latencies on one or several devices, and the second objective that is made of them.

With one device, the second objective is its latency in milliseconds. With several, it is the latency on one of them, or
the largest share of its latency budget over the devices. The share is a number without unit: 1 is on the budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from nas.errors import ConfigError, NasError
from nas.search.protocols import LatencyFigure, LatencyModel, Space
from nas.space import Architecture

WORST = "worst"
"""In place of a device: the largest share of its latency budget over the devices."""

SHARE = "largest share of its latency budget over the devices"
"""What that number is, in words."""

EXTRAPOLATED = " (extrapolated)"
"""Ends the name of a device whose latencies are extrapolated from another one's."""

LatencyBudget = float | Mapping[str, float]
"""Milliseconds on the only device, or milliseconds by device."""

_Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class DeviceLatency:
    """The predicted latency of an architecture on one of several devices.

    Args:
        latency_ms: The pipeline, for one clip.
        unet_ms: One call of the denoising network.
        provenance: `measured`, `estimated` or `published`.
        runtime: How it is executed there; of several settings, the fastest for it.
        low_ms: Lower end of the interval of `latency_ms`; `None` if the error is unknown.
        high_ms: Upper end.
        interval_percent: Share of networks that the interval is for.
    """

    latency_ms: _Milliseconds
    unet_ms: _Milliseconds
    provenance: str
    runtime: str
    low_ms: _Milliseconds | None = None
    high_ms: _Milliseconds | None = None
    interval_percent: Annotated[int, Field(gt=0)] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without what is unknown."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Second:
    """The second objective of several devices.

    Args:
        which: The device whose latency it is, or `worst`.
        limits_ms: Latency budgets by device.
    """

    which: str
    limits_ms: Mapping[str, float]

    def device(self, latencies_ms: Mapping[str, float]) -> str:
        """The device that decides: the named one, or the one with the largest share of its budget."""
        if self.which != WORST:
            return self.which
        return max(self.limits_ms, key=lambda device: latencies_ms[device] / self.limits_ms[device])

    def value(self, latencies_ms: Mapping[str, float]) -> float:
        """The objective: milliseconds on the named device, or the largest share."""
        device = self.device(latencies_ms)
        return latencies_ms[device] / (self.limits_ms[device] if self.which == WORST else 1.0)


class SeveralDevices:
    """Latencies on several devices; implements `nas.search.LatencyModel` with those of the device that decides.

    Args:
        models: A latency model for each device, by its name.
        budget: Latency budgets by device.
        which: The device whose latency is the second objective, or `worst`.

    Raises:
        ConfigError: As `check_devices`.
    """

    def __init__(self, models: Mapping[str, LatencyModel], budget: LatencyBudget | None, which: str | None) -> None:
        self.models = dict(sorted(models.items()))
        self.limits_ms = check_devices(list(self.models), budget, which)
        self.second = Second(which or next(iter(self.models)), self.limits_ms)

    def predict(self, architecture: Architecture) -> LatencyFigure:
        """The latency on the device that decides."""
        figures = self.figures(architecture)
        return figures[self.second.device({device: figure.pipeline_ms for device, figure in figures.items()})]

    def figures(self, architecture: Architecture) -> dict[str, LatencyFigure]:
        """The latency on each device.

        Raises:
            NasError: One of them is unknown, or not a positive number; the message names the device.
        """
        return {device: _figure(model, architecture, f" on {device}") for device, model in self.models.items()}

    def fastest(self) -> Architecture:
        """Of the fastest architecture of each device, the one with the least second objective."""
        return min((model.fastest() for model in self.models.values()), key=self.value)

    def value(self, architecture: Architecture) -> float:
        """The second objective of an architecture."""
        return self.second.value({device: figure.pipeline_ms for device, figure in self.figures(architecture).items()})


def one_or_several(
    latency: LatencyModel | Mapping[str, LatencyModel],
    budget: LatencyBudget | None,
    which: str | None,
    space: Space,
) -> tuple[LatencyModel, float | dict[str, float] | None]:
    """The latency model of a search, and its latency budget: a number for one device.

    Args:
        latency: A latency model, or one for each device.
        budget: A number for the only device, or milliseconds by device.
        which: The device whose latency is the second objective, or `worst`; needed for several devices.
        space: The space, of which one architecture tells the name of the only device.

    Raises:
        ConfigError: As `check_devices`.
    """
    if not isinstance(latency, Mapping):
        named = budget is None or isinstance(budget, int | float)
        name = "" if named and which is None else latency.predict(space.smallest()).device
        latency = {name.removesuffix(EXTRAPOLATED): latency}
    limits_ms = check_devices(sorted(latency), budget, which)
    if len(latency) > 1:
        several = SeveralDevices(latency, budget, which)
        return several, several.limits_ms or None
    ((name, model),) = latency.items()
    return model, limits_ms.get(name)


def check_devices(devices: Sequence[str], budget: LatencyBudget | None, which: str | None) -> dict[str, float]:
    """Check what a search says of its devices, and return the latency budgets by device.

    Args:
        devices: Their names.
        budget: A number for the only device, or milliseconds by device.
        which: The device whose latency is the second objective, or `worst`; needed for several devices.

    Raises:
        ConfigError: There is no device, it is not said which latency of several is the second objective, a device is
            unknown, or `worst` lacks the budget of a device.
    """
    if not devices:
        raise ConfigError("there is no device to predict latencies for", where="search")
    limits_ms = device_limits(budget, devices, where="search.budgets.latency_ms")
    if len(devices) > 1:
        _check_which(which, devices, limits_ms)
    elif which not in {None, *devices}:
        known = "there is no other" if which == WORST else f"{which!r} is unknown"
        raise ConfigError(f"the search has one device, {devices[0]}; {known}", where="search.latency",
                          hint="leave --latency out, or add a table of another device")  # fmt: skip
    return limits_ms


def device_limits(budget: LatencyBudget | None, devices: Sequence[str], *, where: str) -> dict[str, float]:
    """A latency budget as milliseconds by device, in the order of the devices.

    Raises:
        ConfigError: It names an unknown device, or none where there are several.
    """
    if budget is None:
        return {}
    if not isinstance(budget, Mapping):
        if len(devices) > 1:
            raise ConfigError(f"{budget:,.10g} ms without a device, and there are several ({', '.join(devices)})",
                              where=where, hint=f'name one: --latency-budget-ms "{devices[0]}={budget:g}"')  # fmt: skip
        return {devices[0]: float(budget)}
    unknown = [name for name in budget if name not in devices]
    if unknown:
        raise ConfigError(f"unknown device {unknown[0]!r} (known: {', '.join(devices)})", where=where)
    return {device: float(budget[device]) for device in devices if device in budget}


def checked_figure(model: LatencyModel, architecture: Architecture) -> LatencyFigure:
    """The latency of an architecture; raises `NasError` if it is not a positive number."""
    return _figure(model, architecture, "")


def _figure(model: LatencyModel, architecture: Architecture, place: str) -> LatencyFigure:
    figure = model.predict(architecture)
    if not (math.isfinite(figure.pipeline_ms) and figure.pipeline_ms > 0):
        raise NasError(f"the latency model returned {figure.pipeline_ms} ms{place}", where=f"{architecture.id}",
                       hint="a latency is a positive number, and an unknown one an error")  # fmt: skip
    return figure


def _check_which(which: str | None, devices: Sequence[str], limits_ms: Mapping[str, float]) -> None:
    """Whether the second objective of several devices is possible."""
    names = ", ".join(devices)
    if WORST in devices:
        raise ConfigError(f"a device is named {WORST!r}, which means another thing here", where="search.latency",
                          hint="give it another name in its tables")  # fmt: skip
    if which is None:
        raise ConfigError(f"there are {len(devices)} devices, {names}, and it is not said which latency to minimise",
                          where="search.latency", hint=f'say --latency "{devices[0]}", the latency on that device, or '
                          f"--latency {WORST}, the {SHARE}")  # fmt: skip
    if which not in {WORST, *devices}:
        raise ConfigError(f"unknown device {which!r} (known: {names}, or {WORST})", where="search.latency")
    missing = [device for device in devices if device not in limits_ms] if which == WORST else []
    if missing:
        raise ConfigError(f"{WORST} is the {SHARE}, and {missing[0]} has no latency budget", where="search.latency",
                          hint=f'add --latency-budget-ms "{missing[0]}=MILLISECONDS"')  # fmt: skip
