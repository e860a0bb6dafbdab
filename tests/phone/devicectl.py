"""The program `devicectl`, as far as coremltools and a careful user of it need it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.phone import failures
from tests.phone.desk import Desk, PhoneFolder, Record, read_json, write_json
from tests.phone.failures import CommandFailedError
from tests.phone.faults import Fault, take_fault

_FLAGS = frozenset({"--console", "--terminate-existing", "--quiet", "-q", "--verbose", "-v"})
_LONG_NAMES = {"-d": "--device", "-j": "--json-output", "-t": "--timeout"}


class _Command(NamedTuple):
    words: tuple[str, ...]
    options: dict[str, str]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> _Command:
        words: list[str] = []
        options: dict[str, str] = {}
        rest = iter(arguments)
        for argument in rest:
            name, equals, value = argument.partition("=")
            if not name.startswith("-"):
                words.append(argument)
            elif name in _FLAGS:
                options[name] = ""
            else:
                options[_LONG_NAMES.get(name, name)] = value if equals else next(rest)
        return cls(tuple(words), options)


def main(root: str, arguments: Sequence[str]) -> int:
    """Run the program.

    Args:
        root: Folder of the desk.
        arguments: What follows the program's name.

    Returns:
        The exit status.
    """
    status, error = answer(root, arguments)
    sys.stderr.write(error)
    return status


def answer(root: str, arguments: Sequence[str]) -> tuple[int, str]:
    """The program's exit status, and what it prints to standard error."""
    desk, command = Desk(Path(root)), _Command.parse(arguments)
    try:
        if command.words[:2] == ("list", "devices"):
            _list_devices(desk, command)
            return 0, ""
        return _device(desk, command), ""
    except CommandFailedError as error:
        _report(command, error.record(), "failed")
        return 1, f"ERROR: {error.message}\n"


def _list_devices(desk: Desk, command: _Command) -> None:
    phones = desk.phones()
    for phone in phones:
        fault = take_fault(phone, "list_devices")
        desk.log("list_devices", phone, fault=fault.name)
        _happen(fault, phone)
    _report(command, {"result": {"devices": [_description(phone) for phone in phones]}})


def _device(desk: Desk, command: _Command) -> int:
    handler = _HANDLERS.get(command.words[:3])
    phone = desk.find(command.options.get("--device", ""))
    if handler is None:
        raise CommandFailedError(f"unknown command {' '.join(command.words)}", 64)
    if phone is None:
        raise failures.unknown_device()
    kind, run, needs_developer_mode = handler
    fault = take_fault(phone, kind, "devicectl")
    desk.log(kind, phone, fault=fault.name, arguments=command.words[3:], options=command.options)
    _reach(phone, needs_developer_mode)
    _happen(fault, phone)
    result = run(phone, command)
    _report(command, {"result": result})
    if kind == "launch":
        return 1 if fault.name == "app_dies" else _stay(desk, phone, command)
    return 0


def _stay(desk: Desk, phone: PhoneFolder, command: _Command) -> int:
    if "--console" not in command.options:
        raise CommandFailedError("the simulated phone launches with --console only", 64)
    from tests.phone import app  # not for every copy: half of a copy's time is imports

    return app.run(desk, phone, command.words[3])


def _reach(phone: PhoneFolder, needs_developer_mode: bool) -> None:
    state = phone.read()
    if not state["connected"]:
        raise failures.no_connection()
    if state["tunnel"] != "connected":
        phone.update(tunnel="connected")  # any command to a phone that is there opens the tunnel to it
    if needs_developer_mode and not state["developer_mode"]:
        raise failures.developer_mode_disabled()


def _happen(fault: Fault, phone: PhoneFolder) -> None:
    if fault.name == "slow":
        time.sleep(fault.options["delay_s"])
    elif fault.name == "lost_connection":
        raise failures.no_connection()
    elif fault.name == "error":
        raise CommandFailedError(fault.options.get("message", f"the phone {phone.identifier} refuses"), 1)


