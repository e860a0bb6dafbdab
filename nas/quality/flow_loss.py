"""Held-out flow loss: how well an architecture predicts velocities on clips that it was not trained on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from nas.data import CaptionedClips, LatentClips
from nas.data.clips.sampling import batch_indices
from nas.files import StrictModel, derive_seed, fingerprint
from nas.models import Codec, SuperNet, TextEncoder
from nas.models.flow import NoisyBatch, flow_loss, mix, shifted
from nas.models.parts import unloaded_codec
from nas.models.weights import weights_digest
from nas.quality.base import MeanScore, QualityMetric
from nas.quality.context import ArchitectureModels, QualityContext
from nas.space import Architecture


class FlowLossOptions(StrictModel):
    """Options of the held-out flow loss.

    Args:
        batches: Batches of eight held-out clips per architecture; 64 when a front is scored again and nothing is given.
        finetune_steps: Train each architecture alone for this many steps first; not at all when left out.
    """

    batches: PositiveInt = 8
    finetune_steps: PositiveInt | None = None


class HeldOutFlowLoss(QualityMetric):
    """Mean squared error of the velocity on held-out clips, with common random numbers.

    Clips, noise and timesteps are drawn once and shared by all architectures, so that the difference of two
    scores is due to the architectures. Noise levels are the mid-quantiles of the logit-normal distribution that
    training draws from, spread evenly over each batch.

    Args:
        supernet: Weights that architectures inherit.
        text_encoder: Encodes captions.
        codec: Encodes clips.
        clips: Held-out clips; of several sizes, those of the size that the model makes.
        seed: Seed of the draw.
        batches: Number of batches.
        batch_size: Clips per batch.
        mean: Mean of the logit-normal noise level; give what the supernet was trained with.
        std: Its standard deviation.
        shift: Timestep shift.
    """

    Config = FlowLossOptions
    rescore_defaults: ClassVar[Mapping[str, Any]] = {"batches": 64}
    name = "held-out flow loss"
    direction = "minimize"

    def __init__(
        self,
        supernet: SuperNet,
        text_encoder: TextEncoder,
        codec: Codec,
        clips: CaptionedClips,
        *,
        seed: int = 0,
        batches: int = 8,
        batch_size: int = 8,
        mean: float = 0.0,
        std: float = 1.0,
        shift: float = 1.0,
    ) -> None:
        self.supernet = supernet.eval()
        quantiles = torch.special.ndtri((torch.arange(batch_size) + 0.5) / batch_size)
        self._level_B = shifted((mean + std * quantiles).sigmoid(), shift)
        weights = weights_digest(supernet)
        levels = f"{mean:g},{std:g},{shift:g}"
        self.detail = f"{batches} batch{'' if batches == 1 else 'es'} of {batch_size}"
        self.fingerprint = f"{self.name}/{weights}/{clips.fingerprint}/{seed}/{batches}x{batch_size}/{levels}"
        self.part_count, self.parts_fingerprint = (
            batches,
            f"{self.name}/{weights}/{clips.fingerprint}/{seed}/{batch_size}/{levels}",
        )
        latents = clips.latents(codec)[0]
        self._probes = [
            self._prepare(text_encoder, latents, derive_seed(seed, "probe"), number, batch_size)
            for number in range(batches)
        ]

    @classmethod
    def scores_in_parts(cls, config: FlowLossOptions) -> bool:
        """Batch by batch, unless each architecture is trained first: that takes longer than all of its batches."""
        return config.finetune_steps is None

    @classmethod
    def create(cls, config: FlowLossOptions, context: QualityContext) -> HeldOutFlowLoss | FinetunedFlowLoss:
        """Score held-out clips with inherited weights, or after training each architecture alone."""
        context.require("the held-out flow loss")
        models = context.models(config.finetune_steps)
        codec, clips = unloaded_codec(context.space), context.clips.validation
        held_out = cls.of(models, codec, clips, seed=context.seed, batches=config.batches)
        return held_out if config.finetune_steps is None else FinetunedFlowLoss(models, held_out, config.finetune_steps)

    @classmethod
    def of(
        cls, models: ArchitectureModels, codec: Codec, clips: CaptionedClips, *, seed: int = 0, batches: int = 8
    ) -> Self:
        """The loss of a trained supernet, at the noise levels that it was trained with."""
        levels = models.noise_levels._asdict()
        return cls(models.supernet, models.text_encoder, codec, clips, seed=seed, batches=batches, **levels)

    def score(self, architecture: Architecture) -> MeanScore:
        """The loss with the weights that the architecture inherits; each part of the mean is a batch."""
        return MeanScore(self.score_parts(architecture, range(self.part_count)))

    def score_parts(self, architecture: Architecture, numbers: range) -> list[float]:
        """The losses on some of the batches. Which clips and noise a batch has depends on the seed and its number."""

        def predict(sample_BTCHW: Tensor, timestep_B: Tensor, context_BLD: Tensor) -> Tensor:
            return self.supernet(sample_BTCHW, timestep_B, context_BLD, architecture)  # type: ignore[no-any-return]

        probes = [self._probes[number] for number in numbers]
        return self._losses(predict, probes, [probe.context_BLD for probe in probes])

    @torch.no_grad()
    def loss_of(self, network: nn.Module, text_encoder: TextEncoder) -> MeanScore:
        """The loss of a stand-alone network on the same clips, noise and timesteps.

        Args:
            network: Predicts velocities from `sample_BTCHW`, `timestep_B` and `context_BLD`.
            text_encoder: The encoder that it was trained with.
        """
        device = next(network.parameters()).device
        contexts = [text_encoder.encode(probe.captions).to(device) for probe in self._probes]
        return MeanScore(self._losses(network, self._probes, contexts))

    @torch.no_grad()
    def _losses(
        self, predict: Callable[..., Tensor], probes: Sequence[_Probe], contexts: Sequence[Tensor]
    ) -> list[float]:
        """The loss on each batch."""
        losses = []
        for probe, context_BLD in zip(probes, contexts, strict=True):
            batch = probe.batch.to(context_BLD.device)
            losses.append(flow_loss(predict(batch.sample_BTCHW, batch.timestep_B, context_BLD), batch))
        return torch.stack(losses).tolist()

    @torch.no_grad()
    def _prepare(self, text_encoder: TextEncoder, clips: LatentClips, seed: int, number: int, size: int) -> _Probe:
        """One batch of noisy clips with their captions."""
        device = next(self.supernet.parameters()).device
        indices = batch_indices(len(clips), size, seed, number)
        latent_BTCHW, captions = clips.videos(indices), [clips.captions[index] for index in indices]
        generator = torch.Generator().manual_seed(derive_seed(seed, "noise", number))
        noise_BTCHW = torch.randn(latent_BTCHW.shape, generator=generator)
        batch = mix(latent_BTCHW.to(device), noise_BTCHW.to(device), self._level_B.to(device))
        return _Probe(batch, tuple(captions), text_encoder.encode(captions).to(device))


@dataclass(frozen=True)
class _Probe:
    """A batch of noisy clips, their captions, and the context of these in the supernet's encoder."""

    batch: NoisyBatch
    captions: tuple[str, ...]
    context_BLD: Tensor


class FinetunedFlowLoss(QualityMetric):
    """Held-out flow loss after training each architecture alone for some steps: more expensive than inherited weights.

    Args:
        models: Trains each architecture.
        held_out: The loss of the supernet that the training starts from.
        steps: Optimiser steps per architecture.
    """

    direction = "minimize"

    def __init__(self, models: ArchitectureModels, held_out: HeldOutFlowLoss, steps: int) -> None:
        self.models, self.held_out = models, held_out
        self.name = f"held-out flow loss after {steps} steps alone"
        self.detail = held_out.detail
        self.fingerprint = f"{self.name}/{fingerprint([models.fingerprint, held_out.fingerprint])}"

    def score(self, architecture: Architecture) -> MeanScore:
        """Train the architecture, then measure its loss.

        Raises:
            ArithmeticError: Training diverged.
        """
        model = self.models(architecture)
        return self.held_out.loss_of(model.unet, model.text_encoder)
