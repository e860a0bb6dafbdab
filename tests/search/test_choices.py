"""Spaces of plain choices: what is equal is one architecture, whoever proposes it."""

from __future__ import annotations

import itertools
import json
import math
import random

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from nas.errors import ArchitectureError, ConfigError
from nas.quality import FunctionQuality
from nas.search import ChoiceSpace, SearchConfig, SumLatency, TableLatency, load_front, run_search
from nas.space import Architecture

NAMES = st.text("abcxyz_0123456789 .:/", min_size=1, max_size=6)
CHOICES = st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=4, unique=True), min_size=1, max_size=4)


def in_any_order(choices):
    """Slots that can be exchanged: sorted choices stand for all their orders."""
    return tuple(sorted(choices))


def symmetric(slots, candidates):
    names = [f"op{number}" for number in range(candidates)]
    return ChoiceSpace({f"slot{number}": names for number in range(slots)}, name="cell", canonical=in_any_order)


@given(CHOICES)
def test_without_a_canonical_form_every_combination_is_an_architecture(choices):
    space = ChoiceSpace(choices, name="s")

    found = list(space.enumerate())

    assert [one.choices for one in found] == list(itertools.product(*choices.values()))
    assert len({one.id for one in found}) == len(found) == space.count() == math.prod(map(len, choices.values()))
    assert space.smallest() == found[0]


@given(CHOICES, st.integers(0, 2**32))
def test_an_architecture_survives_json_and_yaml(choices, seed):
    space = ChoiceSpace(choices, name="s")
    one = space.sample(random.Random(seed))

    for text in (json.dumps(one.to_dict()), yaml.safe_dump(one.to_dict(), sort_keys=False)):
        read = Architecture.from_dict(yaml.safe_load(text))
        assert read == one
        assert space.check(read) == one


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
def test_with_a_canonical_form_only_representatives_are_met(slots, candidates, seed):
    space, rng = symmetric(slots, candidates), random.Random(seed)

    found = list(space.enumerate())

    # Multisets of `slots` out of `candidates`.
    assert len(found) == len(set(found)) == space.count() == math.comb(candidates + slots - 1, slots)
    assert all(one.choices == in_any_order(one.choices) for one in found)
    sampled = space.sample(rng)
    assert sampled in found
    for changed in (1, slots):
        mutated = space.mutate(sampled, rng, slots=changed)
        assert mutated in found
        assert (mutated == sampled) <= (candidates == 1 or slots > 1)
    shuffled = list(sampled.choices)
    rng.shuffle(shuffled)
    assert space.architecture(shuffled) == sampled


@given(st.integers(2, 4), st.integers(2, 4), st.integers(0, 2**32))
def test_a_mutation_of_one_slot_changes_one_choice(slots, candidates, seed):
    space = ChoiceSpace({f"s{number}": list("abcd"[:candidates]) for number in range(slots)}, name="s")
    rng = random.Random(seed)
    one = space.sample(rng)

    changed = rng.randint(1, slots)
    other = space.mutate(one, rng, slots=changed)

    assert sum(a != b for a, b in zip(one.choices, other.choices, strict=True)) == changed


def test_isomorphic_architectures_are_scored_once(tmp_path):
    space = symmetric(3, 4)
    milliseconds = {one.choices: 1.0 + sum(map(int, (name[2:] for name in one.choices))) for one in space.enumerate()}
    latency = TableLatency(space, milliseconds, provenance="published", device="paper", runtime="theirs")
    scored = []

    def accuracy(one):
        scored.append(one.choices)
        return 100 - milliseconds[one.choices]

    quality = FunctionQuality(accuracy, direction="maximize", name="accuracy")
    config = SearchConfig(evaluations=1000, sampler="random")
    result = run_search(space, latency, quality, config, tmp_path / "s.db", "s")

    assert sorted(scored) == sorted(milliseconds)
    assert result.reason == "all 20 architectures of the space are scored"
    assert [member.architecture for member in result.front] == [space.smallest()]
    assert load_front(tmp_path / "s.db", "s") == list(result.front)


def test_a_space_of_a_trillion_is_never_walked(tmp_path):
    calls = []

    def canonical(choices):
        calls.append(choices)
        return in_any_order(choices)

    names = [f"op{number}" for number in range(10)]
    space = ChoiceSpace({f"s{number}": names for number in range(12)}, name="large", canonical=canonical)
    costs = {slot.id: {name: float(index) for index, name in enumerate(names)} for slot in space.slots}
    latency = SumLatency(space, costs, constant_ms=1, provenance="estimated", device="d", runtime="r")
    quality = FunctionQuality(lambda one: len(set(one.choices)), direction="maximize", name="variety")

    result = run_search(space, latency, quality, SearchConfig(evaluations=40), tmp_path / "s.db", "s")

    assert space.count() == 10**12
    assert result.scored == 40
    assert len(calls) < 100_000
    assert latency.fastest() == space.smallest()


@given(st.permutations(range(3)))
def test_the_fingerprint_knows_the_canonical_form(order):
    def other(choices):
        return tuple(sorted(choices, key=lambda name: order[int(name[2:])]))

    slots = {f"slot{number}": ["op0", "op1", "op2"] for number in range(3)}
    plain, mine = (ChoiceSpace(slots, name="cell", canonical=form) for form in (None, other))

    assert mine.fingerprint == ChoiceSpace(slots, name="cell", canonical=lambda one: tuple(other(one))).fingerprint
    assert mine.fingerprint != plain.fingerprint
    assume(list(order) != [0, 1, 2])
    assert mine.fingerprint != symmetric(3, 3).fingerprint


def test_a_canonical_form_that_is_not_its_own_is_found_out():
    turned = ChoiceSpace({"a": ["x", "y"], "b": ["x", "y"]}, name="s", canonical=lambda choices: choices[::-1])

    assert turned.architecture(["x", "x"]).choices == ("x", "x")
    with pytest.raises(ArchitectureError, match=r"canonical turns .* canonical must return its own results unchanged"):
        turned.architecture(["x", "y"])

    outside = ChoiceSpace({"a": ["x"]}, name="s", canonical=lambda choices: ("z",))
    with pytest.raises(ArchitectureError, match="slot a cannot hold 'z'"):
        outside.smallest()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({}, "at least one slot"),
        ({"a": []}, "slot a: expected a list of candidates"),
        ({"a": "xyz"}, "expected a list of candidates, got 'xyz'"),
        ({"a": [16, 32]}, "expected a text without a semicolon, got 16; write numbers as texts"),
        ({"a": ["x; b: y"]}, "without a semicolon"),
        ({"a": ["x", "x"]}, "a candidate is repeated"),
    ],
)
def test_spaces_that_cannot_be(choices, words):
    with pytest.raises(ConfigError, match=words):
        ChoiceSpace(choices, name="s")


def test_architectures_that_do_not_fit():
    space = ChoiceSpace({"b": ["x", "y"], "a": ["x", "y"]}, name="s")

    with pytest.raises(ArchitectureError, match="1 choices for 2 slots"):
        space.architecture(["x"])
    with pytest.raises(ArchitectureError, match="slot a cannot hold 'z'"):
        space.architecture(["x", "z"])
    with pytest.raises(ArchitectureError, match="expected 's', got 't'"):
        space.check(Architecture("t", (("a", ("x",)), ("b", ("x",)))))
    with pytest.raises(ArchitectureError, match="one choice for each of b, a"):
        space.check(Architecture("s", (("a", ("x", "y")), ("b", ("x",)))))
    by_hand = Architecture("s", (("a", ("x",)), ("b", ("y",))))
    assert space.check(by_hand).choices == ("y", "x")
