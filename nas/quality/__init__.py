"""Quality metrics behind one protocol."""

from nas.quality.base import QualityMetric
from nas.quality.flow_loss import HeldOutFlowLoss
from nas.quality.function import FunctionQuality, load_function, takes_network
from nas.quality.moving_shapes import PromptAccuracy, Reading, prompt_accuracy, read_clip

__all__ = [
    "FunctionQuality",
    "HeldOutFlowLoss",
    "PromptAccuracy",
    "QualityMetric",
    "Reading",
    "load_function",
    "prompt_accuracy",
    "read_clip",
    "takes_network",
]
