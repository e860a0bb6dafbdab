from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import batch_indices


@given(
    length=st.integers(1, 50),
    batch_size=st.integers(1, 70),
    seed=st.integers(-(2**40), 2**40),
    epochs=st.integers(1, 4),
)
def test_every_epoch_holds_every_clip_once(length: int, batch_size: int, seed: int, epochs: int) -> None:
    steps = -(-length * epochs // batch_size)
    sequence = [index for step in range(steps) for index in batch_indices(length, batch_size, seed, step)]
    for epoch in range(epochs):
        assert Counter(sequence[epoch * length : (epoch + 1) * length]) == Counter(range(length))


@given(length=st.integers(1, 1000), batch_size=st.integers(1, 32), seed=st.integers(0, 99), step=st.integers(0, 10**9))
def test_batch_has_its_size_and_depends_on_seed_and_step_only(
    length: int, batch_size: int, seed: int, step: int
) -> None:
    first = batch_indices(length, batch_size, seed, step)
    batch_indices(length, batch_size, seed + 1, 0)
    assert batch_indices(length, batch_size, seed, step) == first
    assert len(first) == batch_size
    assert all(0 <= index < length for index in first)


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    orders = {tuple(batch_indices(30, 30, seed, step)) for seed in range(3) for step in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize(("length", "batch_size", "step"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_impossible_requests_are_refused(length: int, batch_size: int, step: int) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        batch_indices(length, batch_size, 0, step)
