"""All uses of the private parts of coremltools' device client.

These private parts are used, for these reasons (coremltools 9.0; tests/phone shows each of them):

- `_RemoteMLModelService` and its parts. The public `MLModelAsyncWrapper` polls 20 times, half a second apart, for any
  answer. Loading a large model takes longer; then the phone keeps a model that no one can unload. It also reads
  `is_alive` as if it were a property, so it never notices that the app has ended.
- `retrieve_compute_plan` of the same class. The public `MLComputePlan.load_from_path_on_device` loads the model a
  second time, and loses operations with several outputs.
- `_DeviceCtlError` and `_AppBuilder.Error`, which its functions raise.

Import this module only when a phone is used: it imports coremltools.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
from coremltools.models.ml_program.experimental import remote_device
from coremltools.models.utils import load_spec

from nas.errors import OutOfMemoryError, RuntimeUnavailableError
from nas.runtimes.base import Array
from nas.runtimes.phone.devicectl import last_line
from nas.runtimes.phone.errors import ModelFailedError, NoAnswerError, PhoneLostError
from nas.runtimes.phone.wait_settings import WaitSettings

DeviceCtlError: type[Exception] = remote_device._DeviceCtlError
BuildError: type[Exception] = remote_device._AppBuilder.Error

_APP_FOLDER = "Documents/modelrunnerd"
_LOAD, _PREDICTION = "MLModelService.Load", "MLModelService.Prediction"
_NOT_LOADED = "not currently loaded"
_MEMORY_WORDS = ("memory", "allocate")
_UNREADABLE_ANSWERS = 3
_END_S = 5
_FIRST_POLL = 16


class _Service(remote_device._DeviceCtlRemoteService):  # type: ignore[misc]
    """Sends requests to the app and waits for answers, as long as `WaitSettings` allows and the app runs."""

    def __init__(self, socket: Any, wait_settings: WaitSettings) -> None:
        super().__init__(socket=socket)
        self._wait = wait_settings

    async def call_method(self, name: str, params: Any, resource: Path | None = None) -> tuple[Any, Path | None]:
        request = remote_device._JSONRPCRequest(id=str(uuid.uuid4()), method=name, params=params)
        limit_s = self._wait.load_s if name == _LOAD else self._wait.answer_s
        try:
            await self._send(request, resource)
            response = await self._receive(request.id, name, limit_s)
        finally:
            if name == _PREDICTION and resource is not None:
                resource.unlink(missing_ok=True)  # the client leaves a copy of all inputs in the temporary folder
        if response.error is not None:
            raise _refusal(response.error.message)
        return response.result, response.resource

    def fire_and_forget(self, name: str, params: Any, resource: Path | None = None) -> None:
        """Do nothing: the client's own unloading of dropped models never runs, and warns. See `PhoneSession.unload`."""

    async def _send(self, request: Any, resource: Path | None) -> None:
        deadline = time.monotonic() + self._wait.send_s
        while True:
            try:
                await asyncio.to_thread(self.socket.send, request, resource)
                return
            except DeviceCtlError as error:
                self._require_app()
                if time.monotonic() > deadline:
                    raise PhoneLostError(f"cannot reach the phone: {error_text(error)}") from error
            await asyncio.sleep(self._wait.poll_s)

    async def _receive(self, identifier: str, name: str, limit_s: float) -> Any:
        deadline, unreadable, pause_s = time.monotonic() + limit_s, 0, self._wait.poll_s / _FIRST_POLL
        while True:
            try:
                return await asyncio.to_thread(self.socket.receive, identifier)
            except DeviceCtlError as error:  # there is no answer yet
                problem = error_text(error)
            except (json.JSONDecodeError, ValueError, KeyError) as error:
                unreadable += 1  # a half-written file may be complete at the next poll
                problem = f"an answer that cannot be read ({error})"
            self._require_app()
            if unreadable >= _UNREADABLE_ANSWERS or time.monotonic() > deadline:
                raise NoAnswerError(f"no answer to {name} within {limit_s:g} s: {problem}")
            await asyncio.sleep(pause_s)  # most answers come at once, loads of large models take minutes
            pause_s = min(2 * pause_s, self._wait.poll_s)

    def _require_app(self) -> None:
        session = self.socket.device.session
        if not session.is_alive():
            raise PhoneLostError(f"the app on the phone has ended: {app_error(session) or 'it does not say why'}")


def _refusal(message: object) -> RuntimeUnavailableError | OutOfMemoryError:
    text = " ".join(str(message).split())
    if _NOT_LOADED in text:  # the app was launched again, without the model
        return PhoneLostError(text)
    if any(word in text.lower() for word in _MEMORY_WORDS):
        return OutOfMemoryError(text)
    return ModelFailedError(text)


async def load(device: Any, compiled: Path, unit: str, wait_settings: WaitSettings) -> Any:
    """Load a compiled model on a prepared device; the result has `predict`, `unload` and more.

    Raises:
        PhoneLostError: The connection or the app is lost.
        ModelFailedError: The phone refuses the model.
        OutOfMemoryError: It does not fit.
    """
    socket = remote_device._DeviceCtlSocket(device=device, source=_APP_FOLDER)
    units = coremltools.ComputeUnit[unit.upper()]
    model = remote_device._RemoteMLModelService(_Service(socket, wait_settings), compiled, units)
    await model.load()
    return model


def connected_device(identifier: str) -> Any:
    """The description that coremltools has of a connected iPhone.

    Raises:
        PhoneLostError: It is not connected.
    """
    with client_errors():
        devices = remote_device.Device.get_connected_devices(remote_device.DeviceType.IPHONE)
    device = next((device for device in devices if device.identifier == identifier), None)
    if device is None:
        raise PhoneLostError("the phone is not connected")
    return device


def credentials(team: str | None, profile: str | None, bundle: str | None) -> Any:
    """How to sign the app, as coremltools expects it."""
    return remote_device.AppSigningCredentials(team or "", profile, bundle)


def app_error(session: Any) -> str:
    """Why an app has ended: the last line on a pipe that the client does not read."""
    with contextlib.suppress(OSError, ValueError):
        return last_line(session._process.stderr.read())
    return ""


def end_app(session: Any) -> None:
    """End an app, and close the pipes that the client leaves open."""
    session.stop()
    process = session._process
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_END_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


def arguments(package: Path) -> Callable[[list[Array]], dict[str, Array]]:
    """A function that turns arguments, in their order, into the inputs of a package: by name, in its types, in C order.

    C order matters: the client sends values in C order, but with the original strides.
    """
    types = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType
    numpy_types = {
        types.FLOAT16: np.float16,
        types.FLOAT32: np.float32,
        types.DOUBLE: np.float64,
        types.INT32: np.int32,
    }
    inputs = load_spec(str(package)).description.input
    wanted = {item.name: numpy_types[item.type.multiArrayType.dataType] for item in inputs}

    def convert(arrays: list[Array]) -> dict[str, Array]:
        pairs = zip(wanted.items(), arrays, strict=True)
        return {name: np.ascontiguousarray(array, dtype) for (name, dtype), array in pairs}

    return convert


@contextlib.contextmanager
def client_errors() -> Iterator[None]:
    """Turn what the client raises about devicectl into `PhoneLostError`."""
    try:
        yield
    except DeviceCtlError as error:
        raise PhoneLostError(error_text(error)) from error


def error_text(error: Exception) -> str:
    """The last line of a client's error, whose message may be text, bytes or empty."""
    return last_line(getattr(error, "message", None) or str(error))
