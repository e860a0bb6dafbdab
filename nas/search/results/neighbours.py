"""Which neighbours on a front the noise of the scores can tell apart."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nas.formatting import counted
from nas.search.noise.differences import Difference, successive_differences
from nas.search.results.record import StudyRecord


def steps_between(record: StudyRecord) -> list[Difference | None]:
    """For each member of the front but the fastest, its difference from the next faster one; `None` if unknown."""
    return successive_differences([member.quality_parts for member in record.front])


def front_rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The members of the front as plain data, fastest first.

    `from_previous` compares the score with that of the next faster member; it is `None` for the fastest one, and where
    scores have no parts.
    """
    compared = [None, *steps_between(record)]
    return [
        {**member.to_dict(), "from_previous": None if step is None else _plain(step)}
        for member, step in zip(record.front, compared, strict=False)
    ]


def steps_sentence(record: StudyRecord) -> str:
    """How many neighbours on the front can be told apart, without the full stop; empty if nothing is known."""
    steps = [step for step in steps_between(record) if step is not None]
    clear = sum(step.distinguishable for step in steps)
    if not steps:
        return ""
    are = "is" if clear == 1 else "are"
    return f"{clear} of {counted(len(steps), 'step')} along the front {are} larger than the noise (paired t-test, 95%)"


def step_text(from_previous: dict[str, Any] | None) -> str | None:
    """A comparison of `front_rows` as the cell of a table."""
    if from_previous is None:
        return None
    errors = from_previous["errors"]
    size = "" if errors is None else f", {errors:.1f} SE"
    return f"{'clear' if from_previous['distinguishable'] else 'noise'}{size}"


def _plain(step: Difference) -> dict[str, Any]:
    return {**asdict(step), "errors": step.errors, "distinguishable": step.distinguishable}
