"""Latency: measuring blocks into a table, predicting architectures from it, checking the predictions."""

from nas.latency.accuracy import Accuracy, accuracy
from nas.latency.checking import CheckReport, NetworkCheck, check_networks, fresh_architectures
from nas.latency.comparing import RowDifference, compare_tables
from nas.latency.conditions import table_runtime
from nas.latency.contributions import ErrorContribution, error_contributions
from nas.latency.fit import FittedNetwork, LatencyFit, fit_path
from nas.latency.fitting import fit_architectures, fit_networks
from nas.latency.line import Line, fit_line
from nas.latency.loading import reference_block
from nas.latency.measuring import Protocol, Timing, Timings, measure
from nas.latency.merging import MergeResult, Superseded, merge_tables
from nas.latency.merging_files import merge_files
from nas.latency.networks import PlanTimings, convert_plans, measure_plans
from nas.latency.predictor import LatencyPredictor, PipelineLatency
from nas.latency.profiling import JobState, job_states, profile, space_blocks
from nas.latency.restriction import Removed, usable_space
from nas.latency.rows import LatencyRow, Provenance
from nas.latency.samples import SampleLog, SampleRecord, samples_path
from nas.latency.statistics import Summary, summarise
from nas.latency.stretches import Stretch
from nas.latency.table import LatencyTable, TableMetadata, metadata_path

__all__ = [
    "Accuracy",
    "CheckReport",
    "ErrorContribution",
    "FittedNetwork",
    "JobState",
    "LatencyFit",
    "LatencyPredictor",
    "LatencyRow",
    "LatencyTable",
    "Line",
    "MergeResult",
    "NetworkCheck",
    "PipelineLatency",
    "PlanTimings",
    "Protocol",
    "Provenance",
    "Removed",
    "RowDifference",
    "SampleLog",
    "SampleRecord",
    "Stretch",
    "Summary",
    "Superseded",
    "TableMetadata",
    "Timing",
    "Timings",
    "accuracy",
    "check_networks",
    "compare_tables",
    "convert_plans",
    "error_contributions",
    "fit_architectures",
    "fit_line",
    "fit_networks",
    "fit_path",
    "fresh_architectures",
    "job_states",
    "measure",
    "measure_plans",
    "merge_files",
    "merge_tables",
    "metadata_path",
    "profile",
    "reference_block",
    "samples_path",
    "space_blocks",
    "summarise",
    "table_runtime",
    "usable_space",
]
