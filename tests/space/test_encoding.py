"""Architectures as numbers, against a walk over the candidates one by one."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError
from nas.space import Architecture, SearchSpace
from tests.space.spaces import QUICKSTART, few, spaces, tiny_space

seeds = st.integers(0, 2**32)


def _one_by_one(space: SearchSpace, architectures: list[Architecture]) -> list[list[int]]:
    choices = [space.check(architecture).choices for architecture in architectures]
    return [[slot.candidates.index(name) for slot, name in zip(space.slots, row, strict=True)] for row in choices]


def _shuffled(architecture: Architecture, rng: random.Random) -> Architecture:
    return Architecture(architecture.space, tuple(rng.sample(architecture.layers, len(architecture.layers))))


@few
@given(spaces, seeds, st.integers(0, 20))
def test_choices_become_their_places_whatever_the_order_of_the_stages(space: SearchSpace, seed: int, n: int) -> None:
    rng = random.Random(seed)
    drawn = [space.sample(rng) for _ in range(n)]
    given_ = [_shuffled(architecture, rng) if rng.random() < 0.5 else architecture for architecture in drawn]
    encoded = space.encode(given_)
    assert (encoded.dtype, encoded.shape) == (np.int64, (n, len(space.slots)))
    assert encoded.tolist() == _one_by_one(space, given_)
    assert [space.decode(row) for row in encoded] == drawn


def test_the_whole_space_is_every_combination_of_places() -> None:
    space = tiny_space().without({"mid/0": ["none"], "down.0/0": ["conv1d", "wide"]})
    expected = list(itertools.product(range(2), range(3), range(2), range(2), range(2)))
    assert space.encode(list(space.enumerate())).tolist() == [list(row) for row in expected]


def _replaced(architecture: Architecture, **stages: tuple[str, ...]) -> Architecture:
    """A copy with stages replaced; `up_0` is `up.0`."""
    layers = dict(architecture.layers) | {stage.replace("_", "."): names for stage, names in stages.items()}
    return Architecture(architecture.space, tuple(layers.items()))


GOOD = tiny_space().smallest()
BAD = {
    "another space": Architecture("elsewhere", GOOD.layers),
    "no stages": Architecture("tiny", ()),
    "a stage less": Architecture("tiny", GOOD.layers[1:]),
    "a stage more": _replaced(GOOD, up_7=("none",)),
    "another stage": Architecture("tiny", (*GOOD.layers[:-1], ("up.7", ("none", "none")))),
    "a stage twice": Architecture("tiny", (GOOD.layers[0], *GOOD.layers[:-1])),
    "a name less": _replaced(GOOD, up_1=("none",)),
    "a name more": _replaced(GOOD, mid=("none", "none")),
    "no names": _replaced(GOOD, mid=()),
    "names of two stages swapped": _replaced(GOOD, mid=("none", "none"), up_1=("none",)),
    "an unknown name": _replaced(GOOD, mid=("conv4d",)),
    "a name of another slot": _replaced(GOOD, up_0=("none",)),
}


@pytest.mark.parametrize("name", BAD)
def test_the_first_that_does_not_fit_is_refused_as_check_refuses_it(name: str) -> None:
    space, other = tiny_space(), "a name less" if name == "an unknown name" else "an unknown name"
    with pytest.raises(ArchitectureError) as expected:
        space.check(BAD[name])
    with pytest.raises(ArchitectureError) as caught:
        space.encode([GOOD, _shuffled(GOOD, random.Random(1)), BAD[name], GOOD, BAD[other]])
    assert str(caught.value) == str(expected.value)


def test_a_removed_candidate_is_refused_and_the_message_says_that_it_was_removed() -> None:
    space = tiny_space().without({"mid/0": ["conv3d"]})
    with pytest.raises(ArchitectureError, match=r"layers\.mid\[0\]: .*got 'conv3d'; conv3d was removed from mid/0"):
        space.encode([GOOD, _replaced(GOOD, mid=("conv3d",))])


def test_a_space_without_slots_still_tells_its_own_from_others() -> None:
    space = tiny_space(slots=[])
    assert space.encode([space.smallest()] * 3).shape == (3, 0)
    assert space.decode([]) == space.smallest()
    for stranger in (Architecture("elsewhere", ()), GOOD):
        with pytest.raises(ArchitectureError):
            space.encode([space.smallest(), stranger])


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        ([0, 0, 0, 0], "4 indices for 5 slots"),
        ([0, 0, 2, 0, 0], "slot up.0/1 has 2 candidates, none at index 2"),
        ([0, -1, 0, 0, 0], "slot mid/0 has 4 candidates, none at index -1"),
    ],
)
def test_indices_that_are_no_places_are_refused(indices: list[int], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says):
        tiny_space().decode(indices)


def _seconds(call: Callable[[], object]) -> float:
    def once() -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    return min(once() for _ in range(5))


@pytest.mark.slow
def test_many_take_a_fraction_of_the_time_of_checking_each() -> None:
    space = SearchSpace.load(QUICKSTART)
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(10_000)]
    together = _seconds(lambda: space.encode(drawn))
    one_by_one = _seconds(lambda: [space.check(architecture) for architecture in drawn])
    assert together < one_by_one / 3
