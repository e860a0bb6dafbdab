"""The search of the front of quality against latency."""

from __future__ import annotations

from nas.search.agreement import HalvesAgreement
from nas.search.choices import ChoiceSlot, ChoiceSpace
from nas.search.config import SamplerName, SearchConfig
from nas.search.history import HypervolumeHistory, hypervolume_history
from nas.search.pareto import hypervolume, knee, pareto_front, pareto_ranks
from nas.search.pareto_sampler import ParetoSampler
from nas.search.protocols import Choice, Cost, CostModel, LatencyFigure, LatencyModel, Space
from nas.search.record import Evaluation, FrontMember, StudyRecord, empty_front, load_front, load_study, pick
from nas.search.rescored import Rescoring
from nas.search.rescoring import RescoreResult, rescore
from nas.search.study import SearchResult, run_search
from nas.search.table_latency import KnownLatency, SumLatency, TableLatency
from nas.search.workers.address import study_file
from nas.search.workers.timing import Timing
from nas.space import Budgets

__all__ = [
    "Budgets",
    "Choice",
    "ChoiceSlot",
    "ChoiceSpace",
    "Cost",
    "CostModel",
    "Evaluation",
    "FrontMember",
    "HalvesAgreement",
    "HypervolumeHistory",
    "KnownLatency",
    "LatencyFigure",
    "LatencyModel",
    "ParetoSampler",
    "RescoreResult",
    "Rescoring",
    "SamplerName",
    "SearchConfig",
    "SearchResult",
    "Space",
    "StudyRecord",
    "SumLatency",
    "TableLatency",
    "Timing",
    "empty_front",
    "hypervolume",
    "hypervolume_history",
    "knee",
    "load_front",
    "load_study",
    "pareto_front",
    "pareto_ranks",
    "pick",
    "rescore",
    "run_search",
    "study_file",
]
