"""The estimated memory of programs, which memory budgets limit."""

from __future__ import annotations

import pytest
import torch

from nas.compression import weight_format
from nas.latency import TableMetadata
from nas.latency.prediction.memory import program_form, program_forms
from nas.models import VideoUNet, build_module
from nas.models.costs import abstract_block
from nas.models.memory import CORE_ML_FACTOR, ProgramForm, program_costs, stored_bytes
from nas.space import TensorSpec
from nas.space.implementations import settings_of
from nas.space.layers import layer_config
from nas.space.plan import make_block
from tests.space.spaces import tiny_space


def test_it_is_what_is_stored_and_the_values_between_blocks() -> None:
    space = tiny_space()
    plan = space.lower(space.smallest())
    network = VideoUNet(plan)
    weights = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    values = plan.peak_activation_bytes() // 4
    assert ProgramForm("fp32", 4).memory_bytes(plan) == 4 * (weights + values)
    assert ProgramForm("fp16", 2).memory_bytes(plan) == 2 * (weights + values)
    assert ProgramForm("fp16", 2, 1.5).memory_bytes(plan) == pytest.approx(3 * (weights + values), abs=1)


def test_tables_of_positions_are_stored_too() -> None:
    """A program holds what `torch.export` finds in the module: here a table of 16 times the weights."""
    shape = (1, 4, 16, 16, 16)
    settings = settings_of(layer_config("self_attention_3d")())
    block = make_block("self_attention_3d", settings, (TensorSpec("x", shape),), shape)
    program = torch.export.export(build_module(block).eval(), (torch.zeros(shape),))
    held = sum(tensor.numel() for tensor in (*program.state_dict.values(), *program.constants.values()))
    assert stored_bytes(abstract_block(block)[0], weight_format("fp16")) == 2 * held
    assert held > 16 * sum(parameter.numel() for parameter in program.parameters())


def test_compressed_weights_take_less_and_of_several_forms_the_largest_counts() -> None:
    space = tiny_space()
    forms = [ProgramForm(kind, 2) for kind in ("palettized_4", "int8", "fp16")]
    sizes = [program_costs(space, [form])(space.smallest()).memory_bytes for form in forms]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert program_costs(space, forms)(space.smallest()).memory_bytes == sizes[-1]


def test_the_table_says_in_which_form_a_network_is_executed() -> None:
    phone = TableMetadata(device="p", runtime="coreml", precision="fp16", options={"weights": "palettized_6"})
    assert program_form(phone) == ProgramForm("palettized_6", 2, CORE_ML_FACTOR)
    assert program_form(TableMetadata(device="h", runtime="onnxruntime")) == ProgramForm("fp32", 4, 1.0)
    assert program_forms([]) == (ProgramForm(),)
