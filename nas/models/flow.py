"""The path between data and noise that flow matching trains on and samples along.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): a sample at noise level s in [0, 1] is
`(1 - s) * data + s * noise`, and its velocity is `noise - data`.

Shape suffixes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from nas.files import derive_seed

TIMESTEP_SCALE = 1000.0
"""The network's timestep is the noise level times this, as in diffusers' schedulers."""


@dataclass(frozen=True)
class NoisyBatch:
    """Clips at some noise levels, with the target of the network.

    Args:
        sample_BTCHW: Noisy latents.
        timestep_B: Noise level times `TIMESTEP_SCALE`.
        target_BTCHW: Velocity, noise minus data.
    """

    sample_BTCHW: torch.Tensor
    timestep_B: torch.Tensor
    target_BTCHW: torch.Tensor

    def to(self, device: torch.device) -> NoisyBatch:
        """The same batch on a device."""
        return NoisyBatch(self.sample_BTCHW.to(device), self.timestep_B.to(device), self.target_BTCHW.to(device))


def mix(latent_BTCHW: torch.Tensor, noise_BTCHW: torch.Tensor, level_B: torch.Tensor) -> NoisyBatch:
    """Interpolate data and noise at given noise levels in [0, 1]."""
    level_B1111 = level_B.reshape(-1, 1, 1, 1, 1)
    sample = (1 - level_B1111) * latent_BTCHW + level_B1111 * noise_BTCHW
    return NoisyBatch(sample, level_B * TIMESTEP_SCALE, noise_BTCHW - latent_BTCHW)


def renoise(
    sample_BTCHW: torch.Tensor, noise_BTCHW: torch.Tensor, level_B: torch.Tensor, higher_B: torch.Tensor
) -> torch.Tensor:
    """Take samples to a higher noise level with fresh noise.

    A sample is (1 - s) data and s noise; it becomes (1 - r) data and r noise. It is scaled by (1 - r) / (1 - s), and
    the missing noise is added. From level 0 this is `mix`.

    Args:
        sample_BTCHW: Samples at `level_B`.
        noise_BTCHW: Noise that is not in them yet.
        level_B: Their noise levels s, below 1.
        higher_B: The noise levels r to reach, not below s.
    """
    kept_B = (1 - higher_B) / (1 - level_B)
    added_B = (higher_B.square() - (kept_B * level_B).square()).clamp(min=0).sqrt()
    return kept_B.reshape(-1, 1, 1, 1, 1) * sample_BTCHW + added_B.reshape(-1, 1, 1, 1, 1) * noise_BTCHW


def shifted(level: torch.Tensor, shift: float) -> torch.Tensor:
    """Noise levels after a timestep shift (Esser et al. 2024, arXiv 2403.03206, eq. 23); 1 changes nothing."""
    return shift * level / (1 + (shift - 1) * level)


def starting_noise(shape: Sequence[int], seed: int, numbers: Iterable[int]) -> torch.Tensor:
    """Noise (B, T, C, H, W) that sampling starts from; a clip's depends on `seed` and on its number only.

    Args:
        shape: Shape (T, C, H, W) of a latent.
        seed: Seed of a series of clips.
        numbers: Numbers of the clips in the series.
    """
    generators = [torch.Generator().manual_seed(derive_seed(seed, "clip", number)) for number in numbers]
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])


def flow_loss(velocity_BTCHW: torch.Tensor, batch: NoisyBatch) -> torch.Tensor:
    """Mean squared error of the predicted velocity; a scalar."""
    return F.mse_loss(velocity_BTCHW.float(), batch.target_BTCHW.float())
