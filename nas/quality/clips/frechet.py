"""The Frechet distance between generated and real clips, over the features of any extractor.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, K features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nas.errors import DataError, NasError
from nas.quality.clips.metric import ClipMetric

Floats = NDArray[np.float64]

FeatureExtractor = Callable[[torch.Tensor], torch.Tensor]
"""`f(video_BTCHW)`: features (B, K) of uint8 clips, each clip seen alone."""

BATCH = 32


def frechet_distance(one_BK: Floats, other_BK: Floats) -> float:
    """Squared Frechet distance of two sets of features, each treated as a normal distribution.

    `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))` (Dowson and Landau, 1982; as a distance between sets of images,
    Heusel et al. 2017, arXiv 1706.08500, equation 6). With `A1^T A1 = S1` and `A2^T A2 = S2`, the trace of the root is
    the sum of the singular values of `A1 A2^T`, so no root of a matrix is needed. A triangular factor of the centred
    features can serve as A.

    Args:
        one_BK: Features of one set, two clips or more.
        other_BK: Features of the other set.
    """
    (one_K, one_RK), (other_K, other_RK) = _moments(one_BK), _moments(other_BK)
    common = np.linalg.svd(one_RK @ other_RK.T, compute_uv=False).sum()
    spread = (one_RK**2).sum() + (other_RK**2).sum() - 2 * common
    return float(((one_K - other_K) ** 2).sum() + max(spread, 0.0))


def _moments(feature_BK: Floats) -> tuple[Floats, Floats]:
    """Mean, and a factor of the covariance."""
    mean_K = feature_BK.mean(axis=0)
    factor_RK = np.linalg.qr((feature_BK - mean_K) / np.sqrt(len(feature_BK) - 1)).R
    return mean_K, factor_RK


class FrechetVideoDistance(ClipMetric):
    """Frechet distance over the features of clips (Unterthiner et al. 2018, arXiv 1812.01717).

    Distances over different features, or of different numbers of clips, are not comparable.

    Args:
        extract: Computes features of clips.
        name: Name of the metric, with the origin of the features.
    """

    direction = "minimize"

    def __init__(self, extract: FeatureExtractor, name: str = "Frechet video distance") -> None:
        self.extract, self.name = extract, name

    @torch.no_grad()
    def describe(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> Floats:
        """The features.

        Raises:
            DataError: The extractor fails, or does not return a row of finite numbers per clip.
        """
        parts = [self._features(part) for part in torch.split(video_BTCHW, BATCH)]
        return np.asarray(torch.cat(parts).double().cpu().numpy(), dtype=np.float64)

    def _features(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        try:
            feature_BK = torch.as_tensor(self.extract(video_BTCHW))
        except NasError:
            raise
        except Exception as error:  # a function of the user's may fail in any way
            raise DataError(f"{self.name}: {type(error).__name__}: {error}") from error
        if feature_BK.ndim != 2 or len(feature_BK) != len(video_BTCHW):
            raise DataError(f"{self.name}: features of shape {tuple(feature_BK.shape)} for {len(video_BTCHW)} clips",
                            hint="return one row of features per clip")  # fmt: skip
        if not torch.isfinite(feature_BK).all():
            raise DataError(f"{self.name}: features that are not finite")
        return feature_BK

    def value(self, generated_BK: Floats, real_BK: Floats) -> float:
        """The distance between the two sets of features."""
        return frechet_distance(generated_BK, real_BK)
