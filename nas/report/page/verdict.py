"""The chosen architecture beside simple designs: no temporal layers, and one layer everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.errors import BudgetError
from nas.formatting import float_text
from nas.report.page.document import Rival, Slot, Verdict
from nas.report.page.front import latency_of, score_of
from nas.search import Choice, StudyRecord, choose
from nas.search.noise.differences import difference
from nas.search.results.evaluation import Evaluation
from nas.space import NONE

AS_FAST = 2.0
"""A design that takes at most this many percent longer, or points more of a budget, counts as as fast."""

WITHOUT = "no temporal layers"


def study_choice(record: StudyRecord) -> Choice | None:
    """What a report of a study alone calls the chosen one: the best within its budget, or the knee."""
    try:
        return choose(record, record.latency_budget)
    except BudgetError:
        return None


def verdict(
    record: StudyRecord,
    chosen: str,
    slots: Sequence[Slot],
    *,
    why: str = "",
    size_bytes: Mapping[str, int] | None = None,
) -> Verdict | None:
    """The chosen architecture, and how simple designs that were scored compare with it.

    Args:
        record: The study.
        chosen: Identifier of the chosen architecture.
        slots: The slots of the space.
        why: How it was chosen.
        size_bytes: Size of the exported networks by format.

    Returns:
        `None` if the architecture is not in the study.
    """
    known = {scored.architecture.id for scored in record.evaluations}
    if chosen not in known:
        return None
    designs = _simple_designs(record, slots)
    own = designs.pop(chosen, None)
    rivals = tuple(_rival(record, chosen, name, design) for name, design in designs.items())
    return Verdict(chosen, why, rivals, _sentences(rivals, own), size_bytes or {})


def _simple_designs(record: StudyRecord, slots: Sequence[Slot]) -> dict[str, str]:
    """The scored architectures without layers, or with one kind wherever it is offered, by identifier, in words."""
    designs: dict[str, str] = {}
    for scored in record.evaluations:
        choices = scored.architecture.choices
        used = set(choices) - {NONE}
        if not used:
            designs[scored.architecture.id] = WITHOUT
        elif len(used) == 1:
            (layer,) = used
            places = zip(choices, slots, strict=True)
            if all(choice == layer for choice, slot in places if layer in slot.candidates) and len(slots) > 1:
                filled = sum(choice == layer for choice in choices)
                places_text = "every slot" if filled == len(slots) else f"the {filled} slots that offer it"
                designs.setdefault(scored.architecture.id, f"{layer} in {places_text}")
    return designs


def _rival(record: StudyRecord, chosen: str, rival: str, design: str) -> Rival:
    """The comparison of two architectures, in the last scoring that both have."""
    stage, ours, theirs = _in_one_scoring(record, chosen, rival)
    sign = -1.0 if stage.direction == "minimize" else 1.0
    gap = difference(ours.quality_parts, theirs.quality_parts)
    longer = 100 * (theirs.second / ours.second - 1) if ours.second else 0.0
    return Rival(
        design=design,
        id=rival,
        latency=latency_of(theirs, record),
        slower_percent=None if stage.of_shares else longer,
        points_more=100 * (theirs.second - ours.second) if stage.of_shares else None,
        score=score_of(theirs),
        chosen_better_by=sign * (ours.quality - theirs.quality if gap is None else gap.mean),
        standard_error=None if gap is None else gap.standard_error,
        beyond_noise=None if gap is None else gap.distinguishable,
    )


def _in_one_scoring(record: StudyRecord, first: str, second: str) -> tuple[StudyRecord, Evaluation, Evaluation]:
    for stage in (record.final, record.searched):
        scored = {each.architecture.id: each for each in stage.evaluations}
        if first in scored and second in scored:
            return stage, scored[first], scored[second]
    raise AssertionError("the search has scored both")


def _sentences(rivals: Sequence[Rival], own: str | None) -> tuple[str, ...]:
    """Against the best simple design of the same cost, and against no temporal layers.

    Args:
        rivals: The simple designs.
        own: The design of the chosen one, if that is simple, too.
    """
    empty = [rival for rival in rivals if rival.design == WITHOUT]
    uniform = [rival for rival in rivals if rival.design != WITHOUT]
    sentences = [] if own is None else [f"The chosen one is a simple design itself: {own}."]
    other = "" if own in (None, WITHOUT) else " other"
    if uniform:
        sentences.append(_against_uniform(uniform, other))
    else:
        sentences.append(f"No{other} uniform design (one layer in every slot) was scored.")
    sentences += [f"Against {WITHOUT}: {_gap(rival)}, {_costs(rival)}." for rival in empty]
    return tuple(sentences)


def _against_uniform(uniform: Sequence[Rival], other: str) -> str:
    """Against the best uniform design that costs no more, or the one that costs least."""
    of_shares = uniform[0].points_more is not None
    frugal = [rival for rival in uniform if rival.costs_more <= AS_FAST]
    if frugal:
        best = min(frugal, key=lambda rival: rival.chosen_better_by)
        which = "needs about as small a share of a budget" if of_shares else "is as fast"
        return f"Against the best{other} uniform design that {which}, {best.design}: {_gap(best)}."
    nearest = min(uniform, key=lambda rival: rival.costs_more)
    start = f"No{other} uniform design that was scored"
    if of_shares:
        more = f"{nearest.costs_more:.0f} points more of its tightest budget"
        return (
            f"{start} needs as small a share of a budget. The nearest, {nearest.design}, uses {more}: {_gap(nearest)}."
        )
    longer = f"{nearest.costs_more:.0f}% longer"
    return f"{start} is as fast. The fastest, {nearest.design}, takes {longer}: {_gap(nearest)}."


def _gap(rival: Rival) -> str:
    """By how much the chosen one is better, and what the noise says of that."""
    gap = abs(rival.chosen_better_by)
    better = "better" if rival.chosen_better_by > 0 else "worse"
    size = f"{better} by {float_text(float(f'{gap:.2g}'))}" if gap else "equal"
    size = f"the score of the chosen one is {size}"
    if rival.standard_error is None:
        return f"{size} (its noise is unknown)"
    noise = "beyond the noise" if rival.beyond_noise else "which is within the noise"
    return f"{size} ± {rival.standard_error:.1g}, {noise}"


def _costs(rival: Rival) -> str:
    """How much longer the chosen one takes, or how much more of its tightest budget."""
    if rival.points_more is not None:
        more = "less" if rival.points_more >= 0 else "more"
        return f"and it uses {abs(rival.points_more):.1f} points {more} of its tightest budget"
    longer = 100 * (1 / (1 + rival.costs_more / 100) - 1)
    return f"and it takes {abs(longer):.1f}% {'longer' if longer > 0 else 'less time'}"
