"""The search itself: ask Optuna for an architecture, score it once, tell."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import NasError
from nas.files import derive_seed
from nas.progress import progress_bar
from nas.search.config import SearchConfig
from nas.search.identity import identity
from nas.search.ledger import Known, architectures, idle_evaluations, interrupted, known_trials, leading
from nas.search.objective import Objective
from nas.search.proposals import anchors, fresh
from nas.search.protocols import CostModel, LatencyModel, Space
from nas.search.record import FrontMember, StudyRecord, read_study
from nas.search.samplers import make_sampler
from nas.search.storage import writable_study
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.quality.base import QualityMetric

logger = logging.getLogger("nas")

MAX_IDLE = 10
"""Proposals in a row that needed no scoring, after which the search proposes an architecture itself."""


@dataclass(frozen=True)
class SearchResult:
    """How a search ended.

    Args:
        record: Everything the study holds by now.
        reason: Why it ended, in a sentence.
        scored: Architectures scored by this run.
        repeated: Proposals of this run that were known already.
        over_budget: Proposals of this run that were left unscored because they exceed a budget.
    """

    record: StudyRecord
    reason: str
    scored: int
    repeated: int
    over_budget: int

    @property
    def front(self) -> tuple[FrontMember, ...]:
        """The front of the study, fastest first."""
        return self.record.front


def run_search(
    space: Space,
    latency: LatencyModel,
    quality: QualityMetric,
    config: SearchConfig,
    storage: str | Path,
    study_name: str,
    *,
    cost: CostModel | None = None,
) -> SearchResult:
    """Search the front of quality against latency, or go on with a study of that name.

    Each architecture is scored once. A proposal that is known already is told its known values, and one that
    exceeds a budget is recorded as pruned with its constraints, since what it costs is known without scoring.

    Args:
        space: What may be chosen.
        latency: Predicts the latency of any architecture, for `config.steps` denoising steps.
        quality: Scores an architecture.
        config: How long to search, and how.
        storage: Path of a SQLite file, or a storage URL of Optuna.
        study_name: Name of the study; an equal name goes on where it ended.
        cost: Parameters and memory of an architecture; needed for budgets on them.

    Raises:
        BudgetError: No architecture meets a budget. Raised before anything is scored.
        ConfigError: The study belongs to another space, table, metric or budget.
        StorageError: The storage cannot be used.
        NasError: Too many evaluations in a row failed.
    """
    objective = Objective(space, latency, quality, config.budgets, cost)
    objective.check_budgets()
    study = writable_study(
        storage,
        study_name,
        directions=(quality.direction, "minimize"),
        metric_names=(quality.name, "latency_ms"),
        identity=identity(objective, config),
    )
    with study as opened:
        return _Search(objective, config, opened, str(storage)).run()


class _Search:
    """State of one run."""

    def __init__(self, objective: Objective, config: SearchConfig, study: optuna.Study, where: str) -> None:
        self.objective, self.config, self.study, self.where = objective, config, study, where
        self.space = objective.space
        self.slots: dict[str, BaseDistribution] = {
            slot.id: CategoricalDistribution(slot.candidates) for slot in self.space.slots
        }
        # A run that continues a study draws other numbers than the run before it.
        began_with = len(study.get_trials(deepcopy=False))
        self.rng = random.Random(derive_seed(config.seed, "fresh", began_with))
        study.sampler = make_sampler(config.sampler, derive_seed(config.seed, "sampler", began_with) % 2**31)
        self.deadline = time.monotonic() + (config.timeout_s or float("inf"))
        self.queue: deque[Architecture] = deque()
        self.in_order: Iterator[Architecture] = self.space.enumerate()
        self.scored = self.repeated = self.over_budget = self.idle = 0
        self.failures_in_a_row = 0

    def run(self) -> SearchResult:
        """Search until there is a reason to stop."""
        known = known_trials(self.study)
        self.queue.extend(filter(self._wanted(known), self._first_proposals()))
        total = max(min(self.config.evaluations, self.space.count()), len(known))
        with progress_bar("searching", total, len(known)) as advance:
            while (reason := self._reason_to_stop(known)) is None:
                scored = self.scored
                self._step(known)
                known = known_trials(self.study)
                if self.scored > scored:
                    advance(f"{len(self._front(known))} on the front")
        return SearchResult(
            read_study(self.study, where=self.where), reason, self.scored, self.repeated, self.over_budget
        )

    def _first_proposals(self) -> list[Architecture]:
        """What an interrupted run left behind, then the anchors."""
        left = interrupted(self.study)
        if self.config.sampler == "exhaustive":
            return left
        return list(dict.fromkeys([*left, *anchors(self.space, self.objective.latency)]))

    def _reason_to_stop(self, known: Known) -> str | None:
        """Why to end now; also makes sure that there is something to propose."""
        if len(known) >= self.config.evaluations:
            return f"{len(known)} architectures scored"
        if time.monotonic() >= self.deadline:
            return f"the time of {self.config.timeout_s:g} s is over"
        if self.config.patience is not None:
            idle = idle_evaluations(known, self._front(known))
            if idle >= self.config.patience:
                return f"the last {idle} evaluations left the front as it was"
        return self._refill(known)

    def _refill(self, known: Known) -> str | None:
        """Queue an architecture where the sampler cannot be expected to find one."""
        if self.queue:
            return None
        if len(known) >= self.space.count():
            return f"all {self.space.count()} architectures of the space are scored"
        if self.config.sampler == "exhaustive":
            following = next(filter(self._wanted(known), self.in_order), None)
        elif self.idle >= MAX_IDLE:
            front = architectures(self._front(known))
            following = fresh(self.space, self._wanted(known), front, self.rng)
        else:
            return None
        if following is None:
            return f"no architecture is left to score within the budgets ({len(known)} scored)"
        self.queue.append(following)
        return None

    def _step(self, known: Known) -> None:
        """One trial, from the proposal to the result."""
        if self.queue:
            self.study.enqueue_trial(dict(zip(self.slots, self.queue.popleft().choices, strict=True)))
        trial = self.study.ask(self.slots)
        architecture = self.space.architecture([trial.params[name] for name in self.slots])
        self._describe(trial, architecture)
        self.idle += 1
        if architecture.id in known:
            self._tell_again(trial, known[architecture.id])
        elif not self.objective.feasible(architecture):
            self.study.tell(trial, state=TrialState.PRUNED)
            self.over_budget += 1
        else:
            self.idle = 0
            self._score(trial, architecture)

    def _describe(self, trial: Trial, architecture: Architecture) -> None:
        """Attach what is known beforehand."""
        costs = self.objective.costs(architecture)
        trial.set_user_attr("architecture", architecture.to_dict())
        trial.set_user_attr("parameters", costs.parameters)
        trial.set_user_attr("unet_ms", costs.unet_ms)
        trial.set_user_attr("provenance", costs.provenance)
        trial.set_user_attr("runtime", costs.runtime)
        for name, excess in self.objective.constraints(architecture).items():
            trial.set_constraint(name, excess)

    def _tell_again(self, trial: Trial, earlier: FrozenTrial) -> None:
        """Give a repeated proposal the result of the first; it is not scored and does not count."""
        trial.set_user_attr("duplicate_of", earlier.number)
        if earlier.state == TrialState.COMPLETE:
            self.study.tell(trial, earlier.values)
        else:
            self.study.tell(trial, state=TrialState.FAIL)
        self.repeated += 1

    def _score(self, trial: Trial, architecture: Architecture) -> None:
        self.scored += 1
        try:
            quality = self.objective.score(architecture)
        except NasError:
            # A user's mistake is the same for every architecture. The trial is left for the next run.
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        except Exception as error:  # noqa: BLE001 - a metric may fail in any way, and the search must outlive it
            self._fail(trial, architecture, error)
        except BaseException:
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            self.study.tell(trial, [quality, self.objective.costs(architecture).latency_ms])
            self.failures_in_a_row = 0

    def _fail(self, trial: Trial, architecture: Architecture, error: Exception) -> None:
        """Record a failed evaluation; give up when there are too many in a row."""
        failure = f"{type(error).__name__}: {error}"
        logger.warning("scoring %s failed: %s", architecture.id, failure)
        trial.set_user_attr("failure", failure)
        self.study.tell(trial, state=TrialState.FAIL)
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= self.config.max_failures:
            raise NasError(
                f"{self.failures_in_a_row} evaluations in a row failed, the last one with {failure}",
                where=f"study {self.study.study_name}",
                hint="mend the cause and start a study of another name",
            ) from error

    def _wanted(self, known: Known) -> _Wanted:
        return _Wanted(frozenset(known), self.objective)

    def _front(self, known: Known) -> list[FrozenTrial]:
        return leading(known, (self.objective.quality.direction, "minimize"))


@dataclass(frozen=True)
class _Wanted:
    """Whether an architecture is still to be scored."""

    known: frozenset[str]
    objective: Objective

    def __call__(self, architecture: Architecture) -> bool:
        return architecture.id not in self.known and self.objective.feasible(architecture)
