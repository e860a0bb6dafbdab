"""The abstract base of metrics of clips, its estimate with a bootstrap interval, and temporal flicker.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, K numbers per clip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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
    compares: ClassVar[bool] = True
    """Whether the value depends on real clips."""
    is_mean: ClassVar[bool] = False
    """Whether each clip has one number, and the value is their mean. A search then knows the noise of a score."""

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
    rows = [metric.describe(video_BTCHW, prompts) for video_BTCHW in (generated_BTCHW, real_BTCHW)]
    return estimate_rows(metric, *rows, resamples=resamples, confidence=confidence, seed=seed)


def estimate_rows(
    metric: ClipMetric,
    generated_BK: Floats,
    real_BK: Floats,
    *,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """As `estimate`, from what the metric has said of each clip. A metric that compares has as many clips of both."""
    value = metric.value(generated_BK, real_BK)
    paired_BK = real_BK if metric.compares else generated_BK
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    draws = rng.integers(len(generated_BK), size=(resamples, len(generated_BK)))
    values = np.array([metric.value(generated_BK[rows], paired_BK[rows]) for rows in draws])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) - (values.mean() - value)
    return Estimate(value, float(low), float(high), len(generated_BK))


class MeanOfClips(ClipMetric):
    """A metric whose value is the mean of one number for each generated clip. It needs no real clips."""

    compares = False
    is_mean = True

    def describe(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> Floats:
        """The number of each clip; shape (B, 1)."""
        number_B = self.judge(video_BTCHW, prompts)
        return np.asarray(number_B.double().cpu().numpy(), dtype=np.float64)[:, None]

    @abstractmethod
    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """The number of each clip; arguments as of `describe`."""

    def value(self, generated_BK: Floats, real_BK: Floats) -> float:
        """The mean over the generated clips."""
        return float(generated_BK.mean())


class TemporalFlicker(MeanOfClips):
    """Mean absolute difference of consecutive frames, from 0 to 1.

    The metric of VBench (Huang et al. 2023, arXiv 2311.17982), as a difference instead of its complement. Motion adds
    to it, so compare it with the value of real clips of the same prompts.
    """

    name = "temporal flicker"
    direction = "minimize"

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """One number per clip; 0 for a single frame."""
        return flicker(video_BTCHW)


class TemporalFlickering(MeanOfClips):
    """Temporal flickering as VBench gives it: `(255 - d) / 255` for a mean absolute difference `d` of frames.

    1 is a still clip. It is 1 minus `TemporalFlicker`, for users who compare with published tables.
    """

    name = "temporal flickering"
    direction = "maximize"

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """One number per clip; 1 for a single frame."""
        return 1 - flicker(video_BTCHW)


def flicker(video_BTCHW: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference (B) of consecutive frames of uint8 clips, from 0 to 1; 0 for a single frame."""
    if video_BTCHW.shape[1] == 1:
        return torch.zeros(len(video_BTCHW), dtype=torch.float64)
    return torch.stack([video_TCHW.double().diff(dim=0).abs().mean() for video_TCHW in video_BTCHW]) / 255
