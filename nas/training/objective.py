"""The flow-matching objective.

Rectified flow (Liu et al. 2022) with the logit-normal timesteps of Esser et al. 2024 (arXiv 2403.03206, section
3.1): a sample at noise level s in [0, 1] is `(1 - s) * data + s * noise`, and the network predicts the velocity
`noise - data`.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.training_utils import compute_density_for_timestep_sampling
from torch.nn import functional as F

TIMESTEP_SCALE = 1000.0
"""The network's timestep is the noise level times this, as in diffusers' schedulers."""


@dataclass(frozen=True)
class NoisyBatch:
    """Clips at random noise levels, with what the network should predict.

    Args:
        sample_BTCHW: Noisy latents.
        timestep_B: Noise level times 1000.
        target_BTCHW: Velocity, noise minus data.
    """

    sample_BTCHW: torch.Tensor
    timestep_B: torch.Tensor
    target_BTCHW: torch.Tensor


def mix(latent_BTCHW: torch.Tensor, noise_BTCHW: torch.Tensor, level_B: torch.Tensor) -> NoisyBatch:
    """Interpolate data and noise at given noise levels in [0, 1]."""
    level_B1111 = level_B.reshape(-1, 1, 1, 1, 1)
    sample = (1 - level_B1111) * latent_BTCHW + level_B1111 * noise_BTCHW
    return NoisyBatch(sample, level_B * TIMESTEP_SCALE, noise_BTCHW - latent_BTCHW)


def add_noise(latent_BTCHW: torch.Tensor, *, mean: float = 0.0, std: float = 1.0, shift: float = 1.0) -> NoisyBatch:
    """Draw logit-normal noise levels and noise from torch's global generator, and mix them in.

    Args:
        latent_BTCHW: Clean latents.
        mean: Mean of the logit.
        std: Standard deviation of the logit.
        shift: Timestep shift (Esser et al., eq. 23): above 1, more weight on noisy levels.
    """
    drawn = compute_density_for_timestep_sampling("logit_normal", latent_BTCHW.shape[0], mean, std)
    level_B = (shift * drawn / (1 + (shift - 1) * drawn)).to(latent_BTCHW)
    return mix(latent_BTCHW, torch.randn_like(latent_BTCHW), level_B)


def flow_loss(velocity_BTCHW: torch.Tensor, batch: NoisyBatch) -> torch.Tensor:
    """Mean squared error of the predicted velocity; a scalar."""
    return F.mse_loss(velocity_BTCHW.float(), batch.target_BTCHW.float())
