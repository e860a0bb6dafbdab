"""What a converted file says of its inputs and outputs, and modules with several outputs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import CheckpointError
from nas.runtimes import get_runtime, to_arrays


class SumAndProduct(nn.Module):
    output_names = ("the_sum", "the_product")

    def forward(self, x: torch.Tensor, tokens: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + tokens + level, x * tokens


INPUTS = (torch.linspace(-1, 1, 6).reshape(2, 3), torch.tensor([[1, 2, 3]]), torch.tensor([0.5]))
WIDE = {"x": "float32", "tokens": "int64", "level": "float32"}
NARROW = {"x": "float16", "tokens": "int32", "level": "float32"}


@pytest.mark.parametrize(
    ("name", "options", "types"),
    [
        ("onnxruntime", {}, WIDE),
        pytest.param("coreml", {}, NARROW, marks=pytest.mark.skipif(
            importlib.util.find_spec("coremltools") is None, reason="coremltools is not installed")),
        pytest.param("coreai", {}, NARROW, marks=pytest.mark.skipif(
            importlib.util.find_spec("coreai_torch") is None, reason="coreai-torch is not installed")),
    ],
)  # fmt: skip
def test_a_file_says_what_it_is_called_with(
    tmp_path: Path, name: str, options: dict[str, Any], types: dict[str, str]
) -> None:
    runtime, module = get_runtime(name, **options), SumAndProduct()
    path = tmp_path / f"module{runtime.suffix}"
    runtime.convert(module, INPUTS, tuple(types), path)
    signature = runtime.signature(path)
    assert signature is not None
    assert {item.name: (item.shape, item.dtype) for item in signature.inputs} == {
        name: (tuple(tensor.shape), types[name]) for name, tensor in zip(types, INPUTS, strict=True)
    }
    assert [(item.name, item.shape) for item in signature.outputs] == [("the_sum", (2, 3)), ("the_product", (2, 3))]
    if runtime.unavailable_reason() is None:
        made = runtime.load(path).run_all(to_arrays(INPUTS))
        for output, expected in zip(made, module(*INPUTS), strict=True):
            np.testing.assert_allclose(output, expected.numpy(), atol=2e-3)


def test_the_signature_of_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "module.onnx").write_bytes(b"\x08nothing")
    with pytest.raises(CheckpointError, match=r"module\.onnx: not a valid ONNX model"):
        get_runtime("onnxruntime").signature(tmp_path / "module.onnx")
