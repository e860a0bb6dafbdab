"""The abstract base of metrics of clips, its estimate with a bootstrap interval, and temporal flicker.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, K numbers per clip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nas.errors import DataError
from nas.files import derive_seed
from nas.quality.base import Direction

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value of a metric, with the interval in which other clips of the same kind would put it.

    Args:
        value: The value for all clips.
        low: Lower end of the interval.
        high: Upper end of the interval.
        clips: Number of clips.
    """

    value: float
    low: float
    high: float
    clips: int


class ClipMetric(ABC):
    """Judges a set of generated clips.

    The contract: `describe` looks at each clip alone, and gives the same numbers for a clip in any batch. `value` uses
    these numbers only, and does not depend on the order of the clips. A bootstrap can therefore draw rows, and look at
    each clip once.
    """

    name: str
    direction: Direction

    @abstractmethod
    def describe(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> Floats:
        """Numbers for each clip; shape (B, K).

        Args:
            video_BTCHW: Clips, uint8.
            prompts: What each clip should show.
        """

    @abstractmethod
    def value(self, generated_BK: Floats, real_BK: Floats) -> float:
        """The value of the generated clips. A metric that needs no real clips ignores them."""


def estimate(
    metric: ClipMetric,
    generated_BTCHW: torch.Tensor,
    real_BTCHW: torch.Tensor,
    prompts: Sequence[str],
    *,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The value of a metric, and a percentile interval of a bootstrap over the clips (Efron, 1979).

    Clip `i` of both sets belongs to prompt `i`, and they are drawn together. The interval is corrected for the bias of
    the bootstrap, because a distance between sets grows when clips repeat.

    Args:
        metric: The metric.
        generated_BTCHW: Generated clips, uint8.
        real_BTCHW: Real clips of the same prompts, uint8.
        prompts: One for each clip.
        resamples: Number of draws of the bootstrap.
        confidence: Share of the draws within the interval.
        seed: Seed of the draws.

    Raises:
        DataError: The sets do not have one clip for each prompt, or there are fewer than two prompts.
    """
    counts = {len(generated_BTCHW), len(real_BTCHW), len(prompts)}
    if len(counts) > 1 or len(prompts) < 2:
        raise DataError(
            f"{len(generated_BTCHW)} generated and {len(real_BTCHW)} real clips for {len(prompts)} prompts",
            hint="give one of each for every prompt, and two prompts or more",
        )
    generated_BK, real_BK = metric.describe(generated_BTCHW, prompts), metric.describe(real_BTCHW, prompts)
    value = metric.value(generated_BK, real_BK)
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    draws = rng.integers(len(prompts), size=(resamples, len(prompts)))
    values = np.array([metric.value(generated_BK[rows], real_BK[rows]) for rows in draws])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) - (values.mean() - value)
    return Estimate(value, float(low), float(high), len(prompts))


class TemporalFlicker(ClipMetric):
    """Mean absolute difference of consecutive frames, from 0 to 1.

    The metric of VBench (Huang et al. 2023, arXiv 2311.17982), as a difference instead of its complement. Motion adds
    to it, so compare it with the value of real clips of the same prompts.
    """

    name = "temporal flicker"
    direction = "minimize"

    def describe(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> Floats:
        """One number per clip; 0 for a single frame."""
        if video_BTCHW.shape[1] == 1:
            return np.zeros((len(video_BTCHW), 1))
        steps = video_BTCHW.double().diff(dim=1).abs().mean(dim=(1, 2, 3, 4)) / 255
        return np.asarray(steps.cpu().numpy(), dtype=np.float64)[:, None]

    def value(self, generated_BK: Floats, real_BK: Floats) -> float:
        """The mean over the generated clips."""
        return float(generated_BK.mean())
