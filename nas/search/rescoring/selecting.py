"""Which architectures are scored a second time, and how many parts each of them was scored on."""

from __future__ import annotations

from collections import Counter

import numpy as np

from nas.errors import BudgetError
from nas.search.noise.halving import undominated
from nas.search.pareto import pareto_ranks
from nas.search.results.evaluation import FrontMember
from nas.search.results.record import StudyRecord, empty_front


def select_members(record: StudyRecord, members: int | None = None) -> tuple[FrontMember, ...]:
    """The evaluations that `rescore` scores again, fastest first; same arguments and errors."""
    if not record.front:
        raise BudgetError(empty_front(record), where=record.where, hint="resume it with `nas search`")
    if members is None:
        return record.front
    feasible = [evaluation for evaluation in record.evaluations if evaluation.feasible]
    points = [(evaluation.quality, evaluation.second) for evaluation in feasible]
    ranks = pareto_ranks(points, record.directions)
    chosen = list(record.front)
    for rank in range(1, int(ranks.max()) + 1):
        behind = sorted(
            (evaluation for evaluation, its_rank in zip(feasible, ranks, strict=True) if its_rank == rank),
            key=lambda evaluation: evaluation.second,
        )
        room = members - len(chosen)
        if room <= 0:
            break
        places = np.linspace(0, len(behind) - 1, min(room, len(behind))).round().astype(int)
        chosen += [behind[place] for place in places]
    return tuple(sorted(chosen, key=lambda member: (member.second, member.trial)))


def select_doubtful(record: StudyRecord, members: int | None = None) -> tuple[FrontMember, ...]:
    """The front, and behind it what the noise of the scores cannot tell from it, at most `members` in all.

    If the noise is unknown, it is what `select_members` selects; same errors.
    """
    selected = select_members(record, members)
    feasible = {one.architecture.id: one for one in record.evaluations if one.feasible and one.quality_parts}
    parts = {name: one.quality_parts for name, one in feasible.items()}
    if not parts:
        return selected
    latencies_ms = {name: one.second for name, one in feasible.items()}
    open_to_it = [feasible[name] for name in undominated(parts, latencies_ms, record.direction)]
    behind = [one for one in open_to_it if one not in record.front]
    return (*record.front, *(behind if members is None else behind[: max(members - len(record.front), 0)]))


def parts_of_each(record: StudyRecord) -> dict[str, int]:
    """How many parts each architecture was scored on a second time, by id, fastest first; empty without parts."""
    scored = sorted(record.final.evaluations, key=lambda one: one.second) if record.final_scores else []
    return {one.architecture.id: len(one.quality_parts) for one in scored if one.quality_parts}


def parts_sentence(record: StudyRecord) -> str:
    """How many parts went to how many architectures in the second scoring, without the full stop."""
    counted = Counter(parts_of_each(record).values())
    spent = " and ".join(f"{parts:,} to each of {counted[parts]}" for parts in sorted(counted, reverse=True))
    return f"of {counted.total():,} architectures and {sum(parts_of_each(record).values()):,} batches in all, {spent}"
