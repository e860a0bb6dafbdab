"""Metrics of generated clips, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from nas.data import ClipShape, MovingShapes
from nas.errors import DataError
from nas.quality import FrechetVideoDistance, TemporalFlicker, estimate, frechet_distance


def by_scipy(one: np.ndarray, other: np.ndarray) -> float:
    """The distance as it is usually computed, by the root of the product of the covariances."""
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = sqrtm(first @ second).real
    return float(((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


@pytest.mark.parametrize("clips", [200, 9])  # more clips than features, and fewer
def test_the_frechet_distance_is_that_of_the_covariances(clips: int) -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12))
    other = rng.normal(size=(clips, 12)) @ rng.normal(size=(12, 12)) + 1
    assert frechet_distance(one, other) == pytest.approx(by_scipy(one, other), rel=1e-4)


def test_the_frechet_distance_of_two_normal_distributions_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, size=(200_000, 1)), rng.normal(3, 2, size=(200_000, 1))
    assert frechet_distance(one, other) == pytest.approx(3**2 + (2 - 1) ** 2, rel=0.02)


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_the_frechet_distance_is_symmetric_and_grows_with_the_square(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(20, 4)), rng.normal(0.5, 2, size=(20, 4))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    assert frechet_distance(scale * one, scale * other) == pytest.approx(scale**2 * frechet_distance(one, other))


def test_flicker_is_the_difference_of_consecutive_frames() -> None:
    video = torch.zeros(2, 3, 3, 4, 4, dtype=torch.uint8)
    video[1, 1] = 255  # on for one frame of three
    flicker = TemporalFlicker().describe(video, ["", ""])
    assert flicker[:, 0].tolist() == [0.0, 1.0]
    assert TemporalFlicker().describe(video[:, :1], ["", ""]).tolist() == [[0.0], [0.0]]


def _clips(count: int, seed: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    return MovingShapes(ClipShape(4, 16, 16, 4), clips=count, seed=seed).batch(range(count))


def _pixels(video_BTCHW: torch.Tensor) -> torch.Tensor:
    return video_BTCHW.float().mean(dim=(1, 3, 4)) / 255


def test_an_interval_covers_the_value_of_other_clips() -> None:
    """Of 20 sets, nearly all have the true mean within their intervals of 95%."""
    truth = float(TemporalFlicker().describe(*_clips(3000, seed=99)).mean())
    covered = 0
    for seed in range(20):
        video, prompts = _clips(40, seed)
        found = estimate(TemporalFlicker(), video, video, prompts, resamples=200)
        assert found.low < found.value < found.high
        covered += found.low <= truth <= found.high
    assert covered >= 16


def test_noise_in_the_clips_is_further_from_the_real_ones() -> None:
    real, prompts = _clips(60, seed=0)
    other, _ = _clips(60, seed=1)
    noisy = (
        (real.float() + 80 * torch.rand(real.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255).byte()
    )
    metric = FrechetVideoDistance(_pixels)
    near, far = (estimate(metric, each, real, prompts, resamples=100) for each in (other, noisy))
    assert near.high < far.low
    assert near.low < near.value < near.high
    assert far == estimate(metric, noisy, real, prompts, resamples=100)


@pytest.mark.parametrize(
    ("extract", "words"),
    [
        (lambda video: torch.zeros(3), "features of shape"),
        (lambda video: torch.full((len(video), 2), torch.nan), "not finite"),
        (lambda video: video.reshape(7, 7), "RuntimeError"),
    ],
)
def test_an_extractor_that_gives_something_else_is_named(extract, words: str) -> None:
    real, prompts = _clips(4, seed=0)
    with pytest.raises(DataError, match=f"mine: .*{words}"):
        FrechetVideoDistance(extract, "mine").describe(real, prompts)


def test_clips_and_prompts_must_match() -> None:
    real, prompts = _clips(4, seed=0)
    with pytest.raises(DataError, match="3 generated and 4 real clips for 4 prompts"):
        estimate(TemporalFlicker(), real[:3], real, prompts)
