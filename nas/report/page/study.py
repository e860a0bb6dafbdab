"""The report of a study: what is known without the run that made it."""

from __future__ import annotations

from collections.abc import Mapping

from nas.latency import LatencyPredictor
from nas.latency.prediction.breakdown import breakdown
from nas.report.page.document import Report
from nas.report.page.front import study_front
from nas.report.page.importance import slot_importance
from nas.report.page.verdict import study_choice, verdict
from nas.search import Choice, StudyRecord
from nas.search.results.intervals import with_intervals
from nas.space import SearchSpace


def study_report(
    record: StudyRecord, *, space: SearchSpace | None = None, predictor: LatencyPredictor | None = None
) -> Report:
    """The report of a study.

    Args:
        record: The study.
        space: Its search space, if it is at hand.
        predictor: The latencies of its blocks on the study's device, if they are at hand.
    """
    if predictor is not None:
        record = with_intervals(record, predictor, predictor.space)
    front = study_front(record, space=space)
    choice = study_choice(record)
    chosen = None
    if choice is not None:
        name = choice.member.architecture.id
        chosen = verdict(record, name, front.slots, why=_why(record, choice))
    return Report(
        title=f"{record.space}: the search {record.name}",
        facts=study_facts(record),
        front=front,
        verdict=chosen,
        importance=slot_importance(record, front.slots),
        breakdown=None if predictor is None else breakdown(predictor),
    )


def study_facts(record: StudyRecord) -> dict[str, str]:
    """What was searched and for which device, as names and values."""
    scored, final = len(record.evaluations), record.final
    again = "" if record.final_scores is None else f", {len(final.evaluations)} of them twice"
    devices = [device.device for device in record.devices.values()] or [record.device]
    weights = {} if record.weights is None else {"weights": record.weights}
    return {
        "space": record.space,
        "device": ", ".join(devices),
        "runtime": record.runtime,
        **weights,
        **({} if record.one_call else {"denoising steps": str(record.steps)}),
        "architectures scored": f"{scored:,}{again}",
        "on the front": f"{len(final.front):,}",
    }


def _why(record: StudyRecord, choice: Choice) -> str:
    """How the choice was made."""
    budget = record.latency_budget
    how = "The knee of the front" if budget is None else f"The best within {_budget_text(budget)}"
    return ". ".join(filter(None, (how, choice.sentence()))) + "."


def _budget_text(budget: float | Mapping[str, float]) -> str:
    if isinstance(budget, Mapping):
        return " and ".join(f"{limit_ms:,.4g} ms on {device}" for device, limit_ms in budget.items())
    return f"{budget:,.4g} ms"
