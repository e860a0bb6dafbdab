"""Flow matching of one network and of a supernet, as training tasks.

Shape suffixes as in `nas.training.flow.batches`.
"""

from __future__ import annotations

import random
from abc import abstractmethod

import torch
from torch import nn
from torch.nn import functional as F

from nas.files import derive_seed
from nas.models import SuperNet, TextEncoder, VideoUNet
from nas.models.flow import NoisyBatch, flow_loss
from nas.models.network import freeze_backbone
from nas.space import Architecture
from nas.training.engine.task import MODEL, Losses, TrainingTask
from nas.training.flow.batches import Batch
from nas.training.flow.config import SuperNetConfig, TrainingConfig
from nas.training.flow.objective import add_noise
from nas.training.flow.paths import path_strategy
from nas.training.flow.rng import BatchRNG


class JointTask(TrainingTask[Batch]):
    """Base class of tasks that train on clips and single frames alike, weighted by their number.

    Args:
        unet: The network that is trained.
        text_encoder: Encodes captions.
    """

    def __init__(self, unet: nn.Module, text_encoder: TextEncoder) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    @abstractmethod
    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """Losses of some clips: means over the clips, each a scalar. `loss` is among them."""

    def forward(self, batch: Batch, step: int, phase: str = MODEL) -> Losses:
        """Losses of clips and frames together, and `video_loss` and `image_loss` of each kind in the batch."""
        count = len(batch.video_BTCHW) + len(batch.image_BTCHW)
        means: Losses = {}
        parts: Losses = {}
        for name, latent_BTCHW, tokens_BL, keys in batch.parts():
            losses = self.losses(latent_BTCHW, tokens_BL, keys.rng(phase), step, phase)
            parts[f"{name}_loss"] = losses["loss"].detach()
            for key, value in losses.items():
                means[key] = means.get(key, 0) + value * len(latent_BTCHW) / count
        return means | parts


class FlowTask(JointTask):
    """Flow matching of one network.

    Args:
        unet: The denoising network.
        text_encoder: Encodes captions, and learns if it is trainable.
        config: The distribution of noise levels, and whether the backbone is trained.
    """

    def __init__(self, unet: VideoUNet | SuperNet, text_encoder: TextEncoder, config: TrainingConfig) -> None:
        super().__init__(unet, text_encoder)
        self.config = config
        if config.freeze_backbone:
            freeze_backbone(unet, unet.plan if isinstance(unet, VideoUNet) else unet.plan(unet.space.smallest()))

    def uses_all_parameters(self) -> bool:
        """True: a step runs the whole network."""
        return True

    def noisy(self, latent_BTCHW: torch.Tensor, rng: BatchRNG) -> NoisyBatch:
        """Clips at random noise levels."""
        mean, std, shift = self.config.timestep_mean, self.config.timestep_std, self.config.timestep_shift
        return add_noise(latent_BTCHW, rng, mean=mean, std=std, shift=shift)

    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """Mean squared error of the predicted velocity."""
        noisy = self.noisy(latent_BTCHW, rng)
        context_BLD = self.text_encoder(tokens_BL)
        return {"loss": flow_loss(self.unet(noisy.sample_BTCHW, noisy.timestep_B, context_BLD), noisy)}


class SuperNetTask(FlowTask):
    """Flow matching of a supernet. A path strategy chooses the architectures of each step.

    If there are several, the first learns from the data and the others from the prediction of the first: in-place
    distillation (Yu et al., "BigNAS", 2020, arXiv 2003.11142). All see the same clips and noise.

    Args:
        unet: The supernet.
        text_encoder: Encodes captions, and learns if it is trainable.
        config: Strategy, skipping of layers, and the distribution of noise levels.
    """

    unet: SuperNet
    config: SuperNetConfig

    def __init__(self, unet: SuperNet, text_encoder: TextEncoder, config: SuperNetConfig) -> None:
        super().__init__(unet, text_encoder, config)
        self.strategy = path_strategy(unet.distinct_space, config)

    def uses_all_parameters(self) -> bool:
        """False: a step runs some of the layers."""
        return False

    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """Mean loss of the architectures of a step."""
        first, *others = self.strategy.paths(step)
        noisy, context_BLD = self.noisy(latent_BTCHW, rng), self.text_encoder(tokens_BL)
        inputs = (noisy.sample_BTCHW, noisy.timestep_B, context_BLD)
        velocity_BTCHW = self.unet(*inputs, first, self.skipped(first, step))
        losses = [flow_loss(velocity_BTCHW, noisy)]
        for number, architecture in enumerate(others, start=1):
            predicted_BTCHW = self.unet(*inputs, architecture, self.skipped(architecture, step, number))
            losses.append(F.mse_loss(predicted_BTCHW.float(), velocity_BTCHW.detach().float()))
        return {"loss": torch.stack(losses).mean()}

    def skipped(self, architecture: Architecture, step: int, number: int = 0) -> frozenset[str]:
        """Names of the temporal layers that an architecture skips in a step, equal on all processes.

        Each is skipped with `skip_probability`, as in the robust training of SnapFusion (Li et al. 2023,
        arXiv 2306.00980, section 4.2).
        """
        if self.config.skip_probability == 0:
            return frozenset()
        rng = random.Random(derive_seed(self.config.seed, "skip", step, number))
        temporal = (node.name for node in self.unet.plan(architecture).nodes if node.slot is not None)
        return frozenset(name for name in temporal if rng.random() < self.config.skip_probability)
