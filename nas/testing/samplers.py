"""The contract of a sampler, as tests to inherit.

    class TestMySampler(SamplerConformance):
        sampler = "my_sampler"  # a registered name, or the class of its factory
        options = {"slots": 2}  # options that differ from the defaults

The space of the tests is small, and its scores are a formula.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import optuna
from optuna.trial import TrialState

from nas.quality import FunctionQuality
from nas.search import ChoiceSpace, Objective, SamplerFactory, SearchConfig, SumLatency, pareto_front, run_search
from nas.search.samplers.choice import SAMPLERS
from nas.space import Architecture, Budgets

MILLISECONDS = {"none": 0.5, "small": 1.0, "large": 2.5}
PROPOSALS = 12
ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


class SamplerConformance:
    """Checks one sampler against the contract of `nas.search.SamplerFactory`.

    Attributes:
        sampler: The sampler: its registered name, or the class of its factory.
        options: Options that differ from the defaults.
    """

    sampler: ClassVar[str | type[SamplerFactory]]
    options: ClassVar[Mapping[str, Any]] = {}

    def factory(self) -> SamplerFactory:
        """The factory with its options."""
        kind = SAMPLERS.get(self.sampler) if isinstance(self.sampler, str) else self.sampler
        return kind(kind.Config(**self.options))

    def proposals(self, seed: int = 0, parts: int = 1) -> list[dict[str, Any]]:
        """What the sampler proposes for a new study, whose trials end in every way that a trial can.

        Args:
            seed: Seed of the sampler.
            parts: Into how many runs, each with a new sampler, the study is divided.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        objective, proposed = _objective(), []
        study = optuna.create_study(directions=["minimize", "minimize"])
        study._thread_local.in_optimize_loop = True  # as in `study.optimize`: a sampler may stop the study
        for number in range(PROPOSALS):
            if number % (PROPOSALS // parts) == 0:
                study.sampler = self.factory().make(objective, seed)
            trial = study.ask(dict(objective.distributions))
            proposed.append(trial.params)
            state = ENDS[number % len(ENDS)]
            if state == TrialState.COMPLETE:
                architecture = objective.architecture(trial.params)
                study.tell(trial, [_loss(architecture), objective.costs(architecture).latency_ms])
            elif state != TrialState.RUNNING:
                study.tell(trial, state=state)
        return proposed

    def test_every_option_has_a_default(self) -> None:
        """A sampler works without options."""
        type(self.factory()).Config()

    def test_options_are_plain_data(self) -> None:
        """The options can be written into a run's file, and read from it."""
        options = type(self.factory()).Config().model_dump(mode="json")
        assert type(self.factory()).Config(**json.loads(json.dumps(options))).model_dump(mode="json") == options

    def test_proposals_are_members_of_the_space(self) -> None:
        """Whatever has become of earlier trials, each proposal has a candidate for every slot."""
        distributions = _objective().distributions
        for params in self.proposals():
            assert params.keys() == distributions.keys()
            assert all(value in distributions[name].choices for name, value in params.items())

    def test_equal_seeds_propose_equally(self) -> None:
        """A search can be repeated."""
        assert self.proposals(seed=3) == self.proposals(seed=3)

    def test_a_new_sampler_takes_over(self) -> None:
        """A resumed search, or another worker, proposes members of the space for a study that has trials already."""
        assert len(self.proposals(parts=3)) == PROPOSALS

    def test_a_search_finds_the_front_of_a_small_space(self, tmp_path: Path) -> None:
        """All architectures are scored, each of them once, and the best of them are found."""
        scored = _search(tmp_path, self.factory(), SearchConfig(evaluations=1000))
        everything = list(_space().enumerate())
        assert sorted(scored) == sorted(architecture.id for architecture in everything)

    def test_nothing_over_a_budget_is_scored(self, tmp_path: Path) -> None:
        """A search ends when all architectures within the budget are scored."""
        budget_ms = 3.5
        scored = _search(
            tmp_path, self.factory(), SearchConfig(evaluations=1000, budgets=Budgets(latency_ms=budget_ms))
        )
        latency = _latency()
        within = [member.id for member in _space().enumerate() if latency.predict(member).pipeline_ms <= budget_ms]
        assert sorted(scored) == sorted(within)


def _space() -> ChoiceSpace:
    """27 architectures, of which those with the same choices in another order are the same: 10 are left."""
    return ChoiceSpace({slot: list(MILLISECONDS) for slot in "abc"}, name="sizes", canonical=sorted)


def _latency() -> SumLatency:
    costs = dict.fromkeys("abc", MILLISECONDS)
    return SumLatency(_space(), costs, provenance="estimated", device="no device", runtime="none")


def _loss(architecture: Architecture) -> float:
    return sum(1 / MILLISECONDS[name] for name in architecture.choices)


def _objective() -> Objective:
    return Objective(_space(), _latency(), FunctionQuality(_loss, direction="minimize"), Budgets(), None)


def _search(folder: Path, factory: SamplerFactory, config: SearchConfig) -> list[str]:
    """Search the small space; the ids of the architectures in the order in which they were scored."""
    scored: list[str] = []

    def loss(architecture: Architecture) -> float:
        scored.append(architecture.id)
        return _loss(architecture)

    quality = FunctionQuality(loss, direction="minimize", name="loss")
    result = run_search(_space(), _latency(), quality, config, folder / "study.db", "study", sampler=factory)
    points = [(member.quality, member.latency_ms) for member in result.record.evaluations]
    assert len(result.front) == int(pareto_front(points, ("minimize", "minimize")).sum())
    return scored
