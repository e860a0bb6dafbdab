"""Implementations of a layer: the same function under several names, with one module between them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.files import fingerprint
from nas.models import block_cost
from nas.space import NONE, LayerConfig, SearchSpace
from nas.space.implementations import block_implementations, implementations_of, same_function, settings_of
from tests.space.spaces import IMPLEMENTATIONS, QUICKSTART, few, spaces, tiny, tiny_space

SLOTS = [
    {"stage": "down.0", "candidates": ["none", "conv1d_as_conv3d", "wide", "conv1d", "wide_as_conv3d"]},
    {"stage": "mid", "candidates": ["self_attention_1d", "self_attention_1d_split", "self_attention_1d_matmul"]},
]


def varied(**parts: Any) -> SearchSpace:
    """The small space with layers in several implementations."""
    return tiny_space(**{"layers": tiny()["layers"] | IMPLEMENTATIONS, "slots": SLOTS} | parts)


def modules(space: SearchSpace) -> dict[tuple[str, str], str]:
    """The module path of each candidate of each slot."""
    modules_of = {}
    for architecture in space.enumerate():
        chosen = dict(zip((slot.id for slot in space.slots), architecture.choices, strict=True))
        modules_of |= {
            (node.slot, chosen[node.slot]): node.name for node in space.lower(architecture).nodes if node.slot
        }
    return modules_of


def test_implementations_of_a_layer_in_a_slot_have_one_module_named_after_the_first() -> None:
    assert modules(varied()) == {
        ("down.0/0", "conv1d_as_conv3d"): "down_blocks.0.temporal.0.conv1d_as_conv3d",
        ("down.0/0", "conv1d"): "down_blocks.0.temporal.0.conv1d_as_conv3d",
        ("down.0/0", "wide"): "down_blocks.0.temporal.0.wide",
        ("down.0/0", "wide_as_conv3d"): "down_blocks.0.temporal.0.wide",
        ("mid/0", "self_attention_1d"): "mid_block.temporal.0.self_attention_1d",
        ("mid/0", "self_attention_1d_split"): "mid_block.temporal.0.self_attention_1d",
        ("mid/0", "self_attention_1d_matmul"): "mid_block.temporal.0.self_attention_1d",
    }


@few
@given(spaces, st.integers(0, 2**32))
def test_removing_candidates_renames_no_module(space: SearchSpace, seed: int) -> None:
    rng, whole = random.Random(seed), space.placed_blocks()
    lost = {slot.id: rng.sample(slot.candidates, rng.randrange(len(slot.candidates))) for slot in space.slots}
    smaller = space.without(lost)
    architecture = smaller.sample(rng)
    assert smaller.lower(architecture) == space.lower(architecture)
    assert smaller.placed_blocks().items() <= whole.items()


@few
@given(spaces)
def test_the_distinct_space_holds_every_function_of_each_slot_once(space: SearchSpace) -> None:
    for slot, left in zip(space.slots, space.distinct().slots, strict=True):
        kept = [space.candidates[name] for name in left.candidates if name != NONE]
        for name in slot.candidates:
            if name == NONE:
                assert NONE in left.candidates
            else:
                assert sum(same_function(layer, space.candidates[name]) for layer in kept) == 1
        assert left.candidates == tuple(name for name in slot.candidates if name in left.candidates)


def test_two_names_for_the_very_same_layer_are_one_function() -> None:
    slots = [{"stage": "mid", "candidates": ["wide", "wider"]}]
    space = tiny_space(layers={name: {"kind": "conv1d", "kernel_size": 5} for name in ("wide", "wider")}, slots=slots)
    assert set(modules(space).values()) == {"mid_block.temporal.0.wide"}
    assert space.count() == 2
    assert space.distinct().count() == 1


def test_an_implementation_is_part_of_a_blocks_key_except_the_default_one() -> None:
    keys = {name: block.key.partition("[")[0] for (_, name), block in varied().placed_blocks().items()}
    assert keys == {
        "conv1d": "conv1d(kernel_size=3)",
        "conv1d_as_conv3d": "conv1d(form=conv3d,kernel_size=3)",
        "wide": "conv1d(kernel_size=5)",
        "wide_as_conv3d": "conv1d(form=conv3d,kernel_size=5)",
        "self_attention_1d": "self_attention_1d(heads=4)",
        "self_attention_1d_split": "self_attention_1d(form=split_heads,heads=4)",
        "self_attention_1d_matmul": "self_attention_1d(form=matmul,heads=4)",
    }


def test_the_default_implementation_may_be_written_out() -> None:
    written = tiny_space(layers={"wide": {"kind": "conv1d", "kernel_size": 5, "form": "conv2d"}})
    assert written.fingerprint == tiny_space().fingerprint
    assert written.placed_blocks() == tiny_space().placed_blocks()


@pytest.mark.parametrize(
    ("tokens", "of_keys", "of_space"),
    [(24, "8e2a4f483d0f0899", "d2e5f7f68803a511"), (16, "77b4a624b8401590", "5b87ad334d151a54")],
)
def test_keys_and_fingerprint_of_the_quickstart_stay(tokens: int, of_keys: str, of_space: str) -> None:
    """Whoever changes these makes every measured table and every checkpoint of the space useless.

    The space had 16 tokens of text once; with so many, tables and checkpoints of that time still belong to it.
    """
    settings = SearchSpace.load(QUICKSTART).to_dict()
    settings["text"] |= {"tokens": tokens}
    space = SearchSpace.from_dict(settings)
    keys = {block.key for architecture in space.covering() for block in space.lower_pipeline(architecture).blocks}
    assert fingerprint(sorted(keys)) == of_keys
    assert space.fingerprint == of_space


def test_every_implementation_of_a_block_costs_the_same() -> None:
    blocks = varied().placed_blocks()
    default = blocks["down.0/0", "conv1d"]
    assert block_implementations(default) == block_implementations(blocks["down.0/0", "conv1d_as_conv3d"])
    assert block_implementations(default) == (default, blocks["down.0/0", "conv1d_as_conv3d"])
    attention = block_implementations(blocks["mid/0", "self_attention_1d"])
    assert len({block.key for block in attention}) == 3
    for implementations in (block_implementations(default), attention):
        assert len({block_cost(block) for block in implementations}) == 1


def test_other_blocks_have_one_implementation() -> None:
    for block in varied().lower(varied().smallest()).blocks:
        assert block.kind == "self_attention_1d" or block_implementations(block) == (block,)


class _TwoFields(LayerConfig):
    width: int = 3
    layout: Literal["rows", "columns"] = "columns"
    fused: Literal[True, False] = True
    implementation_fields = ("layout", "fused")


class _Open(LayerConfig):
    layout: str = "rows"
    implementation_fields = ("layout",)


class _Absent(LayerConfig):
    implementation_fields = ("layout",)


class _Plain(LayerConfig):
    form: Literal["round", "square"] = "round"


def test_a_layer_of_ones_own_says_which_fields_choose_an_implementation() -> None:
    configs = implementations_of(_TwoFields(width=5, layout="rows"))
    assert configs[0] == _TwoFields(width=5)
    assert {(config.width, config.layout, config.fused) for config in configs} == {  # type: ignore[attr-defined]
        (5, layout, fused) for layout in ("rows", "columns") for fused in (True, False)
    }
    assert settings_of(_TwoFields(fused=False)) == {"width": 3, "fused": False}
    assert settings_of(_Plain()) == {"form": "round"}
    assert implementations_of(_Plain(form="square")) == (_Plain(form="square"),)
    for config, field in ((_Open(), r"_Open\.layout"), (_Absent(), r"_Absent\.layout")):
        with pytest.raises(TypeError, match=f"{field} is an implementation field, so its type must be a Literal"):
            implementations_of(config)


def test_an_implementation_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        QUICKSTART.read_text(encoding="utf-8")
        .replace("layers:\n", "layers:\n  as_conv3d: {kind: conv1d, form: conv3d}\n")
        .replace("[none, separable_conv1d, conv1d, self_attention_1d]", "[none, conv1d, as_conv3d]"),
        encoding="utf-8",
    )
    space = SearchSpace.load(path)
    assert same_function(space.candidates["as_conv3d"], space.candidates["conv1d"])
    assert not same_function(space.candidates["conv3d"], space.candidates["conv1d"])
