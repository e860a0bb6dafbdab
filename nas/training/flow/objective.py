"""The flow-matching objective.

The path of `nas.models.flow` with the logit-normal timesteps of Esser et al. 2024 (arXiv 2403.03206, section 3.1).

Shape suffixes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

import torch

from nas.models.flow import NoisyBatch, mix, shifted
from nas.training.flow.rng import BatchRNG


def add_noise(
    latent_BTCHW: torch.Tensor, rng: BatchRNG, *, mean: float = 0.0, std: float = 1.0, shift: float = 1.0
) -> NoisyBatch:
    """Draw logit-normal noise levels and noise, and add the noise to latents.

    Args:
        latent_BTCHW: Clean latents.
        rng: RNG of the clips.
        mean: Mean of the logit.
        std: Standard deviation of the logit.
        shift: Timestep shift (Esser et al., eq. 23): above 1, more weight on noisy levels.
    """
    level_B = shifted(logit_normal(rng, mean, std), shift).to(latent_BTCHW)
    return mix(latent_BTCHW, rng.normal_like(latent_BTCHW), level_B)


def logit_normal(rng: BatchRNG, mean: float, std: float) -> torch.Tensor:
    """Noise levels (B,) whose logits are normal."""
    return torch.sigmoid(mean + std * rng.normal())
