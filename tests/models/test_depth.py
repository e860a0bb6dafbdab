from __future__ import annotations

import torch

from nas.models import block_cost, build_module
from nas.models.temporal.base import LayerStack
from nas.space import SearchSpace
from tests.space.spaces import tiny

TWICE = {"kind": "cross_attention_3d", "depth": 2}


def _space() -> SearchSpace:
    slots = [{"stage": "mid", "candidates": ["none", "cross_attention_3d", "twice"]}]
    return SearchSpace.from_dict(tiny(layers={"twice": TWICE}, slots=slots))


def test_depth_is_the_number_of_layers_in_a_slot() -> None:
    blocks = _space().placed_blocks()
    once, twice = blocks["mid/0", "cross_attention_3d"], blocks["mid/0", "twice"]
    assert "depth" not in once.settings
    assert (block_cost(twice).parameters, block_cost(twice).macs) == tuple(
        2 * cost for cost in vars(block_cost(once)).values()
    )
    torch.manual_seed(0)
    stack = build_module(twice)
    assert isinstance(stack, LayerStack)
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, context = torch.randn(twice.inputs[0].shape), torch.randn(twice.inputs[1].shape)
    first, second = stack
    assert torch.equal(stack(x, context), second(first(x, context), context))
    assert not torch.equal(stack(x, context), first(x, context))


def test_budgets_of_a_space_are_read_and_change_no_weights() -> None:
    limited = SearchSpace.from_dict(_space().to_dict() | {"budgets": {"parameters": 5, "latency_ms": 7}})
    assert limited.budgets.parameters == 5
    assert limited.fingerprint == _space().fingerprint
    told = type(limited.budgets)(latency_ms=9).or_else(limited.budgets)
    assert (told.latency_ms, told.parameters, told.memory_bytes) == (9, 5, None)
