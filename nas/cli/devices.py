"""`nas devices`: the devices that latencies can be measured on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from nas.cli._common import JsonOption, emit_json

if TYPE_CHECKING:
    from nas.runtimes import Device

_TITLES = {"processor": "this processor", "mac": "this Mac", "iphone": "iPhone"}
_NAMES = {"coreml": "Core ML", "coreai": "Core AI"}


def devices(as_json: JsonOption = False) -> None:
    """List the devices that latencies can be measured on, and say what to do about those that are not ready."""
    from nas.runtimes import devices as list_devices

    listed = list_devices()
    if as_json:
        emit_json({"devices": [asdict(device) | {"ready": device.ready} for device in listed]})
        return
    for device in listed:
        typer.echo(_line(device))
        typer.echo(f"    {device.hint}")


def _line(device: Device) -> str:
    """A device in one line: its kind, name and details, and whether it is ready."""
    phone = device.phone
    details = "" if phone is None else f", {phone.model}, iOS {phone.os_version} ({phone.os_build})"
    name = "" if device.name is None else f" {device.name}{details}"
    through = f" through {_NAMES[device.runtimes[0]]}" if device.kind == "mac" else ""
    state = f"none: {device.reason}" if phone is None else f"not now: it {device.reason}"
    if device.ready:
        state = f"ready for {' and '.join(device.runtimes)}"
    return f"{_TITLES[device.kind]}{name}{through}: {state}"
