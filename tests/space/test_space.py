from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml
from diffusers import UNet2DConditionModel
from hypothesis import given

import nas.space.layers
from nas.files import write_yaml
from nas.space import SearchSpace, json_schema, layer_class, layer_kinds
from tests.space.spaces import QUICKSTART, few, space_values, tiny, tiny_space

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
    assert [space.lower(each) for each in space.covering()] == [back.lower(each) for each in space.covering()]


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


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    codec = {"kind": "autoencoder", "path": "../vae", "latent_channels": 12, "spatial_factor": 2}
    path = tmp_path / "spaces" / "space.yaml"
    write_yaml(path, tiny(codec=codec))
    space = SearchSpace.load(path)
    assert space.base == path.parent
    assert space.resolve_path("../vae") == str(tmp_path / "vae")
    assert space.lower_pipeline(space.smallest()).decoder.blocks[0].settings["path"] == str(tmp_path / "vae")


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
    assert [each.choices for each in space.enumerate()] == [()]


def test_layers_of_other_packages_appear_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("theirs", "nas.models.temporal.convolution:Conv3D", "nas.temporal_layers")]
    monkeypatch.setattr(nas.space.layers, "entry_points", lambda group: points)
    layer_class.cache_clear()
    try:
        assert layer_kinds()[-1] == "theirs"
        space = tiny_space(slots=[{"stage": "mid", "candidates": ["none", "theirs"]}])
        keys = {node.name: node.block.key for node in space.lower(space.covering()[1]).nodes}
        assert keys["mid_block.temporal.0.theirs"].startswith("theirs(kernel_size=3)")
        assert "theirs" in json.dumps(json_schema())
    finally:
        layer_class.cache_clear()


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
