from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.space import NONE, Block, Plan, SearchSpace, TensorSpec, lower
from nas.space.implementations import same_function
from nas.space.lowering import lower_unet
from nas.space.plan import Scalar, make_block
from tests.space.spaces import QUICKSTART, few, spaces, tiny_space

seeds = st.integers(0, 2**32)


def _plan(space: SearchSpace, seed: int) -> Plan:
    return lower(space, space.sample(random.Random(seed)))


@few
@given(spaces, seeds)
def test_every_node_reads_earlier_values_of_the_shapes_it_expects(space: SearchSpace, seed: int) -> None:
    plan = _plan(space, seed)
    shapes = {spec.name: spec.shape for spec in plan.inputs}
    for node in plan.nodes:
        assert node.name not in shapes, f"{node.name} is written twice"
        assert [spec.shape for spec in node.block.inputs] == [shapes[name] for name in node.inputs]
        shapes[node.name] = node.block.output_shape
    assert shapes[plan.output] == (1, *space.latent_shape)
    read = {name for node in plan.nodes for name in node.inputs}
    assert {node.name for node in plan.nodes} - read == {plan.output}, "something is computed for nothing"


@few
@given(spaces, seeds)
def test_slots_hold_what_the_architecture_says(space: SearchSpace, seed: int) -> None:
    architecture = space.sample(random.Random(seed))
    placed = {node.slot: node for node in space.lower(architecture).nodes if node.slot is not None}
    chosen = {slot.id: name for slot, name in zip(space.slots, architecture.choices, strict=True) if name != NONE}
    assert placed.keys() == chosen.keys()
    for slot, name in chosen.items():
        module = space.candidates[placed[slot].name.rpartition(".")[2]]
        assert same_function(module, space.candidates[name])
        candidate = space.candidates[name]
        assert (placed[slot].block.kind, placed[slot].block.settings) == (candidate.kind, dict(candidate.config))
        assert placed[slot].block.output_shape == placed[slot].block.inputs[0].shape


@few
@given(spaces, seeds)
def test_backbone_is_the_same_under_every_architecture(space: SearchSpace, seed: int) -> None:
    def backbone(plan: Plan) -> list[tuple[str, Block]]:
        return [(node.name, node.block) for node in plan.nodes if node.slot is None]

    assert backbone(_plan(space, seed)) == backbone(space.lower(space.smallest()))


@few
@given(spaces, seeds)
def test_schedule_frees_each_value_once_and_never_too_early(space: SearchSpace, seed: int) -> None:
    plan = _plan(space, seed)
    freed = [name for _, names in plan.schedule for name in names]
    assert len(freed) == len(set(freed))
    assert set(freed) == {name for node in plan.nodes for name in node.inputs} - {plan.output}
    gone: set[str] = set()
    for node, names in plan.schedule:
        assert gone.isdisjoint(node.inputs)
        gone.update(names)
    assert [node for node, _ in plan.schedule] == list(plan.nodes)


def _peak_by_brute_force(plan: Plan) -> int:
    """Look ahead from every moment: alive is what exists and is read now or later, or returned, or was never read."""
    sizes = {spec.name: math.prod(spec.shape) for spec in plan.inputs}
    sizes |= {node.name: math.prod(node.block.output_shape) for node in plan.nodes}
    read = {name for node in plan.nodes for name in node.inputs}
    peak = 0
    for now in range(len(plan.nodes)):
        exist = [spec.name for spec in plan.inputs] + [node.name for node in plan.nodes[: now + 1]]
        wanted = {name for node in plan.nodes[now:] for name in node.inputs} | {plan.output, plan.nodes[now].name}
        peak = max(peak, sum(sizes[name] for name in exist if name in wanted or name not in read))
    return 4 * peak


@few
@given(spaces, seeds)
def test_peak_memory_is_that_of_brute_force(space: SearchSpace, seed: int) -> None:
    plan = _plan(space, seed)
    assert plan.peak_activation_bytes() == _peak_by_brute_force(plan)


@few
@given(spaces, seeds)
def test_equal_keys_are_equal_blocks(space: SearchSpace, seed: int) -> None:
    pipeline = space.lower_pipeline(space.sample(random.Random(seed)))
    blocks = [node.block for plan in (pipeline.text_encoder, pipeline.unet, pipeline.decoder) for node in plan.nodes]
    for first, second in itertools.combinations(blocks, 2):
        assert (first.key == second.key) == (first == second)
    assert len({block.key for block in pipeline.blocks}) == len(pipeline.blocks) == len(set(blocks))
    assert all(block.key.isprintable() for block in blocks)


