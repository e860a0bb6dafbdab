"""Core ML: converts on any platform that coremltools installs on, executes on macOS.

torch and coremltools are imported when they are used: reading the options of the runtime needs neither.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from pydantic import model_validator

from nas.compression import COMPRESSED_KINDS, WeightKind, check_plain_kind, compressed_kind
from nas.errors import CheckpointError
from nas.files import StrictModel
from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings, output_names
from nas.runtimes.conversion import conversion_errors, exported, import_converter, quiet, staged
from nas.runtimes.signature import Signature, TensorKind, TensorType

if TYPE_CHECKING:
    import torch
    from torch import nn

ComputeUnit = Literal["all", "cpu_and_ne", "cpu_and_gpu", "cpu_only"]

COMPUTE_UNITS: tuple[ComputeUnit, ...] = get_args(ComputeUnit)
"""Where a model may run; the names are those of coremltools' `ComputeUnit`."""

_LOGGERS = ("coremltools", "torch.export")

_TYPES: dict[int, TensorKind] = {65552: "float16", 65568: "float32", 131104: "int32"}
"""`ArrayFeatureType.ArrayDataType` of Core ML's model format."""


class CoreMLExecutable(Executable):  # pragma: no cover - macOS only
    """A compiled Core ML model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        description = model.get_spec().description
        self._names = [item.name for item in description.input]
        self._outputs = [item.name for item in description.output]

    def run(self, inputs: Sequence[Array]) -> Array:
        """Call the model once; int64 inputs become int32."""
        return self.run_all(inputs)[0]

    def run_all(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Call the model once; int64 inputs become int32."""
        narrow = [array.astype(np.int32) if array.dtype == np.int64 else array for array in inputs]
        made = self._model.predict(dict(zip(self._names, narrow, strict=True)))
        return tuple(made[name] for name in self._outputs)


