"""The loop of one worker of a study: propose an architecture, finish its trial, and check whether to stop."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from nas.files import derive_seed
from nas.formatting import counted
from nas.progress import Bar, progress_bar
from nas.quality.base import Direction
from nas.search.config import SearchConfig
from nas.search.objective import Objective
from nas.search.proposals import ENUMERATED, fresh, starts
from nas.search.samplers.factory import SamplerFactory
from nas.search.samplers.lazy import LazySampler
from nas.search.timing import Timing
from nas.search.workers.asking import as_optimize_loop
from nas.search.workers.coordination import Coordination
from nas.search.workers.snapshot import (
    Known,
    StudySnapshot,
    architectures,
    front_hypervolume,
    idle_evaluations,
    leading,
    read_snapshot,
    running,
)
from nas.search.workers.trials import Trials
from nas.space import Architecture

MAX_IDLE = 10
"""Proposals in a row that needed no scoring, after which the worker proposes an architecture itself."""


class Worker:
    """One worker, and the state of its run.

    Args:
        objective: Scores architectures.
        config: How long to search, and how.
        study: The study, open for writing.
        factory: Makes the sampler.
        coordination: With the other workers of the study.
        timing: How often to look at the others when there is nothing else to do.
    """

    def __init__(
        self,
        objective: Objective,
        config: SearchConfig,
        study: optuna.Study,
        factory: SamplerFactory,
        coordination: Coordination,
        timing: Timing,
    ) -> None:
        self.objective, self.config, self.study, self.timing = objective, config, study, timing
        self.coordination = coordination
        self.space = objective.space
        self.factory = factory
        # Seeded by the number of this run's first trial, so that workers and runs draw different numbers.
        self.sampler = LazySampler(lambda number: factory.make(objective, self._seed("sampler", number)))
        study.sampler = self.sampler
        self.rng: random.Random | None = None
        self.trials = Trials(objective, config, study, coordination)
        self.deadline = time.monotonic() + (config.timeout_s or float("inf"))
        self.queue: deque[Architecture] = deque()
        self.idle = 0
        self.stopped = False

    def run(self) -> str:
        """Search until there is a reason to stop, and return it."""
        snapshot = self._read()
        known = snapshot.known
        self.queue.extend(filter(self._wanted(known), self.factory.first(self.objective)))
        total = max(min(self.config.evaluations, self.space.count()), len(known))
        with progress_bar("searching", total, len(known) - len(running(known))) as bar:
            while (reason := self._turn(snapshot, bar)) is None:
                snapshot = self._read()
                done = len(snapshot.known) - len(running(snapshot.known))
                bar.reach(done, self._status(snapshot.known))
        return reason

    def _read(self) -> StudySnapshot:
        self.coordination.fail_stale_trials()
        return read_snapshot(self.study)

    def _turn(self, snapshot: StudySnapshot, bar: Bar) -> str | None:
        """Run one trial, or wait for other workers; returns the reason to stop, if there is one."""
        complete, others = self._complete(snapshot), running(snapshot.known)
        reason = self._cut_short(snapshot.known) if others or complete is None else complete
        if reason is not None:
            return reason
        if complete is None:
            self._trial(snapshot)
        else:
            # If one of them dies, its architecture is left to score.
            bar.say(f"waiting for {len(others)} that other workers are scoring")
            self.coordination.wait(min(self.timing.poll_s, max(0.0, self.deadline - time.monotonic())))
        return None

    def _cut_short(self, known: Known) -> str | None:
        """The reason to end now although architectures are left; `None` without one."""
        if time.monotonic() >= self.deadline:
            return f"the timeout of {self.config.timeout_s:g} s has passed"
        if self.config.patience is not None:
            idle = idle_evaluations(known, self._front(known))
            if idle >= self.config.patience:
                return f"the last {idle} evaluations left the front unchanged"
        return None

    def _complete(self, snapshot: StudySnapshot) -> str | None:
        """The reason why nothing is left to propose, or `None`; queues an architecture if the sampler may find none."""
        known = snapshot.known
        if len(known) >= self.config.evaluations:
            return f"{counted(len(known), 'architecture')} scored"
        if len(known) >= self.space.count():
            return f"all {self.space.count()} architectures of the space are scored"
        wanted = self._wanted(known)
        self.queue = deque(filter(wanted, dict.fromkeys([*snapshot.interrupted, *self.queue])))
        if self.queue:
            return None
        if self.stopped:
            return f"the sampler has no architecture left to propose within the budgets ({len(known)} scored)"
        if known and self.idle < MAX_IDLE:
            return None
        # Budgets can exclude each other; a sampler would then look for something that does not exist.
        able = [start for start in starts(self.objective) if self.objective.feasible(start)]
        following = fresh(self.space, wanted, architectures(self._front(known)) or able, self._rng())
        if following is None:
            missing = "is left to score" if self.space.count() <= ENUMERATED else "that is left to score was found"
            return f"no architecture {missing} within the budgets ({len(known)} scored)"
        self.queue.append(following)
        return None

    def _trial(self, snapshot: StudySnapshot) -> None:
        """One trial, from the proposal to the result."""
        if self.queue:
            self.study.enqueue_trial(self.objective.params(self.queue.popleft()))
        with as_optimize_loop(self.study):
            trial = self.study.ask(dict(self.objective.distributions))
            counted = self.trials.bring_to_an_end(trial, self.objective.architecture(trial.params), snapshot)
        self.stopped = self.study._stop_flag
        self.idle = 0 if counted else self.idle + 1

    def _rng(self) -> random.Random:
        if self.rng is None:
            self.rng = random.Random(self._seed("fresh", self.sampler.first))
        return self.rng

    def _seed(self, purpose: str, number: int) -> int:
        return derive_seed(self.config.seed, purpose, number)

    def _wanted(self, known: Known) -> _Wanted:
        return _Wanted(frozenset(known), self.objective)

    def _status(self, known: Known) -> str:
        front = self._front(known)
        return f"front {len(front)}, hypervolume {front_hypervolume(known, front, self._directions):.4g}"

    @property
    def _directions(self) -> tuple[Direction, Direction]:
        return (self.objective.quality.direction, "minimize")

    def _front(self, known: Known) -> list[FrozenTrial]:
        return leading(known, self._directions)


@dataclass(frozen=True)
class _Wanted:
    """Whether an architecture is still to be scored."""

    known: frozenset[str]
    objective: Objective

    def __call__(self, architecture: Architecture) -> bool:
        return architecture.id not in self.known and self.objective.feasible(architecture)
