"""The second stage of a search: score the front again, with a metric too expensive for every architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import optuna

from nas.errors import ConfigError, NasError
from nas.progress import progress_bar
from nas.search.noise.halving import Halving
from nas.search.protocols import Space
from nas.search.rescoring.selecting import select_doubtful, select_members
from nas.search.results.evaluation import FrontMember
from nas.search.results.reading import read_study
from nas.search.results.record import StudyRecord
from nas.search.scores import Failures, Score, is_mistake, score, score_more
from nas.search.storage.address import shown, study_file
from nas.search.storage.contents import DRAW, IDENTITY
from nas.search.storage.final_scores import (
    adopt_scores,
    make_final,
    metric_key,
    read_scores,
    write_failure,
    write_score,
)
from nas.search.storage.studies import changeable_study, second_scoring
from nas.search.timing import Timing
from nas.search.workers.shares import Attempt, Attempts, SharedAttempts, Shares, Unshared
from nas.search.workers.trials import MAX_DEATHS
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
        scored: Architectures scored by this process.
        known: Architectures that had a score of this metric before.
        failed: Architectures whose scoring failed in this process; the next run retries them.
        parts: Parts of the held-out data that this process scored, over all architectures; 0 if the metric has none.
    """

    record: StudyRecord
    scored: int
    known: int
    failed: int
    parts: int = 0


def rescore(
    storage: str | Path,
    study_name: str,
    quality: QualityMetric,
    *,
    members: int | None = None,
    space: Space | None = None,
    timing: Timing | None = None,
) -> RescoreResult:
    """Score the members of a study's front with a more expensive metric, and make the final front of these scores.

    On a database server, any number of processes may run this for the same study. They share the architectures. If one
    dies, another takes over. All return when each architecture has a score or has failed.

    Each score is stored at once, and architectures with a score are skipped, so an interrupted run can be resumed.
    Scores of different metrics are kept apart; the last metric that was used here makes the final front.

    A metric that scores in parts (`QualityMetric.part_count`) scores only architectures whose order is in doubt on all
    of them, and no more parts than scoring the members on all of them would take (`nas.search.noise.halving`).

    Args:
        storage: Path of a SQLite file, or a storage URL.
        study_name: Name of the study.
        quality: The metric. Recognised by its name, direction and fingerprint.
        members: Architectures to score, the whole front first and then the ranks of non-dominated sorting behind it;
            of the last rank that has room, some spread over its latencies. Without it, the front alone. A metric that
            scores in parts scores the front and at most so many in all of those that the noise of the search's scores
            cannot tell from it; without it, all of these.
        space: What the metric was made for; compared with the study's.
        timing: How long processes wait for each other and for the database; the defaults suit most metrics.

    Raises:
        StorageError: The storage cannot be used, or holds no such study; or another process does this in the SQLite
            file.
        ConfigError: The study has another space, or was not made by `nas search`.
        BudgetError: The front is empty.
        NasError: No score came out, or too many in a row failed.
    """
    timing = timing or Timing()
    with changeable_study(storage, study_name, timing) as study:
        record = read_study(study, where=shown(storage))
        if space is not None and study.user_attrs[IDENTITY].get("space_content") != space.fingerprint:
            raise ConfigError(f"was made with another search space than {space.name}, or another version of it",
                              where=f"study {study_name}")  # fmt: skip
        rescoring = _Rescoring(study, quality, shown(storage), _shares(storage, study, quality, timing))
        if quality.part_count == 1:
            return rescoring.run([member.architecture for member in select_members(record, members)])
        adopt_scores(study, quality)
        candidates = select_doubtful(record, members)
        # No more than all parts for the front, or for as many architectures as were asked for.
        budget = quality.part_count * max(len(record.front), min(members or 0, len(candidates)))
        return rescoring.run_rounds(candidates, budget)


