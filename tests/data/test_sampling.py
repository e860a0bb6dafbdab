from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.clips.sampling import BucketSchedule, ReadingOrder, batch_indices


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


orders = st.builds(ReadingOrder, st.lists(st.integers(0, 9), min_size=1, max_size=12).map(tuple), st.integers(1, 5))


@given(order=orders, seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_an_epoch_of_shards_is_a_permutation_that_has_few_of_them_open(
    order: ReadingOrder, seed: int, epoch: int
) -> None:
    sequence = order.epoch(seed, epoch).tolist()
    assert sorted(sequence) == list(range(len(order)))
    shard_of = [shard for shard, count in enumerate(order.shards) for _ in range(count)]
    seen = [shard_of[index] for index in sequence]
    spans = {shard: (seen.index(shard), len(seen) - seen[::-1].index(shard)) for shard in set(seen)}
    for place in range(len(seen)):  # shards that are begun and not finished
        assert sum(first <= place < end for first, end in spans.values()) <= order.window


@given(order=orders, data=st.data())
def test_some_of_the_clips_keep_their_shards(order: ReadingOrder, data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, max(len(order) - 1, 0)), max_size=len(order))))
    shard_of = [shard for shard, count in enumerate(order.shards) for _ in range(count)]
    subset = order.subset(chosen)
    assert len(subset) == len(chosen)
    if len(order.shards) > 1:
        counts = Counter(shard_of[index] for index in chosen)
        assert subset.shards == tuple(counts[shard] for shard in range(len(order.shards)))
        assert subset.window == order.window


def test_one_shard_is_shuffled_as_it_was_before_there_were_several() -> None:
    assert batch_indices(7, 7, 3, 0) == ReadingOrder((7,)).batch(7, 3, 0) == [2, 4, 0, 6, 3, 1, 5]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_each_set_is_read_as_often_as_its_share_of_clips(lengths: list[int], sizes: list[int], seed: int) -> None:
    schedule = BucketSchedule(tuple(lengths), tuple(sizes[: len(lengths)]))
    whole = sum(schedule.batches)
    drawn = [schedule.at(seed, step) for step in range(3 * whole)]
    for number, batches in enumerate(schedule.batches):
        assert [reading for chosen, reading in drawn if chosen == number] == list(range(3 * batches))
        assert abs(batches * schedule.batch_sizes[number] - lengths[number]) <= schedule.batch_sizes[number]
