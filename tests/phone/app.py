"""The app on the phone: takes requests from its folder, one after another, and lays answers beside them.

It runs in the process of `devicectl device process launch --console`, which lives as long as the app does.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.phone.desk import Desk, PhoneFolder, Record, write_json
from tests.phone.faults import Fault, take_fault
from tests.phone.service import Answer, ModelService, RequestError

_TICK_S = 0.004
_KINDS = {
    "MLModelService.Load": "load",
    "MLModelService.Prediction": "prediction",
    "MLModelService.ComputePlan": "compute_plan",
    "MLModelService.Unload": "unload",
}
_INTERNAL_ERROR = -32603


class _AppDiedError(Exception):
    """The app is no more."""


def run(desk: Desk, phone: PhoneFolder, bundle: str) -> int:
    """Answer requests until the app ends.

    Args:
        desk: Where to log.
        phone: The phone that it runs on.
        bundle: Which app it is, that is, whose files.

    Returns:
        What devicectl exits with: 0 when the app was ended from outside, 1 when it crashed.
    """
    running = _App(desk, phone, phone.container(bundle) / "Documents" / "modelrunnerd")
    try:
        while running.alive():
            running.tick()
            time.sleep(_TICK_S)
    except _AppDiedError:
        return 1
    return 0


class _App:
    def __init__(self, desk: Desk, phone: PhoneFolder, folder: Path) -> None:
        self._desk = desk
        self._phone = phone
        self._folder = folder
        self._launch: int = phone.read()["launch"]
        self._service = ModelService(phone)

    def alive(self) -> bool:
        launch: int | None = self._state().get("launch")
        return launch == self._launch

    def tick(self) -> None:
        if self._state().get("locked", True):
            return  # the system has suspended the app
        for path in sorted(self._folder.glob("requests/messages/*/message.json")):
            request = json.loads(path.read_text())
            shutil.rmtree(path.parent)
            self._handle(request)

    def _state(self) -> Record:
        try:
            return self._phone.read()
        except FileNotFoundError:
            return {}  # the test is over and has taken the phone away

    def _handle(self, request: Record) -> None:
        method: str = request["method"]
        kind = _KINDS.get(method, method)
        resource = self._resource(request)
        operations = self._service.operations(request["params"], resource)
        fault = take_fault(self._phone, kind, "rpc", operations=operations)
        self._desk.log(kind, self._phone, method=method, params=request["params"], fault=fault.name)
        self._before(fault)
        if fault.name == "no_answer":
            return
        answer = self._answer(lambda: self._service.handle(method, request["params"], resource, fault))
        self._lay(request["id"], answer, fault)

    def _resource(self, request: Record) -> Path | None:
        name = request.get("resource")
        return None if name is None else self._folder / "requests" / "resources" / request["id"] / name

    def _before(self, fault: Fault) -> None:
        if fault.name in ("app_dies", "out_of_memory_kill"):
            raise _AppDiedError
        if fault.name == "slow":
            end = time.monotonic() + fault.options["delay_s"]
            while time.monotonic() < end and self.alive():
                time.sleep(_TICK_S)
            if not self.alive():
                raise _AppDiedError

    def _answer(self, ask: Callable[[], Answer]) -> tuple[Record, bytes | None]:
        try:
            answer = ask()
        except RequestError as error:
            return {"error": {"code": error.code or _INTERNAL_ERROR, "message": str(error)}}, None
        return {"result": answer.result}, answer.data

    def _lay(self, identifier: str, answer: tuple[Record, bytes | None], fault: Fault) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": identifier} | answer[0]
        folder = self._folder / "responses" / identifier
        folder.mkdir(parents=True)
        if answer[1] is not None:
            message["resource"] = message["result"]["resource"]
            (folder / message["resource"]).write_bytes(answer[1])
        if fault.name == "malformed":
            (folder / "message.json").write_text(json.dumps(message)[:-20])
        else:
            write_json(folder / "message.json", message)
