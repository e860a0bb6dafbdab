"""Chains: copies of a block that no compiler may merge, and that stay within half precision at any length."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from nas.latency import space_blocks
from nas.models import TemporalLayer, block_cost
from nas.models.chain import Chain
from nas.runtimes import get_runtime
from nas.runtimes.conversion import exported
from nas.runtimes.networks import chain_convertible
from nas.space import Block, SearchSpace
from tests.space.spaces import tiny_space
from tests.tiny import TINY

FP16_MAX = 65504
BLOCKS = {
    (block.kind, len(block.inputs), block.output_shape == block.inputs[0].shape): block
    for space in (tiny_space(), SearchSpace.from_dict(TINY))
    for block in space_blocks(space)
}
"""One block of each way to be chained: what matters is its kind, its inputs and whether it keeps the shape."""


def outputs(block: Block, copies: int) -> torch.Tensor:
    made = chain_convertible(block, copies)
    with torch.no_grad():
        output: torch.Tensor = made.module.eval()(*made.inputs)
    return output


@pytest.mark.parametrize("block", BLOCKS.values(), ids=[block.kind for block in BLOCKS.values()])
def test_32_copies_stay_within_half_precision(block: Block) -> None:
    output = outputs(block, 32)
    assert output.shape == block.output_shape
    assert output.isfinite().all()
    assert output.abs().max() < FP16_MAX / 8


@pytest.mark.parametrize("block", BLOCKS.values(), ids=[block.kind for block in BLOCKS.values()])
def test_each_copy_waits_for_the_one_before(block: Block) -> None:
    made = chain_convertible(block, 3)
    first, *rest = made.inputs
    module = made.module.eval()
    assert isinstance(module, Chain)
    seen: list[torch.Tensor] = []
    for copy in module.copies:
        copy.register_forward_hook(lambda _, __, output: seen.append(output))
    if not first.is_floating_point():  # gradients end at whole numbers; look for the links instead
        graph = exported(module, made.inputs, "a test").graph
        assert len([node for node in graph.nodes if "clamp" in str(node.target)]) == 2
        return
    module(first.requires_grad_(), *rest)
    for before, after in itertools.pairwise(seen):
        (gradient,) = torch.autograd.grad(after.sum(), before, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("block", BLOCKS.values(), ids=[block.kind for block in BLOCKS.values()])
def test_no_tensor_has_more_than_five_dimensions(block: Block) -> None:
    made = chain_convertible(block, 2)
    values = [
        node.meta["val"] for node in exported(made.module, made.inputs, "a test").graph.nodes if "val" in node.meta
    ]
    assert max(value.dim() for value in values if isinstance(value, torch.Tensor)) <= 5


def test_copies_have_weights_of_their_own() -> None:
    block = next(block for block in BLOCKS.values() if block.kind == "conv1d")
    module = chain_convertible(block, 4).module
    weights = [dict(copy.named_parameters())["convolution.weight"] for copy in module.copies]
    assert len({weight.data_ptr() for weight in weights}) == 4
    assert not any(torch.equal(weights[0], weight) for weight in weights[1:])
    assert sum(math.prod(parameter.shape) for parameter in module.parameters()) == 4 * block_cost(block).parameters


def test_temporal_layers_cost_nothing_more_in_a_chain() -> None:
    for block in BLOCKS.values():
        module = chain_convertible(block, 2).module
        assert isinstance(module, Chain)
        if isinstance(module.copies[0], TemporalLayer):
            assert module.passes_on


@pytest.mark.parametrize("kind", ["text_learned", "conv", "resnet", "self_attention_3d", "time_embedding"])
def test_chains_convert_to_core_ml(kind: str, tmp_path: Path) -> None:
    block = next(block for block in BLOCKS.values() if block.kind == kind)
    made = chain_convertible(block, 2)
    get_runtime("coreml").convert(made.module, made.inputs, made.names, tmp_path / "chain.mlpackage")
    assert (tmp_path / "chain.mlpackage").is_dir()
