"""`nas devices`: what latencies can be measured on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from nas.cli._common import JsonOption, emit_json

if TYPE_CHECKING:
    from nas.runtimes import Device

_TITLES = {"processor": "this processor", "mac": "this Mac", "iphone": "iPhone"}


def devices(as_json: JsonOption = False) -> None:
    """List what latencies can be measured on, here and now, and what is in the way of the rest."""
    from nas.runtimes import devices as find_devices

    found = find_devices()
    if as_json:
        emit_json({"devices": [asdict(each) | {"ready": each.ready} for each in found]})
        return
    for each in found:
        typer.echo(_line(each))
        typer.echo(f"    {each.hint}")


def _line(device: Device) -> str:
    """A device in one line: what it is, its name and particulars, and whether it can be measured on."""
    phone = device.phone
    about = "" if phone is None else f", {phone.model}, iOS {phone.os_version} ({phone.os_build})"
    name = "" if device.name is None else f" {device.name}{about}"
    state = f"ready for {' and '.join(device.runtimes)}" if device.ready else f"not now: it {device.reason}"
    if device.name is None:
        state = f"none: {device.reason}"
    return f"{_TITLES[device.kind]}{name}: {state}"
