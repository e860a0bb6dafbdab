"""Latencies from pairs of chains: what they say, when they are known well enough, and how long chains are."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.latency import PhoneMeasurementSettings
from nas.latency.measuring.chains import (
    NOISE_GAIN,
    NoDifferenceError,
    Pairs,
    best_level,
    chain_length,
    finished_chain,
    overhead_ms,
    shorter_chains,
)

BLOCK_MS, CALL_MS, COPIES = 0.05, 0.4, 16
MEASUREMENT = PhoneMeasurementSettings()


def pairs(rng: random.Random, noise: float, number: int = 3, *, slower: float = 1.0) -> Pairs:
    """Pairs of a block, as a device measures them whose every call is off by some share of itself."""

    def call(copies: int) -> float:
        return (CALL_MS + copies * BLOCK_MS) * slower * rng.gauss(1, noise)

    short, long = zip(*((call(1), call(COPIES)) for _ in range(number)), strict=True)
    return Pairs((slower, slower), short, long, (1, COPIES))


def test_what_a_call_takes_by_itself_cancels() -> None:
    parts = [pairs(random.Random(0), 0.0) for _ in range(2)]
    found = finished_chain(parts, 1.0, MEASUREMENT)
    assert found is not None
    assert found.latency_ms == pytest.approx(BLOCK_MS)
    assert overhead_ms(parts, found.latency_ms) == pytest.approx(CALL_MS)


def test_intervals_hold_what_they_promise() -> None:
    held, tried = 0, 300
    measurement = PhoneMeasurementSettings(interval_percent=1e-9, max_pairs=30)
    for seed in range(tried):
        rng = random.Random(seed)
        found = finished_chain([pairs(rng, 0.02) for _ in range(10)], 1.0, measurement)
        assert found is not None
        assert found.stopped == "time"
        held += found.summary.ci_low_ms <= BLOCK_MS <= found.summary.ci_high_ms
    assert held / tried > 0.93


def test_hot_pairs_do_not_count_unless_there_are_no_others() -> None:
    rng = random.Random(0)
    cool, hot = [pairs(rng, 0.001) for _ in range(2)], [pairs(rng, 0.001, slower=1.3) for _ in range(2)]
    assert finished_chain(hot, 1.0, MEASUREMENT) is None
    found = finished_chain(hot + cool, 1.0, MEASUREMENT)
    assert found is not None
    assert found.latency_ms == pytest.approx(BLOCK_MS, rel=0.01)
    assert found.drift_percent == 0
    given_up = finished_chain(hot, 1.0, MEASUREMENT.model_copy(update={"max_pairs": 6}))
    assert given_up is not None
    assert (given_up.stopped, given_up.drift_percent) == ("time", pytest.approx(30))
    assert given_up.latency_ms == pytest.approx(1.3 * BLOCK_MS, rel=0.01)


def test_a_block_that_cannot_be_told_from_noise_is_never_free() -> None:
    measurement = MEASUREMENT.model_copy(update={"max_pairs": 6})
    faster = Pairs((1.0, 1.0), (0.4,) * 6, (0.39,) * 6, (1, COPIES))
    with pytest.raises(NoDifferenceError, match="in 6 pairs of calls the long chain took no longer"):
        finished_chain([faster], 1.0, measurement)
    assert finished_chain([faster], 1.0, MEASUREMENT) is None
    noisy = Pairs((1.0, 1.0), (0.4,) * 6, (0.39, 0.38, 0.39, 0.38, 0.5, 0.39), (1, COPIES))
    found = finished_chain([noisy], 1.0, measurement)
    assert found is not None
    assert (found.stopped, found.latency_ms) == ("time", pytest.approx(0.1 / (COPIES - 1)))
    assert best_level([]) == math.inf


def test_shorter_chains_end_at_two_copies() -> None:
    assert shorter_chains(32) == [32, 16, 8, 4, 2]
    assert shorter_chains(2) == [2]
    assert shorter_chains(3) == [3, 2]


def test_more_pairs_than_are_allowed_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="pairs is 100, more than max_pairs, 48"):
        PhoneMeasurementSettings(pairs=100)


@given(st.floats(1e-3, 1e3), st.floats(0, 10), st.integers(1, 2**33), st.integers(2, 32))
def test_chains_are_as_long_as_they_need_to_be(block_ms: float, call_ms: float, size: int, most: int) -> None:
    measurement = PhoneMeasurementSettings(max_copies=most, difference_ms=0)
    first_ms = block_ms + call_ms
    copies = chain_length(first_ms, call_ms, size, measurement)
    assert 2 <= copies <= most
    assert copies * size <= measurement.max_chain_bytes or copies == 2

    def gain(length: int) -> float:
        long_ms = first_ms + (length - 1) * block_ms
        return math.hypot(first_ms, long_ms) / (long_ms - first_ms)

    longer = [length for length in (8, 16, 32) if length > copies and length <= most]
    shorter = [length for length in (4, 8, 16) if length < copies]
    if longer and longer[0] * size <= measurement.max_chain_bytes and call_ms < 20 * block_ms:
        assert gain(copies) <= NOISE_GAIN * 1.001
    if shorter and call_ms < 20 * block_ms:
        assert gain(shorter[-1]) >= NOISE_GAIN * 0.999


@given(st.floats(1e-3, 1e3), st.floats(0.1, 100))
def test_the_long_chain_stands_out_of_what_calls_differ_by(block_ms: float, difference_ms: float) -> None:
    measurement = PhoneMeasurementSettings(difference_ms=difference_ms)
    copies = chain_length(block_ms, 0, None, measurement)
    assert (copies - 1) * block_ms >= difference_ms * 0.999 or copies == measurement.max_copies
    assert copies >= chain_length(block_ms, 0, None, PhoneMeasurementSettings(difference_ms=0))
