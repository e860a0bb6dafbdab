"""What a proposal costs in a space that nobody can walk; its quality and latency are made up."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nas.search import ParetoSampler

SLOTS, CANDIDATES = 20, 4


def proposal_ms(trials: int, seed: int = 0) -> float:
    """Mean time of a proposal over the first trials of a study with 4^20 architectures, in milliseconds."""
    rng = np.random.default_rng(seed)
    names = [f"slot {number}" for number in range(SLOTS)]
    cost = dict(zip(names, rng.uniform(0.1, 1.0, (SLOTS, CANDIDATES)), strict=True))
    worth = dict(zip(names, rng.normal(size=(SLOTS, CANDIDATES)), strict=True))

    def total(table: dict[str, Any], params: Any) -> float:
        return float(sum(table[name][params[name]] for name in names))

    slots: dict[str, BaseDistribution] = {name: CategoricalDistribution(range(CANDIDATES)) for name in names}
    sampler = ParetoSampler(lambda params: total(cost, params), search_space=slots, seed=seed)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    seconds = 0.0
    for _ in range(trials):
        began = time.perf_counter()
        trial = study.ask(slots)
        seconds += time.perf_counter() - began
        study.tell(trial, [total(worth, trial.params), total(cost, trial.params)])
    return round(1000 * seconds / trials, 2)