_values = st.one_of(
    st.integers(),
    st.floats(allow_nan=False).filter(lambda value: not value.is_integer()),  # 1 and 1.0 are equal configurations
    st.text(),
    st.booleans().map(lambda flag: None if flag else flag),
    st.lists(st.integers()).map(tuple),
)
_shapes = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)
_blocks = st.builds(
    lambda config, shape, output, dtype: make_block("conv", config, (TensorSpec("x", shape, dtype),), output),
    st.dictionaries(st.sampled_from(["a", "b"]), _values, max_size=2),
    _shapes,
    _shapes,
    st.sampled_from(["float32", "int64"]),
)


def _typed(block: Block) -> tuple[object, ...]:
    return (block, *(type(value) for _, value in block.config))


@given(_blocks, _blocks)
def test_keys_of_any_two_blocks_differ_when_the_blocks_do(first: Block, second: Block) -> None:
    assert (first.key == second.key) == (_typed(first) == _typed(second))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1e-5, 1.0000001e-5), ("yes", True), ("1", 1), ("None", None), ((3,), 3), ("a,b=1", "a"), ((1, 2), "1x2")],
)
def test_keys_of_values_that_look_alike_differ(one: Scalar, other: Scalar) -> None:
    shape = (1, 2, 8, 4, 4)
    keys = {make_block("k", {"a": value}, (TensorSpec("x", shape),), shape).key for value in (one, other)}
    assert len(keys) == 2


def test_key_reads_well_and_stays() -> None:
    space = SearchSpace.load(QUICKSTART)
    keys = {node.name: node.block.key for node in space.lower(space.covering()[1]).nodes}
    assert keys["mid_block.temporal.0.conv3d"] == "conv3d(kernel_size=3)[x:1x8x64x4x8 -> 1x8x64x4x8]"
    text = space.lower_pipeline(space.smallest()).text_encoder.blocks[0].key
    assert text == "text_learned(heads=4,layers=2,tokens=24,vocabulary=2048,width=64)[tokens:1x24:int64 -> 1x24x64]"


def test_stage_and_names_of_the_whole_network() -> None:
    space = tiny_space()
    plan = space.lower(space.architecture(["wide", "conv3d", "separable_conv1d", "none", "self_attention_3d"]))
    assert [node.name for node in plan.nodes] == [
        "time_embedding",
        "conv_in",
        "down_blocks.0.resnets.0",
        "down_blocks.0.temporal.0.wide",
        "down_blocks.0.downsamplers.0",
        "down_blocks.1.resnets.0",
        "down_blocks.1.attentions.0",
        "mid_block.resnets.0",
        "mid_block.attentions.0",
        "mid_block.temporal.0.conv3d",
        "mid_block.resnets.1",
        "up_blocks.0.resnets.0",
        "up_blocks.0.attentions.0",
        "up_blocks.0.resnets.1",
        "up_blocks.0.attentions.1",
        "up_blocks.0.temporal.1.separable_conv1d",
        "up_blocks.0.upsamplers.0",
        "up_blocks.1.resnets.0",
        "up_blocks.1.resnets.1",
        "up_blocks.1.temporal.1.self_attention_3d",
        "conv_norm_out",
        "conv_out",
    ]


def test_pipeline_runs_the_network_once_per_step() -> None:
    space = tiny_space()
    pipeline = space.lower_pipeline(space.smallest())
    assert [(plan.output, calls) for plan, calls in pipeline.calls(4)] == [
        ("text_encoder", 1),
        (pipeline.unet.output, 4),
        ("decoder", 1),
    ]
    assert pipeline.decoder.nodes[0].block.output_shape == (1, 3, 3, 8, 16)


def test_latent_that_cannot_be_halved() -> None:
    with pytest.raises(ConfigError, match="latent of 6x5 cannot be halved 1 times"):
        lower_unet(tiny_space().file, (3, 12, 6, 5), (4, 16), lambda *_: None)


@pytest.mark.parametrize("read", [Block.integer, Block.number, Block.flag, Block.text])
def test_typed_access_refuses_other_types(read: object) -> None:
    block = make_block("k", {"a": (1, 2)}, (), (1,))
    with pytest.raises(AssertionError, match=r"k\(a=\(1x2\)\)"):
        read(block, "a")  # type: ignore[operator]
