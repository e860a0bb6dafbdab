"""No architecture is scored twice, whatever order workers write and read in, and whoever dies on the way."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from nas.search import SearchConfig, Timing
from nas.search.objective import Objective
from nas.search.samplers.choice import choose_sampler
from nas.search.workers.claims import claim
from nas.search.workers.worker import Worker
from tests.search.formulas import FormulaLatency, PlainSpace, formula_loss

STEPS = 20_000
"""Far more accesses than any run here needs; one that does not end by then is stuck."""


class Death(BaseException):
    """What happens to a killed process: nothing more."""


class Turns:
    """Threads of which one runs at a time, from one access to the storage to the next, in an order to choose."""

    def __init__(self, choose, lifetimes):
        self.choose, self.left = choose, dict(lifetimes)
        self.dead = set()
        self.here = threading.local()
        self.back = threading.Semaphore(0)

    def run(self, jobs):
        self.go = [threading.Semaphore(0) for _ in jobs]
        self.alive = set(range(len(jobs)))
        self.errors = []
        threads = [threading.Thread(target=self._live, args=(me, job), daemon=True) for me, job in enumerate(jobs)]
        for thread in threads:
            thread.start()
        steps = 0
        while self.alive:
            steps += 1
            if steps > STEPS:
                self.left = dict.fromkeys(self.alive, 0)
            self.go[sorted(self.alive)[self.choose(len(self.alive))]].release()
            self.back.acquire()
        for thread in threads:
            thread.join()
        assert steps <= STEPS, "stuck"
        if self.errors:
            raise self.errors[0]

    def take(self):
        """Called at each access."""
        me = getattr(self.here, "me", None)
        if me is None:
            return
        if me not in self.dead:
            self.back.release()
            self.go[me].acquire()
            self.left[me] = self.left.get(me, STEPS) - 1
            if self.left[me] < 0:
                self.dead.add(me)
        if me in self.dead:
            raise Death

    def _live(self, me, job):
        self.here.me = me
        self.go[me].acquire()
        try:
            job()
        except Death:
            pass
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.errors.append(error)
        self.alive.discard(me)
        self.back.release()


class SharedStorage(InMemoryStorage):
    """Optuna's own, with a turn before every access that the protocol consists of."""

    def __init__(self, turns):
        super().__init__()
        self.turns = turns

    def set_trial_user_attr(self, trial_id, key, value):
        if key in {"architecture", "claim", "duplicate_of", "withdrawn"}:
            self.turns.take()
        super().set_trial_user_attr(trial_id, key, value)

    def get_all_trials(self, *args, **kwargs):
        self.turns.take()
        return super().get_all_trials(*args, **kwargs)

    def set_trial_state_values(self, *args, **kwargs):
        self.turns.take()
        return super().set_trial_state_values(*args, **kwargs)


class Watch:
    """Sees at once who is dead, as heartbeats do after a while."""

    def __init__(self, turns, study, owners):
        self.turns, self.study, self.owners = turns, study, owners

    @contextlib.contextmanager
    def heartbeat(self, trial):
        self.owners[trial.number] = self.turns.here.me
        yield

    def fail_stale_trials(self):
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self.owners.get(trial.number) in self.turns.dead:
                with contextlib.suppress(UpdateFinishedTrialError):
                    self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def wait(self, seconds):
        self.turns.take()
        self.fail_stale_trials()

    def claim(self, trial, places):
        return claim(self.study, trial, places, self.wait)

    def without_retries(self):
        return contextlib.nullcontext()


class Scores:
    """The formula, with a turn while it works; keeps who began and who ended."""

    name, direction, fingerprint = "formula loss", "minimize", ""

    def __init__(self, turns):
        self.turns, self.begun, self.ended = turns, [], []

    def score(self, architecture):
        self.begun.append((architecture.id, self.turns.here.me))
        self.turns.take()
        self.ended.append(architecture.id)
        return formula_loss(architecture)


def search(turns, workers, evaluations, slots, sampler):
    """Run so many workers on one study."""
    space = PlainSpace(slots)
    scores = Scores(turns)
    storage = SharedStorage(turns)
    optuna.create_study(study_name="s", storage=storage, directions=["minimize", "minimize"])
    config = SearchConfig(evaluations=evaluations, sampler=sampler, max_failures=100)
    objective = Objective(space, FormulaLatency(space), scores, config.budgets, None)
    factory = choose_sampler(sampler, {}).factory
    owners = {}

    def job():
        study = optuna.load_study(study_name="s", storage=storage)
        Worker(objective, config, study, factory, Watch(turns, study, owners), Timing()).run()

    turns.run([job] * workers)
    return scores, optuna.load_study(study_name="s", storage=storage).trials


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    workers=st.integers(2, 4),
    evaluations=st.integers(1, 6),
    slots=st.sampled_from([[("none",)], [("none", "conv1d")], [("none", "conv1d", "conv3d")] * 2]),
    sampler=st.sampled_from(["random", "exhaustive"]),
    lifetimes=st.dictionaries(st.integers(0, 2), st.integers(0, 40), max_size=2),
)
def test_workers_score_each_architecture_once_and_exactly_as_many_as_asked_for(
    seed, workers, evaluations, slots, sampler, lifetimes
):
    mortal = {me: left for me, left in lifetimes.items() if me < workers - 1}
    turns = Turns(random.Random(seed).randrange, mortal)

    scores, trials = search(turns, workers, evaluations, slots, sampler)

    results = [
        trial for trial in trials if trial.state == TrialState.COMPLETE and "duplicate_of" not in trial.user_attrs
    ]
    wanted = min(evaluations, PlainSpace(slots).count())
    assert len({trial.user_attrs["architecture"]["id"] for trial in results}) == len(results) == wanted
    again = {architecture for architecture, count in Counter(one for one, _ in scores.begun).items() if count > 1}
    dead_hands = {architecture for architecture, me in scores.begun if me in turns.dead}
    assert again <= dead_hands
    assert {one for one, _ in scores.begun} == {trial.user_attrs["architecture"]["id"] for trial in results}
