"""Running a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import optuna

from nas.search.config import SearchConfig
from nas.search.identity import identity
from nas.search.latencies.devices import SHARE, WORST
from nas.search.objective import Objective
from nas.search.protocols import CostModel, LatencyModel, Space
from nas.search.results.evaluation import FrontMember
from nas.search.results.reading import read_study
from nas.search.results.record import StudyRecord
from nas.search.samplers.choice import choose_sampler
from nas.search.samplers.factory import SamplerFactory
from nas.search.storage.address import shown, study_file
from nas.search.storage.contents import DRAW
from nas.search.storage.studies import writable_study
from nas.search.timing import Timing
from nas.search.workers.coordination import Alone, Coordination
from nas.search.workers.worker import Worker
from nas.space import Budgets

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from nas.quality.base import QualityMetric


@dataclass(frozen=True)
class SearchResult:
    """How a search ended.

    Args:
        record: The study at the end of this run.
        reason: Why the run ended, in a sentence.
        scored: Architectures scored by this run.
        repeated: Proposals of this run that were scored before, or that another worker scored.
        over_budget: Proposals of this run that were not scored because they exceed a budget.
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
    latency: LatencyModel | Mapping[str, LatencyModel],
    quality: QualityMetric,
    config: SearchConfig,
    storage: str | Path,
    study_name: str,
    *,
    cost: CostModel | None = None,
    timing: Timing | None = None,
    sampler: str | SamplerFactory | BaseSampler | None = None,
) -> SearchResult:
    """Search the front of quality against latency, in a new study or in one that exists.

    Each architecture is scored once, by one worker. A proposal that was scored before gets the same values again. A
    proposal over a budget is recorded as pruned, with its constraints, and not scored.

    On a database server, any number of processes may run this for the same study. Each is a worker. If one dies,
    another takes over its architecture. All return when the study is complete.

    Args:
        space: The search space.
        latency: Predicts the latency of any architecture, for `config.steps` denoising steps. For several devices, a
            model for each by its name; `config.latency` then says what is minimised.
        quality: Scores an architecture.
        config: How long to search, and how.
        storage: Path of a SQLite file, which serves one process at a time, or a storage URL. Storages in memory are
            refused; use a file in a temporary folder.
        study_name: Name of the study. A study of that name is resumed.
        cost: Parameters and memory of an architecture; needed for budgets on them.
        timing: How long workers wait for each other and for the database; the defaults suit most searches.
        sampler: What proposes architectures, in place of `config.sampler`: a sampler of Optuna, a factory of samplers,
            or a name with `config.sampler_options`. A sampler of Optuna draws its own random numbers, so
            `config.seed` does not reach it, and it is recognised in the study by its class.

    Raises:
        BudgetError: No architecture meets a budget. Raised before anything is scored.
        ConfigError: The study belongs to another space, table, metric or budget; or the sampler is unknown; or with
            several devices, as `nas.search.latencies.devices.SeveralDevices`.
        StorageError: The storage cannot be used, or did not answer for too long.
        NasError: Too many evaluations in a row failed.
    """
    timing = timing or Timing()
    # Budgets are not part of the protocol `Space`: only spaces of networks have them.
    space_budgets = getattr(space, "budgets", Budgets())
    config = config.model_copy(update={"budgets": config.budgets.or_else(space_budgets)})
    objective = Objective(space, latency, quality, config.budgets, cost, config.latency)
    objective.check_budgets()
    factory = choose_sampler(config.sampler if sampler is None else sampler, config.sampler_options).factory
    study = writable_study(
        storage,
        study_name,
        directions=(quality.direction, "minimize"),
        metric_names=(quality.name, SHARE if config.latency == WORST else "latency_ms"),
        identity=identity(objective, config),
        timing=timing,
    )
    with study as opened:
        if getattr(quality, "part_count", 1) > 1:
            opened.set_user_attr(DRAW, quality.parts_fingerprint)
        worker = Worker(objective, config, opened, factory, _coordination(storage, opened, timing), timing)
        reason = worker.run()
        trials = worker.trials
        record = read_study(opened, where=shown(storage))
        return SearchResult(record, reason, trials.scored, trials.repeated, trials.over_budget)


def _coordination(storage: str | Path, study: optuna.Study, timing: Timing) -> Coordination:
    """A SQLite file has one worker; a server has any number."""
    if study_file(storage) is not None:
        return Alone()
    from nas.search.storage.retrying import RetryingStorage
    from nas.search.workers.heartbeats import Heartbeats

    return Heartbeats(study, cast(RetryingStorage, study._storage), timing)
