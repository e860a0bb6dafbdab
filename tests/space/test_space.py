from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from diffusers import UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError, ConfigError
from nas.files import write_yaml
from nas.space import SearchSpace, json_schema, layer_kinds
from tests.space.spaces import QUICKSTART, few, space_values, spaces, tiny, tiny_space

ROOT = QUICKSTART.parents[1]


def test_slots_stand_in_the_order_of_the_network_whatever_the_order_of_the_file() -> None:
    space = tiny_space(slots=tiny()["slots"][::-1])
    assert [slot.id for slot in space.slots] == ["down.0/0", "mid/0", "up.0/1", "up.1/0", "up.1/1"]
    assert space.count() == 4 * 4 * 2 * 2 * 2


@few
@given(space_values())
def test_to_dict_and_back(value: dict[str, Any]) -> None:
    space = SearchSpace.from_dict(value)
    back = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert back.file == space.file
    assert back.fingerprint == space.fingerprint
    assert [space.lower(architecture) for architecture in space.covering()] == [
        back.lower(architecture) for architecture in space.covering()
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"prediction": "data"},
        {"video": {**tiny()["video"], "frames": 2}},
        {"text": {**tiny()["text"], "tokens": 5}},
        {"backbone": {"block_out_channels": [16, 48]}},
        {"layers": {"wide": {"kind": "conv1d", "kernel_size": 7}}},
        {"layers": {"wide": {"kind": "conv3d", "kernel_size": 5}}},
        {"slots": tiny()["slots"][:-1]},
    ],
)
def test_fingerprint_changes_with_what_weights_depend_on(change: dict[str, Any]) -> None:
    assert tiny_space(**change).fingerprint != tiny_space().fingerprint


def test_fingerprint_ignores_what_weights_do_not_depend_on() -> None:
    codec = {"kind": "autoencoder", "path": "vae", "latent_channels": 12, "spatial_factor": 2}
    first = tiny_space(codec=codec)
    moved = tiny_space(codec={**codec, "path": "/elsewhere/vae"}, backbone={"pretrained": "unet"}, description="moved")
    assert first.fingerprint == moved.fingerprint
    explicit = tiny_space(
        slots=[{**rule, "positions": None} if "positions" not in rule else rule for rule in tiny()["slots"]]
    )
    unused = tiny_space(layers=tiny()["layers"] | {"unused": {"kind": "conv3d"}})
    assert tiny_space().fingerprint == explicit.fingerprint == unused.fingerprint


