"""A distillation target in its own package: the teacher's trajectory, with a weight on motion.

Install the package and name the target:

    pip install ./examples/custom_target
    nas distill search_spaces/quickstart.yaml --data my_clips/ --model runs/teacher/model --out runs/motion \
        --target motion --target-option weight=2.0

Shape suffixes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from nas.files import StrictModel
from nas.training.distillation import DistillationTarget, StudentStep


class MotionTarget(DistillationTarget):
    """Learns the teacher's sample at the end of the step, and the differences between its consecutive frames."""

    class Config(StrictModel):
        """Options of the target; on the command line, `--target-option weight=2.0`.

        Args:
            weight: Weight of the error in the differences between frames; the error in the frames has weight 1.
        """

        weight: Annotated[float, Field(ge=0, le=1e3)] = 1.0

    config: Config

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Mean squared error of the frames, and of the differences between consecutive ones."""
        error_BTCHW = step.sample_at(step.end_B).float() - self.teacher.sample_at_end(step).float()
        loss = error_BTCHW.square().mean()
        if error_BTCHW.shape[1] > 1:  # a single frame does not move
            loss = loss + self.config.weight * error_BTCHW.diff(dim=1).square().mean()
        return loss

    def level(self, step: StudentStep) -> torch.Tensor:
        """The noise level at the end of the step."""
        return step.end_B