class CoreMLRuntime(Runtime):
    """Core ML programs (`.mlpackage`)."""

    name = "coreml"
    suffix = ".mlpackage"
    weight_kinds = COMPRESSED_KINDS

    class Config(StrictModel):
        """Options of Core ML.

        Args:
            deployment_target: Oldest system that can run the model. From `iOS18` on, attention stays one operation;
                for `iOS17` it becomes matrix products and a softmax. Both are worth profiling.
            compute_unit: Where the model may run.
            precision: Type of weights and arithmetic. In `fp16`, the operations from a timestep to its sinusoids
                stay in fp32, because fp16 has steps of 0.5 between 512 and 1024.
            weights: Kind of weights, see `nas.compression`; that of the precision when left out. A phone decompresses
                them while it computes, in the precision.
        """

        deployment_target: Literal["iOS17", "iOS18", "iOS26"] = "iOS18"
        compute_unit: ComputeUnit = "all"
        precision: Literal["fp16", "fp32"] = "fp16"
        weights: WeightKind | None = None

        @model_validator(mode="after")
        def _weights_fit(self) -> Self:
            check_plain_kind(self.weights, self.precision)
            if self.weights == "palettized_4" and self.deployment_target == "iOS17":
                raise ValueError("weights palettized_4 have a palette for 16 channels, which needs iOS18 or later")
            return self

    config: Config

    @classmethod
    def options(cls, settings: RuntimeSettings) -> dict[str, Any]:
        """The options of recorded settings, in which the deployment target is the opset."""
        return super().options(settings) | {"deployment_target": settings.opset}

    @property
    def settings(self) -> RuntimeSettings:
        """Precision, compute unit, deployment target and compressed weights decide the latencies."""
        config, kind = self.config, compressed_kind(self.config.weights)
        options = {} if kind is None else {"weights": kind}
        return RuntimeSettings(
            self.name, config.precision, config.compute_unit, None, config.deployment_target, options
        )

    def unavailable_reason(self) -> str | None:
        """A missing coremltools, or a system other than macOS."""
        missing = coremltools_missing()
        if missing is not None:
            return missing
        if sys.platform != "darwin":
            return f"Core ML executes on macOS only, this is {sys.platform}"
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        """Write a model package; int64 inputs become int32, and float inputs become fp16 if the model is fp16."""
        from nas.runtimes.core_ml.weights import compressing_pipeline
        from nas.runtimes.decompositions import FOR_CORE_ML

        program = exported(module, inputs, "Core ML", FOR_CORE_ML)
        with quiet(*_LOGGERS), conversion_errors("Core ML", module):
            tools = import_coremltools()
            model = tools.convert(
                program,
                inputs=[self._input_type(*pair) for pair in zip(input_names, inputs, strict=True)],
                outputs=[tools.TensorType(name=name) for name in output_names(module)],
                minimum_deployment_target=getattr(tools.target, self.config.deployment_target),
                compute_precision=self._compute_precision(),
                skip_model_load=True,
                pass_pipeline=compressing_pipeline(compressed_kind(self.config.weights)),
            )
        with staged(path) as temporary, quiet(*_LOGGERS):
            model.save(str(temporary))
            # A map for debuggers, 10% of a small package; nothing that executes the model reads it.
            (temporary / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)

    def signature(self, path: Path) -> Signature:
        """Read the package's description of its inputs and outputs."""
        with quiet(*_LOGGERS):
            description = import_coremltools().utils.load_spec(str(path)).description
        inputs, outputs = (tuple(map(_tensor_type, items)) for items in (description.input, description.output))
        return Signature(inputs=inputs, outputs=outputs)

    def load(self, path: Path) -> Executable:
        """Load a model package; only macOS can."""
        self.require_available()
        return self._load(path)  # pragma: no cover - macOS only

    def _load(self, path: Path) -> Executable:  # pragma: no cover - macOS only
        if not path.is_dir():
            raise CheckpointError("no such model package", where=path)
        tools = import_coremltools()
        units = getattr(tools.ComputeUnit, self.config.compute_unit.upper())
        try:
            return CoreMLExecutable(tools.models.MLModel(str(path), compute_units=units))
        except RuntimeError as error:
            raise CheckpointError(f"not a valid Core ML model: {error}", where=path) from error

    def _input_type(self, name: str, tensor: torch.Tensor) -> Any:
        # A number per clip, such as the timestep, costs nothing in fp32 and does not fit into fp16.
        narrow = self.config.precision == "fp16" and tensor.dim() > 1
        dtype = (np.float16 if narrow else np.float32) if tensor.is_floating_point() else np.int32
        return import_coremltools().TensorType(name=name, shape=tuple(tensor.shape), dtype=dtype)

    def _compute_precision(self) -> Any:
        tools = import_coremltools()
        if self.config.precision == "fp32":
            return tools.precision.FLOAT32
        return tools.transform.FP16ComputePrecision(op_selector=lambda operation: not _feeds_sinusoid(operation))


def _feeds_sinusoid(operation: Any) -> bool:
    """Whether an operation is a sine or cosine, or computes the argument of one."""
    if operation.op_type in {"sin", "cos"}:
        return True
    # A sinusoid's argument is made by elementwise operations; anything else ends the walk.
    if operation.op_type not in {"mul", "add", "sub", "real_div", "expand_dims", "reshape", "cast", "identity"}:
        return False
    return any(_feeds_sinusoid(child) for output in operation.outputs for child in output.child_ops)


def _tensor_type(item: Any) -> TensorType:
    """An input or output of a package."""
    array = item.type.multiArrayType
    return TensorType(name=item.name, shape=tuple(array.shape), dtype=_TYPES[array.dataType])


def coremltools_missing() -> str | None:
    """Why coremltools is not available; `None` if it is installed."""
    if importlib.util.find_spec("coremltools") is None:
        return "coremltools is not installed (it has no wheels for this platform or Python version)"
    return None


def import_coremltools() -> Any:
    """Import coremltools without its warnings about other libraries' versions.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    hint = "install it with: pip install coremltools (no wheels for ARM Linux)"
    return import_converter("coremltools", "Core ML conversion needs coremltools", hint, _LOGGERS)
