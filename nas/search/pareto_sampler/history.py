"""The trials of a study, as inputs of the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.search.pareto_sampler.catalogue import Code, Params
from nas.search.pareto_sampler.domain import Domain


@dataclass(frozen=True)
class History:
    """Evaluated, pending and failed architectures.

    Args:
        losses: Losses by code, in the order of the trials. Less is better, and NaN is pending.
        closed: Codes whose trials ended without a result: failed, pruned, or not a number.
    """

    losses: dict[Code, float]
    closed: frozenset[Code]

    @classmethod
    def read(
        cls,
        trials: Sequence[FrozenTrial],
        domain: Domain,
        directions: Sequence[StudyDirection],
        latency_objective: int,
        *,
        promised: Sequence[Params] = (),
    ) -> Self:
        """Read the trials of a study.

        Args:
            trials: In the order of their numbers.
            domain: The space; trials outside of it are left out.
            directions: Directions of the study's one or two objectives.
            latency_objective: Index of the known objective, if there are two.
            promised: Parameters that this process has proposed and that no trial shows in full yet.
        """
        quality, sign = learnt_objective(directions, latency_objective)
        losses: dict[Code, float] = {}
        closed: set[Code] = set()
        pending = {code: None for params in promised if (code := domain.encode(params)) is not None}
        for trial in trials:
            code = domain.encode(trial.params)
            if code is None:
                continue
            if trial.state == TrialState.COMPLETE and math.isfinite(trial.values[quality]):
                losses.setdefault(code, sign * trial.values[quality])
            elif trial.state == TrialState.RUNNING:
                pending[code] = None
            elif trial.state.is_finished():
                closed.add(code)
        losses.update((code, math.nan) for code in pending if code not in losses)
        return cls(losses, frozenset(closed - losses.keys()))


def learnt_objective(directions: Sequence[StudyDirection], latency_objective: int) -> tuple[int, float]:
    """Index of the unknown objective, and the sign that turns it into a loss."""
    quality = 0 if len(directions) == 1 else 1 - latency_objective
    return quality, -1.0 if directions[quality] == StudyDirection.MAXIMIZE else 1.0
