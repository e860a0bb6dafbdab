"""The flow-matching objective.

The path of `nas.models.flow` with the logit-normal timesteps of Esser et al. 2024 (arXiv 2403.03206, section 3.1).

Shape suffixes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from diffusers.training_utils import compute_density_for_timestep_sampling

from nas.models.flow import NoisyBatch, mix, shifted


def add_noise(latent_BTCHW: torch.Tensor, *, mean: float = 0.0, std: float = 1.0, shift: float = 1.0) -> NoisyBatch:
    """Draw logit-normal noise levels and noise from torch's global generator, and mix them in.

    Args:
        latent_BTCHW: Clean latents.
        mean: Mean of the logit.
        std: Standard deviation of the logit.
        shift: Timestep shift (Esser et al., eq. 23): above 1, more weight on noisy levels.
    """
    drawn = logit_normal(len(latent_BTCHW), mean, std)
    return mix(latent_BTCHW, torch.randn_like(latent_BTCHW), shifted(drawn, shift).to(latent_BTCHW))


def logit_normal(count: int, mean: float, std: float) -> torch.Tensor:
    """Noise levels (B,) whose logits are normal, from torch's global generator."""
    levels_B: torch.Tensor = compute_density_for_timestep_sampling("logit_normal", count, mean, std)
    return levels_B
