"""What is trained: modules whose `forward` is the loss of one step.

The loop in `nas.training.loop` knows nothing else of them, so accelerate can wrap a task as it wraps any module.
Shape suffixes as in `nas.training.batches`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import nn

from nas.files import derive_seed
from nas.models import SuperNet, TextEncoder
from nas.models.flow import flow_loss
from nas.space import Architecture
from nas.training.batches import Batch
from nas.training.config import TrainingConfig
from nas.training.objective import add_noise

Losses = dict[str, torch.Tensor]


class TrainingTask(nn.Module, ABC):
    """One thing that can be trained.

    The contract: `forward(batch, step)` returns scalars, of which `loss` is minimised; everything random in it
    comes from torch's global generator, which the loop seeds for each step, or from the step's number. All
    processes choose the same architecture at the same step.
    """

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> Losses:
        """Losses of one step on one batch."""

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the optimiser changes and whose average is kept."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)


class JointTask(TrainingTask):
    """A task that treats clips and single frames alike and weighs them by their number.

    Args:
        unet: The network that is trained.
        text_encoder: Encodes captions.
    """

    def __init__(self, unet: nn.Module, text_encoder: TextEncoder) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    @abstractmethod
    def loss(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, step: int) -> torch.Tensor:
        """Mean loss of some clips, a scalar."""

    def forward(self, batch: Batch, step: int) -> Losses:
        """See `TrainingTask.forward`; adds `video_loss` and `image_loss` where the batch holds such."""
        losses: Losses = {}
        total = torch.zeros((), device=batch.video_BTCHW.device)
        count = len(batch.video_BTCHW) + len(batch.image_BTCHW)
        for name, latent_BTCHW, tokens_BL in batch.parts():
            value = self.loss(latent_BTCHW, tokens_BL, step)
            losses[f"{name}_loss"] = value.detach()
            total = total + value * len(latent_BTCHW) / count
        return {"loss": total, **losses}


class FlowTask(JointTask):
    """Flow matching of one network.

    Args:
        unet: The denoising network.
        text_encoder: Trained along when it is trainable.
        config: The distribution of noise levels.
    """

    def __init__(self, unet: nn.Module, text_encoder: TextEncoder, config: TrainingConfig) -> None:
        super().__init__(unet, text_encoder)
        self.config = config

    def velocity(
        self, sample_BTCHW: torch.Tensor, timestep_B: torch.Tensor, context_BLD: torch.Tensor, step: int
    ) -> torch.Tensor:
        """The network's prediction at this step."""
        return self.unet(sample_BTCHW, timestep_B, context_BLD)  # type: ignore[no-any-return]

    def loss(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, step: int) -> torch.Tensor:
        """See `JointTask.loss`."""
        config = self.config
        noisy = add_noise(latent_BTCHW, mean=config.timestep_mean, std=config.timestep_std, shift=config.timestep_shift)
        context_BLD = self.text_encoder(tokens_BL)
        return flow_loss(self.velocity(noisy.sample_BTCHW, noisy.timestep_B, context_BLD, step), noisy)


class SuperNetTask(FlowTask):
    """Single-path training of a supernet: every step trains one uniformly drawn architecture.

    Uniform sampling is Single Path One-Shot (Guo et al. 2020, arXiv 1904.00420). It is uniform over what layers
    compute: a layer that a slot offers in several forms is not drawn more often than another.
    """

    unet: SuperNet

    def architecture(self, step: int) -> Architecture:
        """The architecture of a step, the same on every process."""
        rng = random.Random(derive_seed(self.config.seed, "architecture", step))
        return self.unet.distinct_space.sample(rng)

    def velocity(
        self, sample_BTCHW: torch.Tensor, timestep_B: torch.Tensor, context_BLD: torch.Tensor, step: int
    ) -> torch.Tensor:
        """See `FlowTask.velocity`."""
        return self.unet(sample_BTCHW, timestep_B, context_BLD, self.architecture(step))  # type: ignore[no-any-return]
