"""What has to be replaced in coremltools on Linux, and nothing else. All of it is put back at the end.

- The module `libcoremlpython`, a binary for macOS: here it has a compiler, a reader of compiled models, and four
  empty base classes. `compile_model` and `MLModelStructure.load_from_path` are coremltools' own and call these.
- `utils._macos_version`, or `compile_model` refuses to try.
- `_MLComputePlanRemoteProxy`: the client's own class, made by running its own module once more with the binary
  there; without, the module leaves it out.
- `_ModelRunnerAppBuilder._get_project_path`: the Xcode project is in the macOS wheel only.
- `_DeviceCtl._validation_done`: the client looks for `devicectl` once per process; with a new PATH it looks again.
- `PATH`: the programs of the desk come first.
- `subprocess.run`, in `remote_device` only: `devicectl` answers in this process, except for apps that it launches. A
  job calls it hundreds of times, and each Python takes longer to start than to answer.
- `asyncio.sleep`, in `remote_device` only: its time is scaled. The client polls each half a second, 20 times.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from coremltools.models import compute_device, compute_plan, utils
from coremltools.models.ml_program.experimental import compute_plan_utils, remote_device

from tests.phone import devicectl
from tests.phone.compiler import compile_model, load_structure

_PROXIES = (
    "_MLComputePlanProxy",
    "_MLCPUComputeDeviceProxy",
    "_MLGPUComputeDeviceProxy",
    "_MLNeuralEngineComputeDeviceProxy",
)


@contextmanager
def patched_client(desk: Path, programs: Path, project: Path, time_scale: float) -> Iterator[None]:
    """Let coremltools' client use the programs of the desk.

    Args:
        desk: Folder of the desk.
        programs: Folder with `xcrun`, `devicectl` and `xcodebuild`.
        project: Folder with the workspace that xcodebuild is asked to build.
        time_scale: What the client's waits are multiplied by.
    """
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"PATH": path}))
        _replace(stack, remote_device._ModelRunnerAppBuilder, _get_project_path=staticmethod(lambda: project))
        _replace(stack, remote_device._DeviceCtl, _validation_done=False)
        _replace(stack, remote_device, _asyncio=_ScaledAsyncio(time_scale), _subprocess=_QuickSubprocess(desk))
        _add_binary(stack)
        yield


class _ScaledAsyncio:
    """The module asyncio, with another `sleep`."""

    def __init__(self, time_scale: float) -> None:
        self._time_scale = time_scale

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay * self._time_scale)


class _QuickSubprocess:
    """The module subprocess, with another `run` for commands of `devicectl`."""

    def __init__(self, desk: Path) -> None:
        self._desk = desk

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def run(self, command: str | list[str], *, check: bool = False, **options: Any) -> subprocess.CompletedProcess[Any]:
        words = shlex.split(command) if isinstance(command, str) else command
        if "devicectl" not in words[:2]:
            return subprocess.run(command, check=check, **options)
        status, error = devicectl.answer(str(self._desk), words[words.index("devicectl") + 1 :])
        return subprocess.CompletedProcess(command, status, b"", error.encode())


def _replace(stack: ExitStack, target: Any, **values: Any) -> None:
    for name, value in values.items():
        stack.enter_context(mock.patch.object(target, name, value))


class _MLModelProxy:
    """What coremltools asks macOS about models."""

    compileModel = staticmethod(compile_model)
    get_model_structure = staticmethod(load_structure)


def _add_binary(stack: ExitStack) -> None:
    binary: Any = ModuleType("coremltools.libcoremlpython")
    binary._MLModelProxy = _MLModelProxy
    for name in _PROXIES:
        setattr(binary, name, type(name, (), {}))
    stack.enter_context(mock.patch.dict(sys.modules, {binary.__name__: binary}))
    _replace(stack, utils, _macos_version=lambda: (15, 0))
    _replace(stack, compute_plan, _MLModelProxy=_MLModelProxy)
    if compute_plan_utils._MLComputePlanRemoteProxy is None:  # so it is on Linux
        _add_remote_plans(stack, binary)


def _add_remote_plans(stack: ExitStack, binary: Any) -> None:
    _replace(stack, compute_plan, _MLComputePlanProxy=binary._MLComputePlanProxy)
    _replace(stack, compute_device, **{name: getattr(binary, name) for name in _PROXIES[1:]})
    # The module also hangs a function on a class, which has to be as before at the end.
    loader = "load_from_path_on_device"
    _replace(stack, compute_plan.MLComputePlan, **{loader: getattr(compute_plan.MLComputePlan, loader)})
    again = _run_again(compute_plan_utils)
    _replace(stack, compute_plan_utils, _MLComputePlanRemoteProxy=again._MLComputePlanRemoteProxy)


def _run_again(module: ModuleType) -> Any:
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_with_binary", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    result = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(result)
    return result