def _install(phone: PhoneFolder, command: _Command) -> Record:
    import plistlib
    import uuid

    source = Path(command.words[3])
    bundle = plistlib.loads((source / "Info.plist").read_bytes())["CFBundleIdentifier"]
    phone.end_app()  # an app does not outlive being replaced
    (phone.container(bundle) / "Documents").mkdir(parents=True, exist_ok=True)
    phone.app_record(bundle).parent.mkdir(exist_ok=True)
    record = {"bundleID": bundle, "databaseUUID": str(uuid.uuid4()).upper(), "installationURL": source.as_uri()}
    write_json(phone.app_record(bundle), record)
    return {"deviceIdentifier": phone.identifier, "installedApplications": [record]}


def _launch(phone: PhoneFolder, command: _Command) -> Record:
    bundle = command.words[3]
    if not phone.app_record(bundle).exists():
        raise failures.not_installed(bundle)
    if phone.read()["locked"]:
        raise failures.locked(bundle)
    return {"deviceIdentifier": phone.identifier, "process": {"processIdentifier": os.getpid()}}


def _copy_to(phone: PhoneFolder, command: _Command) -> Record:
    source, destination = Path(command.options["--source"]), _inside(phone, command, "--destination")
    if not source.exists():
        raise failures.no_such_file(source)
    _copy(source, destination)
    return _transferred(command)


def _copy_from(phone: PhoneFolder, command: _Command) -> Record:
    source, destination = _inside(phone, command, "--source"), Path(command.options["--destination"])
    if not source.exists():
        raise failures.no_such_file(source)
    _copy(source, destination)
    return _transferred(command)


def _inside(phone: PhoneFolder, command: _Command, option: str) -> Path:
    bundle = command.options["--domain-identifier"]
    if not phone.app_record(bundle).exists():
        raise failures.not_installed(bundle)
    return phone.container(bundle) / command.options[option]


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, temporary)
    if destination.is_dir():
        shutil.rmtree(destination)
    temporary.replace(destination)


def _transferred(command: _Command) -> Record:
    return {"source": command.options["--source"], "destination": command.options["--destination"]}


def _details(phone: PhoneFolder, command: _Command) -> Record:
    return _description(phone)


def _lock_state(phone: PhoneFolder, command: _Command) -> Record:
    return {"passcodeRequired": phone.read()["locked"], "unlockedSinceBoot": True}


def _apps(phone: PhoneFolder, command: _Command) -> Record:
    return {"apps": [read_json(path) for path in sorted(phone.path.glob("apps/*.json"))]}


def _description(phone: PhoneFolder) -> Record:
    state = phone.read()
    return {
        "identifier": phone.identifier,
        "connectionProperties": {
            "pairingState": "paired",
            "transportType": "wired",
            "tunnelState": state["tunnel"] if state["connected"] else "unavailable",
        },
        "deviceProperties": {
            "developerModeStatus": "enabled" if state["developer_mode"] else "disabled",
            "name": state["name"],
            "osBuildUpdate": state["build"],
            "osVersionNumber": state["os"],
        },
        "hardwareProperties": {
            "deviceType": "iPhone",
            "platform": "iOS",
            "productType": state["model"],
            "reality": "physical",
            "udid": state["udid"],
        },
    }


def _report(command: _Command, record: Record, outcome: str = "success") -> None:
    if "--json-output" in command.options:
        info = {"commandType": f"devicectl.{'.'.join(command.words[:3])}", "jsonVersion": 2, "outcome": outcome}
        Path(command.options["--json-output"]).write_text(json.dumps({"info": info} | record))


_Handler = tuple[str, Callable[[PhoneFolder, _Command], Record], bool]
# Kind of call, what to do, and whether the phone refuses it outside developer mode.
_HANDLERS: dict[tuple[str, ...], _Handler] = {
    ("device", "install", "app"): ("install", _install, True),
    ("device", "process", "launch"): ("launch", _launch, True),
    ("device", "copy", "to"): ("copy_to", _copy_to, True),
    ("device", "copy", "from"): ("copy_from", _copy_from, True),
    ("device", "info", "details"): ("info", _details, False),
    ("device", "info", "lockState"): ("info", _lock_state, False),
    ("device", "info", "apps"): ("info", _apps, True),
}
