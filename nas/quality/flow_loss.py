"""Held-out flow loss: how well an architecture predicts velocities on clips it was not trained on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

import torch

from nas.data import ClipDataset, batch_indices
from nas.data.pixels import to_pixels
from nas.files import derive_seed
from nas.models import Codec, SuperNet, TextEncoder
from nas.models.flow import NoisyBatch, flow_loss, mix, shifted
from nas.models.weights import weights_digest
from nas.quality.base import QualityMetric
from nas.space import Architecture


class HeldOutFlowLoss(QualityMetric):
    """Mean squared error of the velocity on held-out clips, with common random numbers.

    Clips, noise and timesteps are drawn once and shared by all architectures, so that the difference of two
    scores is due to the architectures. Noise levels are the mid-quantiles of the logit-normal distribution that
    training draws from, spread evenly over each batch.

    Args:
        supernet: Weights that architectures inherit.
        text_encoder: Encodes captions.
        codec: Encodes clips.
        clips: Held-out clips.
        seed: Seed of the draw.
        batches: Number of batches.
        batch_size: Clips per batch.
        mean: Mean of the logit-normal noise level; give what the supernet was trained with.
        std: Its standard deviation.
        shift: Timestep shift.
    """

    name = "held-out flow loss"
    direction = "minimize"

    def __init__(
        self,
        supernet: SuperNet,
        text_encoder: TextEncoder,
        codec: Codec,
        clips: ClipDataset,
        *,
        seed: int = 0,
        batches: int = 4,
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
        self.fingerprint = f"{self.name}/{weights}/{clips.fingerprint}/{seed}/{batches}x{batch_size}/{levels}"
        self._probes = [
            self._prepare(text_encoder, codec, clips, derive_seed(seed, "probe"), number, batch_size)
            for number in range(batches)
        ]

    @torch.no_grad()
    def score(self, architecture: Architecture) -> float:
        """See `QualityMetric.score`."""
        losses = [
            flow_loss(self.supernet(batch.sample_BTCHW, batch.timestep_B, context_BLD, architecture), batch)
            for batch, context_BLD in self._probes
        ]
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def _prepare(
        self, text_encoder: TextEncoder, codec: Codec, clips: ClipDataset, seed: int, number: int, size: int
    ) -> tuple[NoisyBatch, torch.Tensor]:
        """One batch of noisy clips, and their captions' context."""
        device = next(self.supernet.parameters()).device
        video_BTCHW, captions = clips.batch(batch_indices(len(clips), size, seed, number))
        latent_BTCHW = codec.encode(to_pixels(video_BTCHW))
        generator = torch.Generator().manual_seed(derive_seed(seed, "noise", number))
        noise_BTCHW = torch.randn(latent_BTCHW.shape, generator=generator)
        batch = mix(latent_BTCHW.to(device), noise_BTCHW.to(device), self._level_B.to(device))
        return batch, text_encoder.encode(captions).to(device)
