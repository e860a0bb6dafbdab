"""Quality metrics behind one protocol."""

from nas.quality.base import QualityMetric
from nas.quality.flow_loss import HeldOutFlowLoss
from nas.quality.moving_shapes import PromptAccuracy, Reading, prompt_accuracy, read_clip

__all__ = ["HeldOutFlowLoss", "PromptAccuracy", "QualityMetric", "Reading", "prompt_accuracy", "read_clip"]
