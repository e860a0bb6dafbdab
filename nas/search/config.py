"""Settings of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from nas.files import StrictModel
from nas.space import Budgets

MOST = 10**9
"""Numbers beyond this are typing mistakes; some would not fit into the integers that hold them later."""

SamplerName = Literal["pareto", "random", "nsga2", "nsga3", "tpe", "exhaustive"]


class SearchConfig(StrictModel):
    """How long to search, and how.

    Args:
        evaluations: Distinct architectures to score, over all runs of the study. Failed ones count.
        sampler: Who proposes. `pareto` learns quality and knows latency (`ParetoSampler`); `exhaustive` walks the
            space in its own order; the others are Optuna's.
        seed: Equal seeds propose equal architectures.
        steps: Denoising steps per clip, for which the latency is predicted.
        budgets: Upper limits; those of the search space hold where there is none here.
        timeout_s: End this run after so many seconds; the evaluation under way is finished.
        patience: End after so many evaluations in a row that left the front as it was.
        max_failures: Give up after so many failed evaluations in a row.
    """

    evaluations: int = Field(100, gt=0, le=MOST)
    sampler: SamplerName = "pareto"
    seed: int = 0
    steps: int = Field(4, gt=0, le=MOST)
    budgets: Budgets = Budgets()
    timeout_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    patience: int | None = Field(None, gt=0, le=MOST)
    max_failures: int = Field(5, gt=0, le=MOST)


@dataclass(frozen=True)
class Timing:
    """Waiting times, in seconds; the defaults suit scores that take from seconds to hours.

    Args:
        heartbeat_s: How often a worker writes that it is alive. A write is one small row, so it costs nothing;
            more often would only bring noise to the database of a hundred workers.
        grace_s: Silence after which a worker counts as dead and others take its architecture over. Three
            heartbeats: one may be lost, a second late, on a machine that is busy with a score.
        outage_s: How long a worker waits for a database that went away. A restart takes seconds, a failover or a
            repair by hand minutes.
        poll_s: How often a worker with nothing to do looks whether the others have finished.
    """

    heartbeat_s: int = 20
    grace_s: int = 60
    outage_s: float = 600
    poll_s: float = 5
