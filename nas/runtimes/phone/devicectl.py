"""Phones that Xcode's `devicectl` lists, with what coremltools leaves out: their model, and whether they are locked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import RuntimeUnavailableError

TIMEOUT_S = 60
_NO_MAC_HINT = "connect it to a Mac with Xcode, see docs/iphone.md; `nas latency estimate` estimates its latencies here"
_TOOLS_HINT = "install Xcode, open it once, and run: sudo xcode-select -s /Applications/Xcode.app"


@dataclass(frozen=True)
class ConnectedPhone:
    """An iPhone, as devicectl describes it.

    Args:
        name: What its owner calls it.
        model: Identifier of its model, e.g. `iPhone17,2`.
        os_version: Version of iOS.
        os_build: Build of iOS.
        identifier: Identifier that devicectl takes.
        udid: Identifier of the hardware.
        connected: Whether it can be reached now.
        developer_mode: Whether developer mode is on; `None` if devicectl does not report it.
        locked: Whether its screen is locked; `None` likewise.
    """

    name: str
    model: str
    os_version: str
    os_build: str
    identifier: str
    udid: str
    connected: bool
    developer_mode: bool | None
    locked: bool | None

    @property
    def description(self) -> str:
        """The device of a latency table: another build of iOS may run the same model at another speed."""
        return f"{self.name}, {self.model}, iOS {self.os_version} ({self.os_build})"

    def obstacle(self) -> str | None:
        """Why nothing can be measured on it now, and what to do; `None` if it is ready."""
        if not self.connected:
            return "is not connected: plug it in, unlock it, and trust this Mac when it asks"
        if self.developer_mode is False:
            return "is not in developer mode: switch it on in Settings > Privacy & Security > Developer Mode"
        if self.locked:
            return "is locked: unlock it, and set Settings > Display & Brightness > Auto-Lock to Never while measuring"
        return None


def unavailable_reason() -> str | None:
    """Why no phone can be reached from this machine; `None` if one can be."""
    if shutil.which("devicectl") and shutil.which("xcrun"):
        return None
    if sys.platform != "darwin":
        return f"iPhones are reached through a Mac with Xcode, this is {sys.platform}"
    return "devicectl is missing: it comes with Xcode 15 and later"


def list_phones() -> tuple[ConnectedPhone, ...]:
    """The iPhones that are paired with this machine, connected or not.

    Raises:
        RuntimeUnavailableError: devicectl is missing here, or fails.
    """
    reason = unavailable_reason()
    if reason is not None:
        raise RuntimeUnavailableError(reason, hint=_TOOLS_HINT if sys.platform == "darwin" else _NO_MAC_HINT)
    listed = _iphones()
    # An idle phone is listed as disconnected until another command, such as this query, wakes the tunnel to it.
    reachable = [device for device in listed if _tunnel(device) in ("connected", "disconnected")]
    states = {_identifier(device): _lock_state(device) for device in reachable}
    if any(_tunnel(device) == "disconnected" for device in listed):
        listed = _iphones()
    return tuple(_phone(device, states.get(_identifier(device))) for device in listed)


def find_phone(name: str) -> ConnectedPhone:
    """The connected phone with this name, identifier or UDID; it may be locked.

    Raises:
        RuntimeUnavailableError: There is none, or developer mode is off; the message lists the connected phones.
    """
    phones = list_phones()
    phone = next((phone for phone in phones if name in (phone.name, phone.identifier, phone.udid)), None)
    if phone is None or not phone.connected:
        connected = ", ".join(repr(phone.name) for phone in phones if phone.connected) or "none"
        what = f"iPhone {name!r} is not connected (connected: {connected})"
        raise RuntimeUnavailableError(what, hint="plug it in and unlock it; list the phones with nas devices")
    if phone.developer_mode is False:
        raise RuntimeUnavailableError(f"iPhone {name!r} {phone.obstacle()}")
    return phone


def _iphones() -> list[Mapping[str, Any]]:
    devices = _run("list", "devices").get("devices", [])
    return [device for device in devices if device.get("hardwareProperties", {}).get("deviceType") == "iPhone"]


def _phone(device: Mapping[str, Any], locked: bool | None) -> ConnectedPhone:
    properties, hardware = device.get("deviceProperties", {}), device["hardwareProperties"]
    mode = properties.get("developerModeStatus")
    return ConnectedPhone(
        name=properties.get("name", ""),
        model=hardware.get("productType", "iPhone"),
        os_version=properties.get("osVersionNumber", ""),
        os_build=properties.get("osBuildUpdate", ""),
        identifier=_identifier(device),
        udid=hardware.get("udid", ""),
        connected=_tunnel(device) == "connected",
        developer_mode=None if mode is None else mode == "enabled",
        locked=locked,
    )


def _identifier(device: Mapping[str, Any]) -> str:
    return str(device.get("identifier", ""))


def _tunnel(device: Mapping[str, Any]) -> str:
    return str(device.get("connectionProperties", {}).get("tunnelState", ""))


def _lock_state(device: Mapping[str, Any]) -> bool | None:
    """Whether a phone is locked; `None` if it does not report it, as older systems do not."""
    try:
        state = _run("device", "info", "lockState", "--device", _identifier(device))
    except RuntimeUnavailableError:
        return None
    locked = state.get("passcodeRequired")
    return locked if isinstance(locked, bool) else None


def _run(*arguments: str) -> Mapping[str, Any]:
    """The answer of devicectl, as JSON in a file; its printed output is for people, and changes."""
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        file = Path(folder) / "answer.json"
        command = ["xcrun", "devicectl", *arguments, "--json-output", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
            if done.returncode == 0:
                result: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))["result"]
                return result
            problem = last_line(done.stderr) or f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"no answer within {TIMEOUT_S} s"
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"its answer cannot be read: {error}"
    raise RuntimeUnavailableError(f"devicectl {' '.join(arguments[:3])} failed: {problem}")


def last_line(text: str | bytes | None) -> str:
    """The last line of a program's output that is not empty."""
    plain = text.decode(errors="replace") if isinstance(text, bytes) else text or ""
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ") if lines else ""
