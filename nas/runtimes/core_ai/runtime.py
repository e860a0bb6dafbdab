"""Core AI, Apple's runtime since iOS 27 and macOS 27: converts on any platform that coreai-torch installs on.

On macOS 27 and later, the system executes what was converted. Elsewhere an interpreter does: it computes what the
program says, but its time says nothing about a device.

torch and coreai are imported when they are used: reading the options of the runtime needs neither.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from nas.compression import COMPRESSED_KINDS, WeightKind, check_plain_kind, compressed_kind
from nas.files import StrictModel
from nas.runtimes.base import Executable, Runtime, RuntimeSettings, output_names
from nas.runtimes.conversion import conversion_errors, exported, import_converter, quiet, staged
from nas.runtimes.core_ai.executable import FUNCTION, ComputeUnit
from nas.runtimes.signature import Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

TARGET = "iOS27"
"""Oldest system that assets run on, together with macOS 27; there is no choice yet."""

_FIRST_MACOS = 27
_LOGGERS = ("coreai", "coreai_torch", "torch.export")


class CoreAIRuntime(Runtime):
    """Core AI assets (`.aimodel`)."""

    name = "coreai"
    suffix = ".aimodel"
    weight_kinds = COMPRESSED_KINDS

    class Config(StrictModel):
        """Options of Core AI.

        Args:
            compute_unit: Where the system may run the model: `all` leaves it the choice, and `prefer_gpu` and
                `prefer_ne` (the Neural Engine) leave it what that unit cannot run.
            precision: Type of weights and arithmetic. In `fp16`, the operations from a timestep to its sinusoids
                stay in fp32, because fp16 has steps of 0.5 between 512 and 1024.
            weights: Kind of weights, see `nas.compression`; that of the precision when left out.
        """

        compute_unit: ComputeUnit = "all"
        precision: Literal["fp16", "fp32"] = "fp16"
        weights: WeightKind | None = None

        @model_validator(mode="after")
        def _weights_fit(self) -> Self:
            check_plain_kind(self.weights, self.precision)
            return self

    config: Config

    @property
    def settings(self) -> RuntimeSettings:
        """Precision, compute unit and compressed weights decide the latencies."""
        config, kind = self.config, compressed_kind(self.config.weights)
        options = {} if kind is None else {"weights": kind}
        return RuntimeSettings(self.name, config.precision, config.compute_unit, None, TARGET, options)

    def unavailable_reason(self) -> str | None:
        """A missing coreai-torch."""
        return coreai_missing()

    def unmeasurable_reason(self) -> str | None:
        """A missing coreai-torch, or a system that has only the interpreter."""
        return self.unavailable_reason() or _interpreted()

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        """Write an asset; int64 inputs become int32, and float inputs become fp16 if the model is fp16."""
        from nas.runtimes.decompositions import FOR_CORE_AI

        tools, kind = import_coreai(), compressed_kind(self.config.weights)
        if kind is not None:
            from nas.runtimes.core_ai.weights import stored

            module = stored(module, kind)
        if self.config.precision == "fp16":
            from nas.runtimes.core_ai.narrowing import half_inputs, in_half

            module, inputs = in_half(module), half_inputs(inputs)
        program = exported(module, inputs, "Core AI", dict(tools.get_decomp_table()) | FOR_CORE_AI)
        with quiet(*_LOGGERS), conversion_errors("Core AI", module):
            # In its other mode the converter writes down where each operation comes from: the user's folders.
            converter = tools.TorchConverter(mode=tools.TorchConverter.Mode.RELEASE)
            converter.add_exported_program(
                program,
                input_names=list(input_names),
                output_names=list(output_names(module)),
                entrypoint_name=FUNCTION,
            )
            converted = converter.to_coreai()
        with staged(path) as temporary, quiet(*_LOGGERS), conversion_errors("Core AI", module):
            converted.save_asset(temporary)

    def signature(self, path: Path) -> Signature:
        """Read the asset's own summary of its function."""
        import_coreai()
        from nas.runtimes.core_ai.signature import read_signature

        return read_signature(path)

    def load(self, path: Path) -> Executable:
        """Load an asset."""
        self.require_available()
        from nas.runtimes.core_ai.executable import CoreAIExecutable

        return CoreAIExecutable(path, self.config.compute_unit)


def coreai_missing() -> str | None:
    """Why coreai-torch is not available; `None` if it is installed."""
    if importlib.util.find_spec("coreai_torch") is None:
        return "coreai-torch is not installed (the extra `coreai`, for x86-64 Linux and Macs, up to Python 3.13)"
    return None


def import_coreai() -> Any:
    """Import coreai-torch without its warnings about torch's version.

    Raises:
        RuntimeUnavailableError: It is not installed.
    """
    hint = "install it with: pip install 'nas-video[coreai]' (on x86-64 Linux, or on a Mac with macOS 26)"
    return import_converter("coreai_torch", "Core AI conversion needs coreai-torch", hint, _LOGGERS)


def _interpreted() -> str | None:
    """Why Core AI's time means nothing here; `None` if the system executes it."""
    if sys.platform != "darwin":
        return f"Core AI runs on macOS {_FIRST_MACOS}; on {sys.platform} an interpreter stands in, for parity only"
    with quiet(*_LOGGERS):  # pragma: no cover - macOS only
        from coreai.runtime import SpecializationOptions
    if SpecializationOptions.is_supported():  # pragma: no cover - macOS only
        return None
    return f"this Mac has no macOS {_FIRST_MACOS}; an interpreter stands in, for parity only"  # pragma: no cover