class _Rescoring:
    """State of one run."""

    def __init__(self, study: optuna.Study, quality: QualityMetric, where: str, shares: Shares) -> None:
        self.study, self.quality, self.where, self.shares = study, quality, where, shares
        self.metric = metric_key(quality)
        self.wanted: Mapping[str, int] = {}
        self.scored: set[str] = set()
        self.parts = 0
        self.tried: dict[str, str] = {}
        self.failures = Failures(MAX_FAILURES, study.study_name, "fix the cause and run it again")

    def run_rounds(self, candidates: Sequence[FrontMember], budget: int) -> RescoreResult:
        """Score architectures on more and more parts, as long as their order is in doubt."""
        latencies_ms = {one.architecture.id: one.second for one in candidates}
        architectures = {one.architecture.id: one.architecture for one in candidates}
        known = len(self._known().keys() & architectures.keys())
        begun = self._searched(candidates)
        halving = Halving(latencies_ms, self.quality.direction, self.quality.part_count, budget, begun)
        while levels := halving.next_round({name: score.parts for name, score in self._known().items()}):
            self.wanted = levels
            self.run([architectures[name] for name in levels])
        after = read_study(self.study, where=self.where)
        return RescoreResult(after, len(self.scored), known, self.failures.total, self.parts)

    def _searched(self, candidates: Sequence[FrontMember]) -> dict[str, int]:
        """How many parts the search scored of each candidate, if they are the first parts of this metric.

        They then count as scores of this metric.
        """
        if self.study.user_attrs.get(DRAW) != self.quality.parts_fingerprint:
            return {}
        begun = {one.architecture.id: one.quality_parts[: self.quality.part_count] for one in candidates}
        for name, parts in begun.items():
            if parts and name not in self._known():
                write_score(self.study, self.metric, name, score=Score(fmean(parts), parts))
        make_final(self.study, self.quality)
        return {name: len(parts) for name, parts in begun.items() if parts}

    def run(self, chosen: list[Architecture]) -> RescoreResult:
        """Score the architectures that lack a score, or parts of it, until this or another process has tried each."""
        known = len(chosen) - len(self._waiting(chosen, Attempts()))
        if known:
            make_final(self.study, self.quality)
        with progress_bar("scoring again", len(chosen), known) as bar:
            while waiting := self._waiting(chosen, attempts := self.shares.look()):
                bar.reach(
                    len(chosen) - len(waiting), f"{len(attempts.taken)} in other processes" if attempts.taken else ""
                )
                self._turn(waiting, attempts)
            bar.reach(len(chosen), "")
        if not self._known():
            last = self.failures.last or next(iter(attempts.failed.values()))
            raise NasError(f"none of {len(chosen)} architectures could be scored, the last one failed with {last}",
                           where=f"study {self.study.study_name}")  # fmt: skip
        return RescoreResult(read_study(self.study, where=self.where), len(self.scored), known, self.failures.total)

    def _known(self) -> dict[str, Score]:
        return read_scores(self.study.user_attrs, self.metric)[0]

    def _waiting(self, chosen: list[Architecture], attempts: Attempts) -> list[Architecture]:
        """The architectures that lack parts of a score and have not failed in this run or, meanwhile, in another."""
        tried = self.tried.keys() | attempts.failed.keys()
        has = {name: max(len(score.parts), 1) for name, score in self._known().items()}
        return [one for one in chosen if one.id not in tried and has.get(one.id, 0) < self.wanted.get(one.id, 1)]

    def _turn(self, waiting: list[Architecture], attempts: Attempts) -> None:
        """Score an architecture, or wait for the processes that score the rest, in case one of them dies."""
        free = [architecture for architecture in waiting if architecture.id not in attempts.taken]
        if not free:
            self.shares.wait()
            return
        with self.shares.attempt(free[0]) as attempt:
            # Another process may have ended an attempt between the look and this one.
            if attempt is not None and self._waiting(free[:1], latest := self.shares.look()):
                self._score(free[0], attempt, latest.deaths.get(free[0].id, 0))

    def _new_score(self, architecture: Architecture) -> Score:
        if architecture.id not in self.wanted:
            return score(self.quality, architecture)
        known, wanted = self._known().get(architecture.id, Score(0.0)).parts, self.wanted[architecture.id]
        new = score_more(self.quality, architecture, known, wanted)
        self.parts += wanted - len(known)
        return new

    def _score(self, architecture: Architecture, attempt: Attempt, died: int) -> None:
        if died >= MAX_DEATHS:
            self._fail(architecture, attempt, f"{died} workers died while they scored it")
            return
        try:
            new_score = self._new_score(architecture)
        except Exception as error:
            if is_mistake(error):
                raise
            self._fail(architecture, attempt, f"{type(error).__name__}: {error}", error)
        else:
            write_score(self.study, self.metric, architecture.id, score=new_score)
            attempt.end(new_score.value)
            if not self.scored:
                make_final(self.study, self.quality)
            self.scored.add(architecture.id)
            self.failures.end_of_row()

    def _fail(self, architecture: Architecture, attempt: Attempt, failure: str, error: Exception | None = None) -> None:
        """Record a failure; give up when there are too many in a row."""
        self.failures.add(architecture, failure)
        self.tried[architecture.id] = failure
        write_failure(self.study, self.metric, architecture.id, failure=failure)
        attempt.fail(failure)
        self.failures.check(error)


def _shares(storage: str | Path, study: optuna.Study, quality: QualityMetric, timing: Timing) -> Shares:
    """A SQLite file has one process; a server has any number."""
    if study_file(storage) is not None:
        return Unshared()
    return SharedAttempts(second_scoring(study, metric_key(quality), quality.direction), timing)
