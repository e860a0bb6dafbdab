"""The second stage of a search: score the front again, with a metric too expensive for every architecture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from nas.errors import BudgetError, ConfigError, NasError
from nas.progress import progress_bar
from nas.search.pareto import pareto_ranks
from nas.search.protocols import Space
from nas.search.record import FrontMember, StudyRecord, empty_front, read_study
from nas.search.scores import Failures, Score, is_mistake, score
from nas.search.storage.address import shown
from nas.search.storage.contents import IDENTITY
from nas.search.storage.final_scores import make_final, metric_key, read_scores, write_failure, write_score
from nas.search.storage.studies import changeable_study
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.quality.base import QualityMetric

MAX_FAILURES = 5
"""Failures in a row that end the run: the metric itself is then the likely cause."""


@dataclass(frozen=True)
class RescoreResult:
    """How a rescoring ended.

    Args:
        record: The study; `record.final` uses the scores.
        scored: Architectures scored by this run.
        known: Architectures that had a score of this metric before.
        failed: Architectures whose scoring failed in this run; the next run retries them.
    """

    record: StudyRecord
    scored: int
    known: int
    failed: int


def rescore(
    storage: str | Path,
    study_name: str,
    quality: QualityMetric,
    *,
    members: int | None = None,
    space: Space | None = None,
) -> RescoreResult:
    """Score the members of a study's front with a more expensive metric, and make the final front of these scores.

    Each score is stored at once, and architectures with a score are skipped, so an interrupted run can be resumed.
    Scores of different metrics are kept apart; the last metric that was used here makes the final front.

    Args:
        storage: Path of a SQLite file, or a storage URL.
        study_name: Name of the study.
        quality: The metric. Recognised by its name, direction and fingerprint.
        members: Architectures to score, the whole front first and then the ranks of non-dominated sorting behind it;
            of the last rank that has room, some spread over its latencies. Without it, the front alone.
        space: What the metric was made for; compared with the study's.

    Raises:
        StorageError: The storage cannot be used, or holds no such study.
        ConfigError: The study has another space, or was not made by `nas search`.
        BudgetError: The front is empty.
        NasError: No score came out, or too many in a row failed.
    """
    with changeable_study(storage, study_name) as study:
        record = read_study(study, where=shown(storage))
        if space is not None and study.user_attrs[IDENTITY].get("space_content") != space.fingerprint:
            raise ConfigError(f"was made with another search space than {space.name}, or another version of it",
                              where=f"study {study_name}")  # fmt: skip
        chosen = [member.architecture for member in select_members(record, members)]
        return _Rescoring(study, quality, shown(storage)).run(chosen)


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


class _Rescoring:
    """State of one run."""

    def __init__(self, study: optuna.Study, quality: QualityMetric, where: str) -> None:
        self.study, self.quality, self.where = study, quality, where
        self.metric = metric_key(quality)
        self.scored = 0
        self.failures = Failures(MAX_FAILURES, study.study_name, "fix the cause and run it again")

    def run(self, chosen: list[Architecture]) -> RescoreResult:
        """Score the architectures that have no score yet."""
        known = self._known()
        waiting = [architecture for architecture in chosen if architecture.id not in known]
        if len(waiting) < len(chosen):
            make_final(self.study, self.quality)
        with progress_bar("scoring again", len(chosen), len(chosen) - len(waiting)) as advance:
            for architecture in waiting:
                self._score(architecture)
                advance(architecture.id)
        if not self._known():
            raise NasError(f"none of {len(chosen)} architectures could be scored, the last one failed with "
                           f"{self.failures.last}", where=f"study {self.study.study_name}")  # fmt: skip
        record = read_study(self.study, where=self.where)
        return RescoreResult(record, self.scored, len(chosen) - len(waiting), self.failures.total)

    def _known(self) -> dict[str, Score]:
        return read_scores(self.study.user_attrs, self.metric)[0]

    def _score(self, architecture: Architecture) -> None:
        if architecture.id in self._known():  # scored by another process meanwhile
            return
        try:
            new_score = score(self.quality, architecture)
        except Exception as error:
            if is_mistake(error):
                raise
            self._fail(architecture, error)
        else:
            write_score(self.study, self.metric, architecture.id, score=new_score)
            if not self.scored:
                make_final(self.study, self.quality)
            self.scored += 1
            self.failures.end_of_row()

    def _fail(self, architecture: Architecture, error: Exception) -> None:
        """Record a failure; give up when there are too many in a row."""
        failure = f"{type(error).__name__}: {error}"
        self.failures.add(architecture, failure)
        write_failure(self.study, self.metric, architecture.id, failure=failure)
        self.failures.check(error)
