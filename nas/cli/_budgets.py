"""The option `--latency-budget-ms`: a number, or one for each device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.search.latencies.devices import LatencyBudget

OPTION = "--latency-budget-ms"
METAVAR = "MS|DEVICE=MS"
PER_DEVICE = 'with several devices, give it for each by name, such as "iPhone 13=9000"'


def latency_budget(texts: Sequence[str] | None) -> LatencyBudget | None:
    """The budget that the values of the option say.

    Args:
        texts: One number, or any number of `DEVICE=MS`. The name of a device may hold `=`.

    Raises:
        ConfigError: A value is of neither form or not a positive number, a device is named twice, or there are both.
    """
    from nas.errors import ConfigError

    if not texts:
        return None
    limits_ms: dict[str, float] = {}
    for text in texts:
        device, named, value = text.rpartition("=")
        device = device.strip()
        limit_ms = _milliseconds(value, text)
        if named and not device:
            raise ConfigError(f"{OPTION}: expected DEVICE=MS, got {text!r}", where="options")
        if device in limits_ms:
            raise ConfigError(f"{OPTION} is given twice{f' for {device}' if device else ''}", where="options")
        limits_ms[device] = limit_ms
    if "" not in limits_ms:
        return limits_ms
    if len(limits_ms) > 1:
        raise ConfigError(f"{OPTION}: give one number, or one for each device by its name", where="options")
    return limits_ms[""]


def _milliseconds(value: str, text: str) -> float:
    from nas.errors import ConfigError

    try:
        limit_ms = float(value)
    except ValueError:
        limit_ms = math.nan
    if not (limit_ms > 0 and math.isfinite(limit_ms)):
        raise ConfigError(f"{OPTION}: expected milliseconds above zero, got {value.strip() or repr(text)}",
                          where="options", hint="give a number, or with several devices DEVICE=MS")  # fmt: skip
    return limit_ms
