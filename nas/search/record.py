"""What a study has found: its evaluations and their front, read back from the storage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.errors import BudgetError
from nas.quality.base import Direction
from nas.search.agreement import HalvesAgreement, halves_agreement
from nas.search.pareto import knee, pareto_front
from nas.search.storage.address import shown
from nas.search.storage.contents import is_foreign, read_architecture, read_identity, read_scored
from nas.search.storage.final_scores import FinalScores, read_final_scores
from nas.search.storage.studies import readable_study
from nas.space import Architecture

logger = logging.getLogger("nas")


@dataclass(frozen=True)
class Evaluation:
    """One scored architecture.

    Args:
        architecture: What was scored.
        quality: Its score, in the direction of the study.
        latency_ms: Predicted latency of the pipeline for one clip.
        unet_ms: Predicted latency of one call of the denoising network.
        parameters: Weights of the denoising network; `None` when unknown.
        provenance: Where the latency comes from: `measured`, `estimated` or `published`.
        runtime: How it is executed there; of several settings, the one that is fastest for it.
        trial: Number of the trial in the study.
        feasible: Whether it meets the budgets of the study.
        search_quality: What the search scored, where `quality` is a dearer score that came later.
        quality_parts: What `quality` is the mean of, by parts of the held-out data; empty where that is not known.
    """

    architecture: Architecture
    quality: float
    latency_ms: float
    unet_ms: float
    parameters: int | None
    provenance: str
    runtime: str
    trial: int
    feasible: bool
    search_quality: float | None = None
    quality_parts: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for tables and JSON."""
        searched = {} if self.search_quality is None else {"search_quality": self.search_quality}
        return {
            "id": self.architecture.id,
            "layers": str(self.architecture),
            "quality": self.quality,
            **searched,
            "latency_ms": self.latency_ms,
            "parameters": self.parameters,
            "provenance": self.provenance,
            "runtime": self.runtime,
        }


FrontMember = Evaluation
"""A feasible evaluation that no other feasible one of its study dominates."""


@dataclass(frozen=True)
class StudyRecord:
    """A study as it stands in its storage.

    Args:
        name: Name of the study.
        where: The storage, for messages.
        space: Name of the search space.
        quality: Name of the quality metric.
        direction: Its direction.
        steps: Denoising steps per clip that latencies hold for.
        device: The machine that latencies hold for.
        runtime: How the network is executed there.
        latency_budget_ms: The study's latency budget, if it had one.
        evaluations: Every architecture scored, in the order of their trials.
        failed: Number of architectures whose evaluation failed.
        final_scores: Dearer scores that members of the front were given since, if any.
        waiting: Members of the search's front without such a score, in a record made of them; see `final`.
    """

    name: str
    where: str
    space: str
    quality: str
    direction: Direction
    steps: int
    device: str
    runtime: str
    latency_budget_ms: float | None
    evaluations: tuple[Evaluation, ...]
    failed: int
    final_scores: FinalScores | None = None
    waiting: int = 0

    @property
    def searched(self) -> StudyRecord:
        """The study as the search left it, whatever was scored again since."""
        return replace(self, final_scores=None)

    @property
    def final(self) -> StudyRecord:
        """The study of what was scored again, with the dearer scores in place of the search's.

        Where nothing was, it is the study itself. Scores of both kinds are never compared with each other: what was
        not scored again is not in it.
        """
        if self.final_scores is None:
            return self
        again, failed, parts = self.final_scores.scores, self.final_scores.failures, self.final_scores.parts
        waiting = [one for one in self.front if one.architecture.id not in {**again, **failed}]
        return replace(
            self,
            quality=self.final_scores.quality,
            direction=self.final_scores.direction,
            evaluations=tuple(
                replace(
                    one,
                    quality=again[one.architecture.id],
                    search_quality=one.quality,
                    quality_parts=parts.get(one.architecture.id, ()),
                )
                for one in self.evaluations
                if one.architecture.id in again
            ),
            failed=len(failed),
            final_scores=None,
            waiting=len(waiting),
        )

    @property
    def agreement(self) -> HalvesAgreement | None:
        """How far two halves of the held-out data agree on the order of the architectures, where that is known."""
        return halves_agreement([evaluation.quality_parts for evaluation in self.evaluations])

    @property
    def one_call(self) -> bool:
        """Whether a result is one call of the searched network, with nothing before, after or repeated."""
        return bool(self.evaluations) and all(one.unet_ms == one.latency_ms for one in self.evaluations)

    @property
    def fallen(self) -> tuple[FrontMember, ...]:
        """Members of the search's front that are not on the final one, though scored again; search's scores."""
        if self.final_scores is None:
            return ()
        stayed = {member.trial for member in self.final.front}
        again = self.final_scores.scores
        return tuple(one for one in self.front if one.architecture.id in again and one.trial not in stayed)

    @property
    def provenance(self) -> tuple[str, ...]:
        """Where the latencies come from: `measured`, `estimated`, `published`, as many as apply."""
        return tuple(sorted({evaluation.provenance for evaluation in self.evaluations}))

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """Of quality and latency."""
        return (self.direction, "minimize")

    @property
    def front(self) -> tuple[FrontMember, ...]:
        """The feasible evaluations that no other one dominates, fastest first; empty when there are none."""
        feasible = [evaluation for evaluation in self.evaluations if evaluation.feasible]
        mask = pareto_front(_points(feasible), self.directions)
        members = [member for member, on_front in zip(feasible, mask, strict=True) if on_front]
        return tuple(sorted(members, key=lambda member: (member.latency_ms, member.trial)))

    def best_within(self, latency_budget_ms: float) -> FrontMember:
        """The member of best quality that meets a latency budget.

        Raises:
            BudgetError: None does; the message names the fastest one.
        """
        within = [member for member in self._members() if member.latency_ms <= latency_budget_ms]
        if not within:
            fastest = self.front[0]
            raise BudgetError(
                f"no member of the front meets the budget of {latency_budget_ms:,.6g} ms; the fastest is "
                f"{fastest.architecture.id} ({fastest.architecture}) with {fastest.latency_ms:,.6g} ms",
                where=f"study {self.name}",
                hint="raise the budget, or search on with this budget under another study name",
            )
        # Along a front quality improves with latency, so the slowest that still fits is the best.
        return within[-1]

    def knee(self) -> FrontMember:
        """The member beyond which more latency buys little quality.

        Raises:
            BudgetError: The front is empty.
        """
        members = self._members()
        return members[knee(_points(members), self.directions)]

    def _members(self) -> tuple[FrontMember, ...]:
        if self.waiting:
            raise BudgetError(
                f"{self.waiting} members of the search's front have no score of {self.quality} yet",
                where=f"study {self.name}",
                hint="let `nas rescore` go on, or take the search's own front (--search-scores)",
            )
        if not self.front:
            raise BudgetError(empty_front(self), where=self.where, hint="let `nas search` go on")
        return self.front


