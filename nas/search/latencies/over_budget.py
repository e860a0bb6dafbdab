"""The error for latency budgets that no evaluation of a study meets."""

from __future__ import annotations

from collections.abc import Mapping

from nas.errors import BudgetError
from nas.space import Architecture


def over_budgets(
    study: str, limits_ms: Mapping[str, float], closest: Architecture, latencies_ms: Mapping[str, float]
) -> BudgetError:
    """The error.

    Args:
        study: Name of the study.
        limits_ms: Latency budgets by device; an only device has an empty name.
        closest: The member of the front that comes closest.
        latencies_ms: Its latencies on these devices.
    """
    many, superlative = ("s", "closest") if len(limits_ms) > 1 else ("", "fastest")
    return BudgetError(
        f"no member of the front meets the budget{many} of {_text(limits_ms)}; the {superlative} is "
        f"{closest.id} ({closest}) with {_text(latencies_ms)}",
        where=f"study {study}",
        hint="raise the budget, or search with this budget in a study of another name",
    )


def _text(values_ms: Mapping[str, float]) -> str:
    return " and ".join(f"{value:,.6g} ms{f' on {device}' if device else ''}" for device, value in values_ms.items())