@few
@given(spaces, st.integers(0, 2**32))
def test_a_smaller_space_holds_just_the_architectures_without_what_was_removed(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    removed = {slot.id: rng.sample(slot.candidates, rng.randrange(len(slot.candidates))) for slot in space.slots}
    everything = list(space.enumerate())
    smaller = space.without({name: frozenset(lost) for name, lost in removed.items()})
    left = [
        architecture
        for architecture in everything
        if not any(name in removed[slot.id] for slot, name in zip(space.slots, architecture.choices, strict=True))
    ]
    assert list(smaller.enumerate()) == left
    assert smaller.count() == len(left)
    assert {smaller.sample(rng), smaller.smallest(), *smaller.covering()} <= set(left)
    assert set(smaller.sample_distinct(rng, min(3, len(left)))) <= set(left)
    assert smaller.mutate(rng.choice(left), rng, slots=2) in left
    assert [smaller.check(architecture) for architecture in left] == left
    assert [smaller.lower(architecture) for architecture in smaller.covering()] == [
        space.lower(architecture) for architecture in smaller.covering()
    ]
    assert {name: set(lost) for name, lost in smaller.removed.items()} == {
        name: set(lost) for name, lost in removed.items() if lost
    }
    assert list(space.enumerate()) == everything
    for architecture in set(everything) - set(left):
        with pytest.raises(ArchitectureError, match=" was removed from "):
            smaller.check(architecture)
        with pytest.raises(ArchitectureError, match=" was removed from "):
            smaller.architecture(architecture.choices)


def test_a_smaller_space_is_the_same_space_to_weights_and_files(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    write_yaml(path, tiny())
    space = SearchSpace.load(path)
    smaller = space.without({"mid/0": ["none", "conv3d"]}).without({"mid/0": ["self_attention_3d"], "up.1/0": ["none"]})
    assert [slot.candidates for slot in smaller.slots if slot.stage == "mid"] == [("cross_attention_1d",)]
    assert smaller.removed == {"mid/0": ("none", "conv3d", "self_attention_3d"), "up.1/0": ("none",)}
    assert smaller.count() == 4 * 1 * 2 * 1 * 2
    assert smaller.smallest().choices == (
        "none", "cross_attention_1d", "separable_conv1d", "self_attention_3d", "none"
    )  # fmt: skip
    assert smaller.uniform("none") is None
    assert (smaller.fingerprint, smaller.name, smaller.where) == (space.fingerprint, "tiny", path)
    assert (smaller.file, smaller.candidates, smaller.to_dict()) == (space.file, space.candidates, space.to_dict())
    assert (space.removed, space.count()) == ({}, tiny_space().count())
    back = SearchSpace.from_dict(smaller.to_dict())
    assert (back.fingerprint, back.count()) == (space.fingerprint, space.count())


@pytest.mark.parametrize(
    ("removed", "says"),
    [
        ({"mid/1": ["conv3d"]}, r"no slot 'mid/1' \(known: down.0/0, mid/0, up.0/1, up.1/0, up.1/1\)"),
        ({"mid": ["conv3d"]}, "no slot 'mid'"),
        ({"mid/0": ["conv1d"]}, r"slot mid/0 has no candidate 'conv1d' \(known: none, conv3d, self_attention_3d"),
        ({"up.0/1": ["separable_conv1d", "cross_attention_3d"]}, "slot up.0/1 is left without candidates; keep one of"),
    ],
)
def test_what_cannot_be_removed_is_refused(removed: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^search space: {says}"):
        tiny_space().without(removed)


def test_what_was_removed_once_cannot_be_removed_again() -> None:
    smaller = tiny_space().without({"mid/0": ["conv3d"]})
    with pytest.raises(ConfigError, match="slot mid/0 has no candidate 'conv3d'"):
        smaller.without({"mid/0": ["conv3d"]})


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    codec = {"kind": "autoencoder", "path": "../vae", "latent_channels": 12, "spatial_factor": 2}
    path = tmp_path / "spaces" / "space.yaml"
    write_yaml(path, tiny(codec=codec))
    space = SearchSpace.load(path)
    assert space.base == path.parent
    assert space.resolve_path("../vae") == space.codec_folder == str(tmp_path / "vae")
    assert space.outside_paths == (str(tmp_path / "vae"),)


def test_config_of_a_diffusers_checkpoint_can_be_pasted_in() -> None:
    fields = tiny()["backbone"] | {"in_channels": 12, "out_channels": 12}
    config = json.loads(UNet2DConditionModel(**fields).to_json_string())
    assert len(config) > 40
    space = SearchSpace.from_dict(tiny() | {"backbone": config})
    assert space.lower(space.smallest()) == tiny_space().lower(tiny_space().smallest())


def test_heads_need_to_divide_only_where_there_is_attention() -> None:
    channels = {"block_out_channels": [24, 32], "attention_head_dim": [5, 4]}
    assert tiny_space(backbone=channels, slots=[]).count() == 1


def test_a_space_of_one_level_without_slots() -> None:
    backbone = {
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "block_out_channels": [16],
        "mid_block_type": None,
    }
    space = tiny_space(backbone=backbone, slots=[])
    assert (space.count(), space.covering()) == (1, (space.smallest(),))
    assert [architecture.choices for architecture in space.enumerate()] == [()]


def test_json_schema_in_docs_is_up_to_date() -> None:
    stored = json.loads((ROOT / "docs" / "space.schema.json").read_text())
    assert stored == json_schema(), "run `nas space schema --out docs/space.schema.json`"


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.name)
def test_search_spaces_of_the_project_load_and_name_the_schema(path: Path) -> None:
    assert SearchSpace.load(path).name == path.stem
    header = path.read_text().partition("\n")[0]
    assert header.startswith("# yaml-language-server: $schema=")
    assert (path.parent / header.partition("$schema=")[2]).resolve() == ROOT / "docs" / "space.schema.json"


def test_json_schema_knows_every_key_of_the_example_and_every_layer() -> None:
    schema = json_schema()

    def known(value: Any, part: dict[str, Any]) -> bool:
        """Whether some branch of the schema has all the keys of a value."""
        while "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        if branches := part.get("oneOf") or part.get("anyOf"):
            return any(known(value, branch) for branch in branches)
        if isinstance(value, list):
            return part.get("type") == "array" and all(known(item, part["items"]) for item in value)
        if not isinstance(value, dict):
            return part.get("type") not in {"array", "object"} and part.get("const", value) == value
        keys, (rest,) = part.get("properties", {}), part.get("patternProperties", {"": {}}).values()
        return all(known(item, keys.get(key, rest)) for key, item in value.items() if key in keys or rest) and (
            bool(rest) or keys.keys() >= value.keys()
        )

    assert known(yaml.safe_load(QUICKSTART.read_text()), schema)
    assert not known({"video": {"framez": 3}}, schema)
    assert not known({"layers": {"wide": {"kind": "conv1d", "heads": 3}}}, schema)
    assert {entry["properties"]["kind"]["const"] for entry in schema["$defs"]["LayerEntry"]["oneOf"]} == set(
        layer_kinds()
    )