def empty_front(record: StudyRecord) -> str:
    """Why a study has no front."""
    scored = len(record.evaluations)
    if not scored and not record.failed:
        return f"study {record.name} has no evaluations yet"
    return f"study {record.name} has no front: {scored} architectures scored, {record.failed} failed, none feasible"


def pick(record: StudyRecord, latency_budget_ms: float | None = None) -> FrontMember:
    """The member of best quality within a latency budget, or without one the knee of the front.

    The front is that of `record.final`; pass `record.searched` for the search's own.

    Raises:
        BudgetError: No member meets the budget, the front is empty, or some of it waits to be scored again.
    """
    final = record.final
    return final.knee() if latency_budget_ms is None else final.best_within(latency_budget_ms)


def load_study(storage: str | Path, study_name: str) -> StudyRecord:
    """Read a study.

    Args:
        storage: Path of a SQLite file, which is only read, so that no right to write is needed; or a storage URL.
        study_name: Name of the study.

    Raises:
        StorageError: The storage cannot be opened, or holds no such study.
        ConfigError: The study was not made by `nas search`, or is damaged.
    """
    with readable_study(storage, study_name) as study:
        return read_study(study, where=shown(storage))


def load_front(storage: str | Path, study_name: str) -> list[FrontMember]:
    """The final front of a study, fastest first; empty when there is none. Raises as `load_study` does."""
    return list(load_study(storage, study_name).final.front)


def read_study(study: optuna.Study, *, where: str) -> StudyRecord:
    """Turn an Optuna study into a record; see `load_study`."""
    place = f"{where}: study {study.study_name}"
    identity = read_identity(study, where=place)
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    first = [trial for trial in trials if "duplicate_of" not in trial.user_attrs]
    foreign = sum(map(is_foreign, first))
    if foreign:
        logger.warning("%s: %d trials with results are left out: `nas search` did not make them", place, foreign)
    scored = [trial for trial in first if trial.state == TrialState.COMPLETE and not is_foreign(trial)]
    return StudyRecord(
        name=study.study_name,
        where=where,
        space=identity.space,
        quality=identity.quality_metric,
        direction=identity.direction,
        steps=identity.steps,
        device=identity.device,
        runtime=identity.runtime,
        latency_budget_ms=identity.budgets.latency_ms,
        evaluations=tuple(_evaluation(trial, place) for trial in scored),
        failed=sum("failure" in trial.user_attrs for trial in first),
        final_scores=read_final_scores(study.user_attrs, where=place),
    )


def _evaluation(trial: FrozenTrial, where: str) -> Evaluation:
    return Evaluation(
        architecture=read_architecture(trial, where=where),
        **dict(read_scored(trial, where=where)),
        trial=trial.number,
        feasible=all(value <= 0 for value in trial.constraints.values()),
    )


def _points(evaluations: Sequence[Evaluation]) -> list[tuple[float, float]]:
    return [(evaluation.quality, evaluation.latency_ms) for evaluation in evaluations]
