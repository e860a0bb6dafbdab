"""A runtime in its own package: ONNX's reference implementation in numpy.

It is far slower than ONNX Runtime and shares no code with it, so it is a second opinion on what a converted model
computes. Install the package and name the runtime:

    pip install ./examples/custom_runtime
    nas profile search_spaces/quickstart.yaml --table latency_tables/reference.csv \
        --runtime reference --runtime-option opset=21
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator
from pydantic import Field
from torch import nn

from nas.errors import CheckpointError
from nas.files import StrictModel
from nas.runtimes import Array, Executable, Runtime, RuntimeSettings, get_runtime, memory_errors


class ReferenceExecutable(Executable):
    """A model that numpy computes node by node."""

    def __init__(self, model: onnx.ModelProto, check_shapes: bool) -> None:
        self._evaluator = ReferenceEvaluator(model, check_shape_annotations=check_shapes)

    def run(self, inputs: Sequence[Array]) -> Array:
        with memory_errors("run the model"):
            named = dict(zip(self._evaluator.input_names, inputs, strict=True))
            output: Array = self._evaluator.run(None, named)[0]
        return output


class ReferenceRuntime(Runtime):
    """ONNX files, executed by `onnx.reference`."""

    name = "reference"
    suffix = ".onnx"

    class Config(StrictModel):
        """Options of the runtime; on the command line, `--runtime-option opset=21`.

        Args:
            opset: ONNX opset to convert to.
            check_shapes: Compare the shape of every value with the shape that the model states. Every call takes
                longer then.
        """

        opset: Annotated[int, Field(ge=1)] = 20
        check_shapes: bool = False

    config: Config

    @classmethod
    def options(cls, settings: RuntimeSettings) -> dict[str, Any]:
        """The options of recorded settings, in which the opset is text."""
        return super().options(settings) | {"opset": int(settings.opset or cls.Config().opset)}

    @property
    def settings(self) -> RuntimeSettings:
        """What decides latencies; `options` holds what has no field of its own."""
        # How many threads numpy uses for matrix products was decided when it was built.
        own = {"check_shapes": self.config.check_shapes}
        return RuntimeSettings(self.name, "fp32", "cpu", None, str(self.config.opset), options=own)

    def unavailable_reason(self) -> str | None:
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        get_runtime("onnxruntime", opset=self.config.opset).convert(module, inputs, input_names, path)

    def load(self, path: Path) -> Executable:
        if not path.is_file():
            raise CheckpointError("no such file", where=path)
        try:
            with memory_errors(f"load {path}"):
                model = onnx.load(path)
                onnx.checker.check_model(model)
        except (DecodeError, onnx.checker.ValidationError, OSError) as error:
            raise CheckpointError(f"not a valid ONNX model: {error}", where=path) from error
        return ReferenceExecutable(model, self.config.check_shapes)
