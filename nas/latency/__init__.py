"""Latency: measuring blocks into a table, predicting architectures from it, checking the predictions."""

from nas.latency.checking import CheckReport, NetworkCheck, check_networks, table_runtime
from nas.latency.measuring import Timing, Timings, measure
from nas.latency.predictor import LatencyPredictor, PipelineLatency
from nas.latency.profiling import measure_plans, profile, space_blocks
from nas.latency.rows import LatencyRow, Provenance
from nas.latency.table import LatencyTable, TableMetadata

__all__ = [
    "CheckReport",
    "LatencyPredictor",
    "LatencyRow",
    "LatencyTable",
    "NetworkCheck",
    "PipelineLatency",
    "Provenance",
    "TableMetadata",
    "Timing",
    "Timings",
    "check_networks",
    "measure",
    "measure_plans",
    "profile",
    "space_blocks",
    "table_runtime",
]
