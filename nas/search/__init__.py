"""The search of the front of quality against latency."""

from __future__ import annotations

from nas.search.config import Budgets, SamplerName, SearchConfig
from nas.search.pareto import hypervolume, knee, pareto_front
from nas.search.protocols import Choice, Cost, CostModel, LatencyFigure, LatencyModel, Space
from nas.search.record import Evaluation, FrontMember, StudyRecord, empty_front, load_front, load_study, pick
from nas.search.study import SearchResult, run_search
from nas.search.timing import Timing

__all__ = [
    "Budgets",
    "Choice",
    "Cost",
    "CostModel",
    "Evaluation",
    "FrontMember",
    "LatencyFigure",
    "LatencyModel",
    "SamplerName",
    "SearchConfig",
    "SearchResult",
    "Space",
    "StudyRecord",
    "Timing",
    "empty_front",
    "hypervolume",
    "knee",
    "load_front",
    "load_study",
    "pareto_front",
    "pick",
    "run_search",
]
