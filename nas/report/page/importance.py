"""Which slot decides: the importance of each slot for the score and for the latency, by PED-ANOVA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator

from nas.report.page.document import Importance, Slot
from nas.search import StudyRecord

LEAST = 20
"""Architectures below which the best fifth, which PED-ANOVA looks at, says nothing."""

BEST = 0.2
"""Share of the architectures that count as good. Optuna advises for five or more, which 25 architectures have."""


def slot_importance(record: StudyRecord, slots: Sequence[Slot]) -> Importance | None:
    """How much the choice in each slot decides whether an architecture is among the best fifth.

    Optuna's PED-ANOVA (Watanabe, Bansal and Hutter, "PED-ANOVA", IJCAI 2023), for each objective alone, over all
    architectures of the search.

    Returns:
        `None` with fewer than `LEAST` architectures, or without a slot that has a choice.
    """
    if len(record.evaluations) < LEAST or not any(len(slot.candidates) > 1 for slot in slots):
        return None
    sign = 1.0 if record.direction == "minimize" else -1.0
    quality = [sign * scored.quality for scored in record.searched.evaluations]
    latency = [scored.second for scored in record.searched.evaluations]
    names = tuple(slot.name for slot in slots)
    shares = [_shares(record, slots, values) for values in (quality, latency)]
    return Importance(names, shares[0], shares[1], len(record.evaluations))


def _shares(record: StudyRecord, slots: Sequence[Slot], values: Sequence[float]) -> tuple[float, ...]:
    """The importance of each slot for small values; zeros if all values are equal."""
    if min(values) == max(values):
        return (0.0,) * len(slots)
    optuna_level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler())
    finally:
        optuna.logging.set_verbosity(optuna_level)
    kinds = {str(place): CategoricalDistribution(slot.candidates) for place, slot in enumerate(slots)}
    for scored, value in zip(record.evaluations, values, strict=True):
        params = {str(place): name for place, name in enumerate(scored.architecture.choices)}
        study.add_trial(optuna.create_trial(params=params, distributions=dict(kinds), value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        found = optuna.importance.get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST)
        )
    return tuple(found.get(str(place), 0.0) for place in range(len(slots)))
