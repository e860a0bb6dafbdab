"""Latency: measuring blocks into a table, predicting architectures from it, checking the predictions."""

from nas.latency.estimating.chips import PHONES, Phone, get_phone
from nas.latency.estimating.estimator import Estimator, estimate_table
from nas.latency.measuring.chains import PhoneProtocol
from nas.latency.measuring.protocol import Protocol, Timing
from nas.latency.measuring.rounds import Timings, measure
from nas.latency.measuring.statistics import Summary, summarise
from nas.latency.measuring.stretches import Stretch, evened
from nas.latency.prediction.accuracy import Accuracy, accuracy
from nas.latency.prediction.checking import (
    MEASURED_AGAIN,
    CheckReport,
    NetworkCheck,
    check_networks,
    fresh_architectures,
)
from nas.latency.prediction.conditions import table_runtime
from nas.latency.prediction.contributions import ErrorContribution, error_contributions
from nas.latency.prediction.fit import FittedNetwork, LatencyFit, fit_path
from nas.latency.prediction.fitting import FitProtocol, fit_architectures, fit_networks
from nas.latency.prediction.line import Line, fit_line
from nas.latency.prediction.predictor import LatencyPredictor, PipelineLatency
from nas.latency.prediction.restriction import Removed, usable_space
from nas.latency.prediction.settings import FastestSetting, fastest_settings, setting_text
from nas.latency.profiling.job import JobState, job_states, profile, space_blocks
from nas.latency.profiling.loading import reference_block
from nas.latency.profiling.networks import PlanTimings, convert_plans, measure_plans
from nas.latency.profiling.phone_job import profile_phone
from nas.latency.profiling.planning import PlannedBlock, ProfilePlan, plan_profile
from nas.latency.tables.comparing import RowDifference, compare_tables
from nas.latency.tables.gaps import fill_gaps
from nas.latency.tables.merging import MergeResult, Superseded, merge_tables
from nas.latency.tables.merging_files import merge_files
from nas.latency.tables.metadata import EstimateBasis, TableMetadata, metadata_path
from nas.latency.tables.rows import LatencyRow, Provenance
from nas.latency.tables.samples import SampleLog, SampleRecord, samples_path
from nas.latency.tables.table import LatencyTable

__all__ = [
    "MEASURED_AGAIN",
    "PHONES",
    "Accuracy",
    "CheckReport",
    "ErrorContribution",
    "EstimateBasis",
    "Estimator",
    "FastestSetting",
    "FitProtocol",
    "FittedNetwork",
    "JobState",
    "LatencyFit",
    "LatencyPredictor",
    "LatencyRow",
    "LatencyTable",
    "Line",
    "MergeResult",
    "NetworkCheck",
    "Phone",
    "PhoneProtocol",
    "PipelineLatency",
    "PlanTimings",
    "PlannedBlock",
    "ProfilePlan",
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
    "estimate_table",
    "evened",
    "fastest_settings",
    "fill_gaps",
    "fit_architectures",
    "fit_line",
    "fit_networks",
    "fit_path",
    "fresh_architectures",
    "get_phone",
    "job_states",
    "measure",
    "measure_plans",
    "merge_files",
    "merge_tables",
    "metadata_path",
    "plan_profile",
    "profile",
    "profile_phone",
    "reference_block",
    "samples_path",
    "setting_text",
    "space_blocks",
    "summarise",
    "table_runtime",
    "usable_space",
]
