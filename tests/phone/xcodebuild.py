"""The programs `xcodebuild`, which makes an app folder, and `xcrun`, which runs another program."""

from __future__ import annotations

import plistlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.phone import devicectl
from tests.phone.desk import Desk, PhoneFolder
from tests.phone.faults import take_fault

_SIGNING = (
    'error: Signing for "modelrunner" requires a development team. Select a development team in the Signing & '
    "Capabilities editor. (in target 'modelrunner' from project 'modelrunner')"
)


def main(root: str, arguments: Sequence[str]) -> int:
    """Build the app: a folder with the one file that says what it is.

    Args:
        root: Folder of the desk.
        arguments: What follows the program's name.

    Returns:
        The exit status, 65 for a failed build.
    """
    desk = Desk(Path(root))
    phone = _phone(desk, arguments)
    fault = take_fault(phone, "build")
    desk.log("build", phone, fault=fault.name, arguments=list(arguments))
    if fault.name == "slow":
        time.sleep(fault.options["delay_s"])
    elif fault.name in ("signing", "error"):
        sys.stdout.write(f"{fault.options.get('message', _SIGNING)}\n\n** BUILD FAILED **\n")
        return 65
    _write_app(dict(argument.split("=", 1) for argument in arguments if re.match(r"[A-Z_]+=", argument)))
    sys.stdout.write("** BUILD SUCCEEDED **\n")
    return 0


def xcrun(root: str, arguments: Sequence[str]) -> int:
    """Run the program that the first argument names.

    Args:
        root: Folder of the desk.
        arguments: What follows the program's name.

    Returns:
        The exit status, 72 where there is no such program.
    """
    if arguments[:1] == ["devicectl"]:
        return devicectl.main(root, arguments[1:])
    if arguments[:1] == ["xcodebuild"]:
        return main(root, arguments[1:])
    sys.stderr.write(f'xcrun: error: unable to find utility "{arguments[0]}", not a developer tool or in PATH\n')
    return 72


def _phone(desk: Desk, arguments: Sequence[str]) -> PhoneFolder:
    destination = arguments[list(arguments).index("-destination") + 1]
    phone = desk.find(destination.partition("id=")[2])
    if phone is None:
        raise SystemExit(f"xcodebuild: error: Unable to find a device matching the destination {destination}")
    return phone


def _write_app(settings: dict[str, str]) -> None:
    app = Path(settings["SYMROOT"]) / "Release-iphoneos" / "modelrunner.app"
    app.mkdir(parents=True, exist_ok=True)
    information = {"CFBundleIdentifier": settings["PRODUCT_BUNDLE_IDENTIFIER"], "CFBundleName": "modelrunner"}
    (app / "Info.plist").write_bytes(plistlib.dumps(information))
