"""Core ML: converts anywhere coremltools installs, executes on macOS."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from nas.errors import CheckpointError, ConfigError, RuntimeUnavailableError
from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings
from nas.runtimes.conversion import conversion_errors, exported, quiet, staged
from nas.runtimes.decompositions import FOR_CORE_ML

ComputeUnit = Literal["all", "cpu_and_ne", "cpu_and_gpu", "cpu_only"]
Precision = Literal["fp16", "fp32"]

COMPUTE_UNITS: tuple[ComputeUnit, ...] = get_args(ComputeUnit)
"""Where a model may run; the names are those of coremltools' `ComputeUnit`."""

_TARGETS = ("iOS17", "iOS18")
_LOGGERS = ("coremltools", "torch.export")


class CoreMLExecutable(Executable):  # pragma: no cover - macOS only
    """A compiled Core ML model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._names = [item.name for item in model.get_spec().description.input]

    def run(self, inputs: Sequence[Array]) -> Array:
        """See `Executable.run`."""
        narrow = [array.astype(np.int32) if array.dtype == np.int64 else array for array in inputs]
        output: Array = self._model.predict(dict(zip(self._names, narrow, strict=True)))["output"]
        return output


class CoreMLRuntime(Runtime):
    """Core ML programs (`.mlpackage`).

    Args:
        deployment_target: Oldest system that can run the model. From `iOS18` on, attention stays one operation;
            for `iOS17` it becomes matrix products and a softmax. Both are worth profiling.
        compute_unit: Where the model may run.
        precision: Type of weights and arithmetic. In `fp16`, what leads from a timestep to its sinusoids stays
            in fp32, because fp16 has steps of 0.5 between 512 and 1024.

    Raises:
        ConfigError: An option has an unknown value.
    """

    name = "coreml"
    suffix = ".mlpackage"

    def __init__(
        self, deployment_target: str = "iOS18", compute_unit: ComputeUnit = "all", precision: Precision = "fp16"
    ) -> None:
        _one_of("deployment_target", deployment_target, _TARGETS)
        _one_of("compute_unit", compute_unit, COMPUTE_UNITS)
        _one_of("precision", precision, ("fp16", "fp32"))
        self.deployment_target = deployment_target
        self.compute_unit = compute_unit
        self.precision = precision

    @property
    def settings(self) -> RuntimeSettings:
        """See `Runtime.settings`."""
        return RuntimeSettings(self.name, self.precision, self.compute_unit, None, self.deployment_target)

    def unavailable_reason(self) -> str | None:
        """See `Runtime.unavailable_reason`."""
        missing = coremltools_missing()
        if missing is not None:
            return missing
        if sys.platform != "darwin":
            return f"Core ML executes on macOS only, this is {sys.platform}"
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        """See `Runtime.convert`; int64 inputs become int32, and float inputs are fp16 where the model is."""
        program = exported(module, inputs, "Core ML", FOR_CORE_ML)
        with quiet(*_LOGGERS), conversion_errors("Core ML", module):
            tools = import_coremltools()
            model = tools.convert(
                program,
                inputs=[self._input_type(*pair) for pair in zip(input_names, inputs, strict=True)],
                outputs=[tools.TensorType(name="output")],
                minimum_deployment_target=getattr(tools.target, self.deployment_target),
                compute_precision=self._compute_precision(),
                skip_model_load=True,
            )
        with staged(path) as temporary, quiet(*_LOGGERS):
            model.save(str(temporary))

    def load(self, path: Path) -> Executable:
        """See `Runtime.load`."""
        reason = self.unavailable_reason()
        if reason is not None:
            raise RuntimeUnavailableError(reason)
        return self._load(path)  # pragma: no cover - macOS only

    def _load(self, path: Path) -> Executable:  # pragma: no cover - macOS only
        if not path.is_dir():
            raise CheckpointError("no such model package", where=path)
        tools = import_coremltools()
        units = getattr(tools.ComputeUnit, self.compute_unit.upper())
        try:
            return CoreMLExecutable(tools.models.MLModel(str(path), compute_units=units))
        except RuntimeError as error:
            raise CheckpointError(f"not a valid Core ML model: {error}", where=path) from error

    def _input_type(self, name: str, tensor: torch.Tensor) -> Any:
        # A number per clip, such as the timestep, costs nothing in fp32 and does not fit into fp16.
        narrow = self.precision == "fp16" and tensor.dim() > 1
        dtype = (np.float16 if narrow else np.float32) if tensor.is_floating_point() else np.int32
        return import_coremltools().TensorType(name=name, shape=tuple(tensor.shape), dtype=dtype)

    def _compute_precision(self) -> Any:
        tools = import_coremltools()
        if self.precision == "fp32":
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


def coremltools_missing() -> str | None:
    """Why there is no coremltools here; `None` where there is."""
    if importlib.util.find_spec("coremltools") is None:
        return "coremltools is not installed (it has no wheels for this platform or Python version)"
    return None


def import_coremltools() -> Any:
    """Import coremltools without the remarks it makes about other libraries' versions.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    with quiet(*_LOGGERS):
        try:
            import coremltools
        except ImportError as error:
            hint = "install it with: pip install coremltools (no wheels for ARM Linux)"
            raise RuntimeUnavailableError("Core ML conversion needs coremltools", hint=hint) from error
    return coremltools


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{option} {value!r} is unknown (known: {', '.join(known)})", where="runtime coreml")
