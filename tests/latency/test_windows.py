"""What calls take at one pace, found from calls made at many."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.latency.measuring.detrending import detrended
from nas.latency.measuring.statistics import summarise
from nas.latency.measuring.windows import Window
from tests.latency.strategies import windows as any_windows

LATENCIES_MS = (1.0, 0.02, 0.3, 4.0, 1.1)  # of the reference and of four blocks
BLOCKS = tuple(f"block {turn}" for turn in range(1, 5))


def simulated(pace: Callable[[float], float], noise: float, seconds: float = 20.0) -> list[Window]:
    """Stretches of a machine that takes `1 + pace(s)` times as long after `s` seconds, disturbed call by call."""
    rng, now, made = random.Random(0), 0.0, []
    while now < seconds:
        order: list[int] = []
        samples: list[list[float]] = [[] for _ in LATENCIES_MS]
        end = now + 0.5
        while now < end:
            for turn in (0, *rng.sample(range(1, 5), 4)):
                disturbed = 1 + (rng.expovariate(1 / noise) if noise else 0.0)
                samples[turn].append(LATENCIES_MS[turn] * (1 + pace(now)) * disturbed)
                order.append(turn)
                now += samples[turn][-1] / 1e3
        reference_ms, *others_ms = map(tuple, samples)
        made.append(Window("reference", reference_ms, dict(zip(BLOCKS, others_ms, strict=True)), tuple(order)))
    return made


def found_ms(windows: list[Window], quantile: float) -> np.ndarray:
    parts = detrended(windows)
    all_ms = [each.reference_ms for each in parts], *([each.samples_ms[name] for each in parts] for name in BLOCKS)
    return np.array([np.quantile(np.concatenate(samples_ms), quantile) for samples_ms in all_ms])


@pytest.mark.parametrize(
    "pace",
    [
        lambda s: 0.0,
        lambda s: 0.09 if 2 < s < 18 else 0.0,  # quiet for a fifth of the time, at both ends
        lambda s: 0.05 * (int(s) % 2),
        lambda s: 0.3 * s / 20,  # becoming hot
    ],
)
def test_without_other_noise_the_latencies_at_the_quiet_pace_come_back(pace: Callable[[float], float]) -> None:
    found = found_ms(simulated(pace, noise=0.0), 0.25)
    ratios = found / np.array(LATENCIES_MS)
    assert np.ptp(ratios) < 1e-3, "blocks compare as they would on a steady machine"
    assert ratios == pytest.approx(1, abs=0.035), "at the pace of its fastest tenth"


def test_blocks_compare_better_than_by_their_own_quantiles() -> None:
    """A machine that is 10% slower nine tenths of the time, and calls that are disturbed by 3% each."""

    def spread(latencies_ms: np.ndarray) -> float:
        return float(np.std(np.log(latencies_ms / np.array(LATENCIES_MS))))

    made = simulated(lambda s: 0.1 * (s % 1 > 0.1), noise=0.03, seconds=3)
    all_ms = [each.reference_ms for each in made], *([each.samples_ms[name] for each in made] for name in BLOCKS)
    own_ms = np.array([np.quantile(np.concatenate(samples_ms), 0.1) for samples_ms in all_ms])
    assert spread(found_ms(made, 0.25)) < 0.3 * spread(own_ms)


def test_nothing_is_known_better_for_being_detrended_on_a_steady_machine() -> None:
    made = simulated(lambda s: 0.0, noise=0.03, seconds=3)
    for name in BLOCKS:
        own = summarise(np.concatenate([each.samples_ms[name] for each in made]))
        found = summarise(np.concatenate([each.samples_ms[name] for each in detrended(made)]))
        assert found.interval_percent > 0.7 * own.interval_percent
        assert found.latency_ms == pytest.approx(own.latency_ms, rel=0.01)


@given(any_windows())
def test_detrending_keeps_every_sample_in_its_place(made: list[Window]) -> None:
    for before, after in zip(made, detrended(made), strict=True):
        assert len(after.reference_ms) == len(before.reference_ms)
        assert {name: len(values) for name, values in after.samples_ms.items()} == {
            name: len(values) for name, values in before.samples_ms.items()
        }
        assert all(np.isfinite(values).all() and (values > 0).all() for values in after.samples_ms.values())


@given(any_windows(), st.floats(0.01, 100))
def test_the_unit_of_time_does_not_matter(made: list[Window], factor: float) -> None:
    scaled = [
        Window(
            each.reference,
            tuple(factor * value for value in each.reference_ms),
            {name: tuple(factor * value for value in values) for name, values in each.samples_ms.items()},
            each.order,
        )
        for each in made
    ]
    for one, other in zip(detrended(made), detrended(scaled), strict=True):
        assert other.reference_ms == pytest.approx(factor * one.reference_ms)
        for name, values in one.samples_ms.items():
            assert other.samples_ms[name] == pytest.approx(factor * values)


def test_nothing_measured_is_nothing_detrended() -> None:
    assert detrended([]) == []
