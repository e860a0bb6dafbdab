"""Intervals of latencies for studies of earlier versions, which did not store them."""

from __future__ import annotations

import math
from dataclasses import replace

from nas.errors import NasError
from nas.search.protocols import LatencyModel, Space
from nas.search.results.evaluation import Evaluation
from nas.search.results.record import StudyRecord

AS_STORED = 1e-6
"""A prediction is that of the study if it differs from the stored latency by less, as a share of it."""


def with_intervals(record: StudyRecord, latency: LatencyModel, space: Space) -> StudyRecord:
    """The study with an interval for each latency that the model predicts as it was stored.

    What the study stores stays as it is. So does a study of several devices, of which the model knows one.

    Args:
        record: The study.
        latency: The latency model of the search.
        space: The space that it predicts for.
    """
    if record.devices:
        return record
    return replace(record, evaluations=tuple(_with_interval(scored, latency, space) for scored in record.evaluations))


def _with_interval(scored: Evaluation, latency: LatencyModel, space: Space) -> Evaluation:
    if scored.interval_ms is not None:
        return scored
    try:
        figure = latency.predict(space.architecture(scored.architecture.choices))
    except NasError:  # an architecture of the whole space, of which a part cannot run on this device
        return scored
    if not math.isclose(figure.pipeline_ms, scored.latency_ms, rel_tol=AS_STORED):
        return scored
    return replace(
        scored,
        low_ms=getattr(figure, "low_ms", None),
        high_ms=getattr(figure, "high_ms", None),
        interval_percent=getattr(figure, "interval_percent", None),
    )
