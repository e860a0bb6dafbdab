"""`nas devices`: the devices that latencies can be measured on."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from nas.cli._common import JsonOption, emit_json

if TYPE_CHECKING:
    from nas.runtimes import Device

_TITLES = {"processor": "this processor", "iphone": "iPhone"}
_NAMES = {"coreml": "Core ML", "coreai": "Core AI"}


def devices(as_json: JsonOption = False) -> None:
    """List the devices that latencies can be measured on, and say what to do about those that are not ready.

    The last lines name the devices whose latencies can be estimated without them.
    """
    from nas.latency.estimating.chips import PHONES
    from nas.runtimes import devices as list_devices

    listed = list_devices()
    if as_json:
        ready = [asdict(device) | {"ready": device.ready} for device in listed]
        emit_json({"devices": ready, "estimated": [*PHONES]})
        return
    for device in listed:
        typer.echo(_line(device))
        typer.echo(f"    {device.hint}")
    typer.echo(f"estimates, not measured: {len(PHONES)} devices of Apple, without any of them")
    typer.echo("    nas latency estimate SPACE --device NAME")
    names = textwrap.fill(", ".join(PHONES), 100, break_on_hyphens=False)
    typer.echo(textwrap.indent(f"NAME is one of\n{names}", "    "))


def _line(device: Device) -> str:
    """A device in one line: its kind, name and details, and whether it is ready."""
    phone = device.phone
    details = "" if phone is None else f", {phone.model}, iOS {phone.os_version} ({phone.os_build})"
    name = "" if device.name is None else f" {device.name}{details}"
    state = f"none: {device.reason}" if phone is None else f"not now: it {device.reason}"
    if device.ready:
        state = f"ready for {' and '.join(device.runtimes)}"
    return f"{_title(device)}{name}: {state}"


def _title(device: Device) -> str:
    """What a device is; without a Mac, there is only the runtime to name."""
    if device.kind != "mac":
        return _TITLES[device.kind]
    runtime = _NAMES[device.runtimes[0]]
    return runtime if device.name is None else f"this Mac through {runtime},"
