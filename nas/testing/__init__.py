"""Tests that an extension of nas inherits: one class per extension point, which states its contract as tests.

A package that adds a temporal layer, for instance, subclasses `TemporalLayerConformance` in its own tests and names the
layer. Then pytest runs the tests.
"""

from nas.testing.layers import TemporalLayerConformance
from nas.testing.metrics import QualityMetricConformance
from nas.testing.runtimes import RuntimeConformance
from nas.testing.samplers import SamplerConformance
from nas.testing.targets import DistillationTargetConformance

__all__ = [
    "DistillationTargetConformance",
    "QualityMetricConformance",
    "RuntimeConformance",
    "SamplerConformance",
    "TemporalLayerConformance",
]
