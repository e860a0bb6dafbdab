"""The architectures of a study as points of the front's figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.formatting import counted
from nas.report.page.colours import layer_colours
from nas.report.page.document import Front, Latency, Line, Point, Score, Slot
from nas.search import StudyRecord
from nas.search.latencies.devices import EXTRAPOLATED, DeviceLatency
from nas.search.noise.differences import own_standard_errors
from nas.search.results.evaluation import Evaluation
from nas.search.results.neighbours import steps_sentence
from nas.search.results.second_intervals import intervals_label, second_interval
from nas.space import Architecture, SearchSpace


def study_front(
    record: StudyRecord,
    *,
    space: SearchSpace | None = None,
    measured_ms: Mapping[str, float] | None = None,
) -> Front:
    """All scored architectures of a study.

    Args:
        record: The study.
        space: Its search space, which knows candidates that no scored architecture has.
        measured_ms: Latency of one clip with the whole network measured, by identifier, where it is known.
    """
    slots = space_slots(record, space)
    return Front(
        quality=record.quality,
        quality_again="" if record.final_scores is None else record.final.quality,
        better="lower" if record.direction == "minimize" else "higher",
        second=_second(record),
        slots=slots,
        colours=layer_colours([name for slot in slots for name in slot.candidates]),
        points=_points(record, measured_ms or {}),
        budgets=_budgets(record),
        remarks=_remarks(record),
        of_shares=record.of_shares,
        intervals=intervals_label([*record.searched.front, *record.final.front], record),
    )


def space_slots(record: StudyRecord, space: SearchSpace | None) -> tuple[Slot, ...]:
    """The slots with their candidates: those of the space, or those that were scored."""
    if space is not None:
        names = _names([(slot.stage, 1) for slot in space.slots])
        return tuple(Slot(name, slot.candidates) for name, slot in zip(names, space.slots, strict=True))
    if not record.evaluations:
        return ()
    names = _names([(stage, len(layers)) for stage, layers in record.evaluations[0].architecture.layers])
    columns = zip(*(scored.architecture.choices for scored in record.evaluations), strict=True)
    return tuple(Slot(name, tuple(dict.fromkeys(column))) for name, column in zip(names, columns, strict=True))


def _names(stages: Sequence[tuple[str, int]]) -> list[str]:
    """A name for each slot: the stage, numbered if it has several."""
    every = [stage for stage, count in stages for _ in range(count)]
    return [
        stage if every.count(stage) == 1 else f"{stage} · {every[:place].count(stage) + 1}"
        for place, stage in enumerate(every)
    ]


def latency_of(evaluation: Evaluation, record: StudyRecord) -> Latency:
    """The latency of one clip, on the device that decides."""
    device = record.devices[evaluation.device].device if record.devices else record.device
    return _latency(evaluation, record, device, _plain(device))


def score_of(evaluation: Evaluation, own_error: float | None = None) -> Score:
    """The score of an evaluation, with its standard errors."""
    return Score(evaluation.quality, evaluation.standard_error, own_error)


def layers_of(architecture: Architecture) -> dict[str, str]:
    """What each slot of an architecture holds, by the slot's name."""
    names = _names([(stage, len(layers)) for stage, layers in architecture.layers])
    return dict(zip(names, architecture.choices, strict=True))


def _points(record: StudyRecord, measured_ms: Mapping[str, float]) -> tuple[Point, ...]:
    searched, again = _scores(record.searched), {}
    led = {member.trial for member in record.searched.front}
    leads: set[int] = set()
    if record.final_scores is not None:
        again, leads = _scores(record.final), {member.trial for member in record.final.front}
    return tuple(
        Point(
            id=(name := scored.architecture.id),
            choices=scored.architecture.choices,
            second=scored.second,
            second_low=(interval := second_interval(scored, record) or (None, None))[0],
            second_high=interval[1],
            latency=latency_of(scored, record),
            on_devices=_on_devices(scored, record),
            parameters=scored.parameters,
            search=searched[scored.trial],
            again=again.get(scored.trial),
            within_budgets=scored.feasible,
            leads_search=scored.trial in led,
            leads_again=scored.trial in leads,
            measured_ms=measured_ms.get(name),
        )
        for scored in record.evaluations
    )


def _scores(record: StudyRecord) -> dict[int, Score]:
    """The scores of one scoring, by trial."""
    errors = own_standard_errors([scored.quality_parts for scored in record.evaluations])
    pairs = zip(record.evaluations, errors, strict=True)
    return {scored.trial: score_of(scored, error) for scored, error in pairs}


def _on_devices(scored: Evaluation, record: StudyRecord) -> tuple[Latency, ...]:
    return tuple(_latency(each, record, record.devices[name].device, name) for name, each in scored.devices.items())


def _latency(known: Evaluation | DeviceLatency, record: StudyRecord, device: str, name: str) -> Latency:
    source = _source(record, known.provenance, device)
    return Latency(known.latency_ms, known.low_ms, known.high_ms, source, name, known.interval_percent)


def _source(record: StudyRecord, provenance: str, device: str) -> str:
    """Where a latency comes from: it is a sum of blocks, except if it is of one call."""
    word = "extrapolated" if device.endswith(EXTRAPOLATED) and provenance == "estimated" else provenance
    return word if record.one_call else f"predicted from {word} latencies of blocks"


def _plain(device: str) -> str:
    return device.removesuffix(EXTRAPOLATED)


def _second(record: StudyRecord) -> str:
    if record.of_shares:
        return "largest share of a latency budget"
    what = "one call" if record.one_call else "one clip"
    place = _plain(record.device) if record.which is None else record.which
    return f"latency of {what} on {place}, ms"


def _budgets(record: StudyRecord) -> tuple[Line, ...]:
    if record.of_shares:
        return (Line(1.0, "on the budget"),)
    limits_ms = record.limits_ms.get(record.which) if record.which else record.latency_budget_ms
    return () if limits_ms is None else (Line(limits_ms, f"budget {limits_ms:,.4g} ms"),)


def _remarks(record: StudyRecord) -> tuple[str, ...]:
    """What the noise of the scores leaves of the order, and what has not been scored."""
    final = record.final
    stages = [("In the search", record.searched)]
    if record.final_scores is not None:
        stages.append(("In the second scoring", final))
    remarks = [f"{name}, {each.agreement.sentence()}." for name, each in stages if each.agreement is not None]
    steps = steps_sentence(final)
    remarks += [f"{steps}."] if steps else []
    failed = f"{counted(record.failed, 'architecture')} could not be scored."
    waiting = (
        "1 member of the search's front waits for its second score."
        if final.waiting == 1
        else f"{final.waiting} members of the search's front wait for their second score."
    )
    return (*remarks, *([failed] if record.failed else []), *([waiting] if final.waiting else []))
