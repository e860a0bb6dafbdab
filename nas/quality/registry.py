"""The registered quality metrics, and how one is made from its name and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError
from nas.files import StrictModel, fingerprint, parse
from nas.registry import Registry

if TYPE_CHECKING:
    from nas.quality.base import QualityMetric
    from nas.quality.context import QualityContext

QUALITY_METRICS: Registry[QualityMetric] = Registry(
    "quality metric",
    "nas.quality_metrics",
    "nas.quality.base:QualityMetric",
    {
        "flow_loss": "nas.quality.flow_loss:HeldOutFlowLoss",
        "frechet_distance": "nas.quality.clip_quality:FrechetDistanceQuality",
        "prompt_accuracy": "nas.quality.clip_quality:PromptAccuracyQuality",
        "temporal_flickering": "nas.quality.video_metrics:TemporalFlickeringQuality",
        "motion_smoothness": "nas.quality.video_metrics:MotionSmoothnessQuality",
        "dynamic_degree": "nas.quality.video_metrics:DynamicDegreeQuality",
        "subject_consistency": "nas.quality.video_metrics:SubjectConsistencyQuality",
        "background_consistency": "nas.quality.video_metrics:BackgroundConsistencyQuality",
        "text_alignment": "nas.quality.video_metrics:TextAlignmentQuality",
        "frechet_video_distance": "nas.quality.video_metrics:FrechetVideoDistanceQuality",
        "function": "nas.quality.function:FunctionQuality",
    },
)
"""The quality metrics by name. Other packages add theirs through the entry-point group `nas.quality_metrics`."""

DEFAULT_METRIC = "flow_loss"


def metric_options(
    name: str, options: Mapping[str, Any], *, where: str | None = None, defaults: str = "search"
) -> StrictModel:
    """The checked options of a registered metric, with the defaults of a stage.

    Args:
        name: The metric's registered name.
        options: The options that were given.
        where: Where they were given, for messages.
        defaults: The stage that the metric scores for: `search`, or `rescore`.

    Raises:
        ConfigError: The name is unknown, or an option is unknown or impossible; the message lists the known ones.
    """
    kind = QUALITY_METRICS.get(name)
    if options and not kind.Config.model_fields:
        raise ConfigError(f"quality metric {name} has no options, got {', '.join(options)}", where=where)
    preset = kind.rescore_defaults if defaults == "rescore" else {}
    return parse({**preset, **options}, kind.Config, where=where)


def make_metric(name: str, options: StrictModel, context: QualityContext) -> QualityMetric:
    """Make a registered metric.

    The options of a metric from another package are part of its fingerprint, so that a study does not mix scores that
    were made with different options. The built-in metrics record theirs themselves. The kind of weights is part of the
    name and of the fingerprint, if the metric uses a supernet.

    Args:
        name: The metric's registered name.
        options: Its options, from `metric_options`.
        context: The inputs of the search.

    Raises:
        ConfigError: The metric needs an input that the search does not have.
    """
    metric = QUALITY_METRICS.get(name).create(options, context)
    if name not in QUALITY_METRICS.builtin:
        given = options.model_dump(mode="json")
        metric.fingerprint = fingerprint([name, given, metric.fingerprint])
        metric.parts_fingerprint = fingerprint([name, given, metric.parts_fingerprint])
    if context.weights is not None and "--supernet" in context.used:
        metric.weights, metric.name = context.weights, f"{metric.name}, {context.weights} weights"
        metric.fingerprint = fingerprint([context.weights, metric.fingerprint])
        metric.parts_fingerprint = fingerprint([context.weights, metric.parts_fingerprint])
    return metric
