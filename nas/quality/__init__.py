"""Quality metrics behind one protocol."""

from nas.quality.base import MeanScore, QualityMetric
from nas.quality.classifier import ReadAccuracy, ShapeClassifier
from nas.quality.flow_loss import HeldOutFlowLoss
from nas.quality.frechet import FeatureExtractor, FrechetVideoDistance, frechet_distance
from nas.quality.function import FunctionQuality, load_function, takes_network
from nas.quality.moving_shapes import PromptAccuracy, Reading, prompt_accuracy, read_clip
from nas.quality.sampled import SampledQuality
from nas.quality.samples import Estimate, SampleMetric, TemporalFlicker, estimate

__all__ = [
    "Estimate",
    "FeatureExtractor",
    "FrechetVideoDistance",
    "FunctionQuality",
    "HeldOutFlowLoss",
    "MeanScore",
    "PromptAccuracy",
    "QualityMetric",
    "ReadAccuracy",
    "Reading",
    "SampleMetric",
    "SampledQuality",
    "ShapeClassifier",
    "TemporalFlicker",
    "estimate",
    "frechet_distance",
    "load_function",
    "prompt_accuracy",
    "read_clip",
    "takes_network",
]
