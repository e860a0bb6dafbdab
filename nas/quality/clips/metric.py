"""Metrics of generated clips, each compared with real clips of the same prompts, with intervals by bootstrap.

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
    """A value of a metric, with the interval that a draw of other clips would leave it in.

    Args:
        value: Of all clips.
        low: Lower end of the interval.
        high: Upper end of the interval.
        clips: How many clips it is from.
    """

    value: float
    low: float
    high: float
    clips: int


class ClipMetric(ABC):
    """Judges a set of generated clips.

    The contract: `describe` looks at each clip alone and gives the same numbers for the same clip, whatever is beside
    it. `value` sees these numbers only, and not in what order the clips came. So a bootstrap draws rows, and looks at
    each clip once.
    """

    name: str
    direction: Direction

    @abstractmethod
    def describe(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> Floats:
        """Numbers for each clip; shape (B, K).

        Args:
            video_BTCHW: Clips, uint8.
            prompts: What each of them should show.
        """

    @abstractmethod
    def value(self, generated_BK: Floats, real_BK: Floats) -> float:
        """The value of the generated clips; metrics that need no real ones take no notice of them."""


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

    Clip `i` of both sets belongs to prompt `i`, and they are drawn together. The interval is moved by what the
    bootstrap itself adds to the value, since a distance between sets grows when clips of them repeat.

    Args:
        metric: What is estimated.
        generated_BTCHW: Generated clips, uint8.
        real_BTCHW: Real clips of the same prompts, uint8.
        prompts: One for each clip.
        resamples: Draws of the bootstrap.
        confidence: Share of the draws within the interval.
        seed: Of the draws.

    Raises:
        DataError: There is not one clip of each set for each prompt, or fewer than two.
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

    That of VBench (Huang et al. 2023, arXiv 2311.17982), as a difference instead of its complement. Motion counts as
    well: compare it with that of real clips of the same prompts.
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
        """See `ClipMetric.value`."""
        return float(generated_BK.mean())
