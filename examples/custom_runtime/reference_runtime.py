"""A runtime of another package, in one file: ONNX's own reference implementation, which is numpy.

It is far slower than ONNX Runtime, and shares no code with it, which makes it a second opinion on what a converted
model computes. The entry point in `pyproject.toml` beside this file is all that nas needs to find it:

    pip install ./examples/custom_runtime
    nas profile search_spaces/quickstart.yaml --runtime reference --table latency_tables/reference.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator
from torch import nn

from nas.errors import CheckpointError
from nas.runtimes import Array, Executable, Runtime, RuntimeSettings, get_runtime, memory_errors


class ReferenceExecutable(Executable):
    """A model that numpy computes, node by node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._evaluator = ReferenceEvaluator(model)

    def run(self, inputs: Sequence[Array]) -> Array:
        with memory_errors("run the model"):
            named = dict(zip(self._evaluator.input_names, inputs, strict=True))
            output: Array = self._evaluator.run(None, named)[0]
        return output


class ReferenceRuntime(Runtime):
    """ONNX files, executed by `onnx.reference`.

    Args:
        opset: ONNX opset to convert to.
    """

    name = "reference"
    suffix = ".onnx"

    def __init__(self, opset: int | str = 20) -> None:
        self.opset = int(opset)

    @property
    def settings(self) -> RuntimeSettings:
        # How many threads numpy uses for matrix products was decided when it was built.
        return RuntimeSettings(self.name, "fp32", "cpu", None, str(self.opset))

    def unavailable_reason(self) -> str | None:
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        get_runtime("onnxruntime", opset=self.opset).convert(module, inputs, input_names, path)

    def load(self, path: Path) -> Executable:
        if not path.is_file():
            raise CheckpointError("no such file", where=path)
        try:
            with memory_errors(f"load {path}"):
                model = onnx.load(path)
                onnx.checker.check_model(model)
        except (DecodeError, onnx.checker.ValidationError, OSError) as error:
            raise CheckpointError(f"not a valid ONNX model: {error}", where=path) from error
        return ReferenceExecutable(model)
