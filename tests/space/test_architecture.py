from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError, ConfigError
from nas.files import write_yaml
from nas.space import Architecture, SearchSpace
from tests.space.spaces import few, spaces, tiny, tiny_space

seeds = st.integers(0, 2**32)


@few
@given(spaces, seeds)
def test_yaml_and_back(space: SearchSpace, seed: int) -> None:
    architecture = space.sample(random.Random(seed))
    text = yaml.safe_dump(architecture.to_dict())  # sorted keys: the order of stages is lost on the way
    back = Architecture.from_dict(yaml.safe_load(text))
    assert back == architecture
    assert hash(back) == hash(architecture)
    assert back.id == architecture.id
    assert space.check(back) == architecture


def test_id_is_the_same_on_every_machine() -> None:
    architecture = tiny_space().architecture(["wide", "none", "separable_conv1d", "none", "self_attention_3d"])
    assert str(architecture) == "down.0: wide; mid: none; up.0: separable_conv1d; up.1: none self_attention_3d"
    assert architecture.id == "f6e01622b1c7"


@few
@given(spaces, seeds)
def test_different_choices_have_different_ids(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    first, second = space.sample(rng), space.sample(rng)
    assert (first.id == second.id) == (first == second) == (first.choices == second.choices)


def test_equal_choices_in_another_space_are_another_architecture() -> None:
    choices = tiny_space().smallest().choices
    assert tiny_space(name="other").architecture(choices).id != tiny_space().architecture(choices).id


@few
@given(spaces)
def test_count_is_the_length_of_the_enumeration(space: SearchSpace) -> None:
    architectures = list(space.enumerate())
    assert len(architectures) == space.count() == len({architecture.id for architecture in architectures})


@few
@given(spaces, seeds, st.integers(1, 7))
def test_mutation_changes_as_many_slots_as_asked_for(space: SearchSpace, seed: int, slots: int) -> None:
    rng = random.Random(seed)
    parent = space.sample(rng)
    child = space.mutate(parent, rng, slots=slots)
    changed = sum(old != new for old, new in zip(parent.choices, child.choices, strict=True))
    assert changed == min(slots, sum(len(slot.candidates) > 1 for slot in space.slots))
    assert space.check(child) == child


def test_samples_are_uniform_and_reproducible() -> None:
    space = tiny_space(slots=tiny()["slots"][1:3])
    drawn, again = ([space.sample(rng) for _ in range(4000)] for rng in (random.Random(0), random.Random(0)))
    assert drawn == again
    counts = Counter(drawn)
    assert len(counts) == space.count() == 8
    chi_square = sum((count - 500) ** 2 / 500 for count in counts.values())
    assert chi_square < 24.3  # 0.1% of fair samples exceed it at 7 degrees of freedom


@few
@given(spaces, seeds, st.integers(0, 12))
def test_distinct_samples_differ_and_belong_to_the_space(space: SearchSpace, seed: int, count: int) -> None:
    if count > space.count():
        with pytest.raises(ArchitectureError, match=f"{count} different .* {space.count()} exist"):
            space.sample_distinct(random.Random(seed), count)
        return
    drawn = space.sample_distinct(random.Random(seed), count)
    assert len(set(drawn)) == count
    assert drawn == space.sample_distinct(random.Random(seed), count)
    assert set(drawn) <= set(space.enumerate())


@few
@given(spaces)
def test_covering_architectures_hold_every_candidate_of_every_slot(space: SearchSpace) -> None:
    seen = {
        (slot.id, name)
        for architecture in space.covering()
        for slot, name in zip(space.slots, architecture.choices, strict=True)
    }
    assert seen == {(slot.id, name) for slot in space.slots for name in slot.candidates}
    assert len(space.covering()) <= max((len(slot.candidates) for slot in space.slots), default=1)


def test_uniform_and_smallest() -> None:
    space = tiny_space()
    assert space.smallest().choices == ("none", "none", "separable_conv1d", "none", "none")
    assert space.uniform("none") is None
    slots = [{"stage": "mid", "candidates": ["none", "conv1d"]}, {"stage": "up.1", "candidates": ["conv1d"]}]
    uniform = tiny_space(slots=slots).uniform("conv1d")
    assert uniform is not None
    assert uniform.choices == ("conv1d",) * 3


def test_load_and_save(tmp_path: Path) -> None:
    space, path = tiny_space(), tmp_path / "new" / "architecture.yaml"
    architecture = space.sample(random.Random(3))
    architecture.save(path)
    assert space.load_architecture(path) == architecture
    assert list(path.parent.iterdir()) == [path]


def _layers(**changes: object) -> dict[str, object]:
    """An architecture file without id, with stages replaced (`down_0` is `down.0`) or deleted by `None`."""
    layers = {"down.0": ["wide"], "mid": ["none"], "up.0": ["separable_conv1d"], "up.1": ["none", "none"]}
    changed = layers | {stage.replace("_", "."): names for stage, names in changes.items()}
    return {"space": "tiny", "layers": {stage: names for stage, names in changed.items() if names is not None}}


ID = Architecture.from_dict(_layers()).id

BROKEN: dict[str, dict[str, object]] = {
    "tampered": _layers(mid=["conv3d"]) | {"id": ID},
    "other id": _layers() | {"id": "0" * 12},
    "unknown key": _layers() | {"layer": []},
    "missing key": {"space": "tiny"},
    "wrong type": _layers(mid="none"),
    "other space": _layers() | {"space": "quickstart"},
    "unknown stage": _layers(down_0=None, down_9=["wide"]),
    "missing stage": _layers(up_1=None),
    "too few": _layers(up_1=["none"]),
    "not a candidate": _layers(up_1=["none", "conv3d"]),
}


def test_the_id_may_be_left_out(tmp_path: Path) -> None:
    write_yaml(tmp_path / "architecture.yaml", _layers())
    assert tiny_space().load_architecture(tmp_path / "architecture.yaml").id == ID


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("tampered", ArchitectureError, ["id: expected", "these layers", "remove the id"]),
        ("other id", ArchitectureError, ["id: expected", "000000000000"]),
        ("unknown key", ConfigError, ["unknown key layer ", "did you mean layers?", "known: space, layers, id"]),
        ("missing key", ConfigError, ["key layers is missing"]),
        ("wrong type", ConfigError, ["layers.mid: expected a list; got 'none'"]),
        ("other space", ArchitectureError, ["space: expected 'tiny', got 'quickstart'"]),
        ("unknown stage", ArchitectureError, ["layers: expected the stages down.0, mid, up.0, up.1; got down.9"]),
        ("missing stage", ArchitectureError, ["layers: expected the stages", "got down.0, mid, up.0"]),
        ("too few", ArchitectureError, ["layers.up.1: expected 2 names, for positions 0, 1; got 1"]),
        (
            "not a candidate",
            ArchitectureError,
            ["layers.up.1[1]: expected one of none, self_attention_3d; got 'conv3d'"],
        ),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, name: str, error: type, says: list[str]) -> None:
    path = tmp_path / "architecture.yaml"
    write_yaml(path, BROKEN[name])
    with pytest.raises(error) as caught:
        tiny_space().load_architecture(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(part in message for part in says), message


@pytest.mark.parametrize("choices", [[], ["none"] * 4, ["none"] * 6])
def test_wrong_number_of_choices(choices: list[str]) -> None:
    with pytest.raises(ArchitectureError, match=f"{len(choices)} choices for 5 slots"):
        tiny_space().architecture(choices)


def test_choice_that_is_no_candidate() -> None:
    with pytest.raises(ArchitectureError, match=r"slot up.0/1 cannot hold 'none' \(known: separable_conv1d, cross_att"):
        tiny_space().architecture(["none"] * 5)
