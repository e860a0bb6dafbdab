"""A phone on the desk: what a test works with."""

from __future__ import annotations

import shlex
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coremltools import ComputeUnit
from coremltools.models.utils import load_spec

from tests.phone import latency
from tests.phone.compiler import program
from tests.phone.desk import Desk, PhoneFolder, Record, write_json
from tests.phone.faults import Faults
from tests.phone.patches import patched_client

TIME_SCALE = 0.1
_REPOSITORY = Path(__file__).parents[2]
_PROGRAMS = {
    "devicectl": ("tests.phone.devicectl", "main"),
    "xcodebuild": ("tests.phone.xcodebuild", "main"),
    "xcrun": ("tests.phone.xcodebuild", "xcrun"),
}
# -I and -S: nothing but the standard library, whatever the environment says; it starts in a third of the time.
_LAUNCHER = '#!/bin/sh\nexec {python} -IS {script} "$@"\n'
_SCRIPT = """\
import sys
sys.path.insert(0, {repository!r})
from {module} import {function}
sys.exit({function}({desk!r}, sys.argv[1:]))
"""


class SimulatedPhone:
    """A phone that is plugged in within a `with` block.

    Phones with the same `folder` lie on one desk: the client sees all that are in their blocks.

    Args:
        folder: Where files go, such as pytest's `tmp_path`.
        name: What its owner calls it.
        model: Model of the hardware.
        os: Version of the system.
        build: Build of the system.
        seed: Of the noise.
        noise: Spread of the latency from call to call, as a fraction.
        jitter_ms: Spread of what each call takes longer, however short it is; 0.1 is what is published of phones.
        load_spread: Spread of the latency from load to load, as a fraction.
        cold_factor: What the first prediction after a load takes, in multiples of the next.
        time_scale: What the client's waits are multiplied by; 1 for its own pace.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "Test iPhone",
        model: str = "iPhone17,2",
        os: str = "18.1",
        build: str = "22B83",
        *,
        seed: int = 0,
        noise: float = 0.003,
        jitter_ms: float = 0.0,
        load_spread: float = 0.0,
        cold_factor: float = 1.0,
        time_scale: float = TIME_SCALE,
    ) -> None:
        root = folder.resolve() / "desk"
        self.desk = Desk(root)
        self.identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, name)).upper()
        self.udid = "00008140-" + uuid.uuid5(uuid.NAMESPACE_URL, name).hex[:16].upper()
        self.name = name
        self._folder = PhoneFolder(root / "phones" / self.identifier)
        self.faults = Faults(self._folder)
        self._time_scale = time_scale
        self._stack = ExitStack()
        self._properties = {"name": name, "udid": self.udid, "model": model, "os": os, "build": build}
        self._clock = {
            "seed": seed,
            "noise": noise,
            "jitter_ms": jitter_ms,
            "load_spread": load_spread,
            "cold_factor": cold_factor,
        }

    def __enter__(self) -> Self:
        self._folder.path.mkdir(parents=True, exist_ok=True)
        state = {"connected": True, "tunnel": "connected", "locked": False, "developer_mode": True}
        state |= {"throttle": 1.0, "launch": 0}
        write_json(self._folder.path / "phone.json", self._properties | self._clock | state)
        programs, project = _write_programs(self.desk), _write_project(self.desk)
        self._stack.enter_context(patched_client(self.desk.path, programs, project, self._time_scale))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        # The app ends when it finds this gone; calls that are still under way then fail.
        (self._folder.path / "phone.json").unlink()

    def calls(self, kind: str | None = None) -> list[Record]:
        """What was asked of this phone so far.

        Args:
            kind: A kind of call as in `faults`, or a method such as `MLModelService.Prediction`; None for all.

        Returns:
            Records with `time`, `kind`, `fault`, and more according to the kind.
        """
        calls = [call for call in self.desk.calls() if call["phone"] == self.identifier]
        return [call for call in calls if kind in (None, call["kind"], call.get("method"))]

    def true_latency_ms(self, package: Path, compute_unit: ComputeUnit | str = ComputeUnit.ALL) -> float:
        """What a prediction takes, without noise, throttling and cold start.

        Args:
            package: A converted model, `.mlpackage`.
            compute_unit: As coremltools has it, or its name, such as `CPU_AND_NE`.
        """
        units = compute_unit if isinstance(compute_unit, str) else compute_unit.name
        return latency.latency_ms(program(load_spec(str(package)))["operations"], units)

    def unplug(self) -> None:
        """Pull the cable. The app, which devicectl keeps on a console, goes with the connection."""
        self._set(connected=False)
        self._folder.end_app()

    def plug_in(self) -> None:
        """Put the cable back. The app has to be launched again."""
        self._set(connected=True, tunnel="connected")

    def let_tunnel_sleep(self) -> None:
        """Show as `disconnected`, as idle phones on a cable do, until any command but `list` wakes the tunnel."""
        self._set(tunnel="disconnected")

    def lock(self) -> None:
        """Lock the screen: launches fail, and a running app is suspended, so that it answers nothing."""
        self._set(locked=True)

    def unlock(self) -> None:
        """Unlock the screen: the app goes on with what was asked meanwhile."""
        self._set(locked=False)

    def set_developer_mode(self, enabled: bool) -> None:
        """Without it, the phone refuses everything but to say what it is."""
        self._set(developer_mode=enabled)

    def throttle(self, factor: float) -> None:
        """Take that many times as long from now on; 1 for a cool phone."""
        self._set(throttle=factor)

    def kill_app(self) -> None:
        """End the running app at once, as the system or the owner may."""
        self._folder.end_app()

    def _set(self, **changes: Any) -> None:
        self._folder.update(**changes)


def _write_programs(desk: Desk) -> Path:
    folder = desk.path / "bin"
    folder.mkdir(exist_ok=True)
    for name, (module, function) in _PROGRAMS.items():
        values = {"repository": str(_REPOSITORY), "module": module, "function": function, "desk": str(desk.path)}
        script = folder / f"{name}.py"
        script.write_text(_SCRIPT.format(**values))
        launcher = folder / name
        launcher.write_text(_LAUNCHER.format(python=shlex.quote(sys.executable), script=shlex.quote(str(script))))
        launcher.chmod(0o755)
    return folder


def _write_project(desk: Desk) -> Path:
    folder = desk.path / "modelrunner"
    (folder / "ModelRunner.xcworkspace").mkdir(parents=True, exist_ok=True)
    return folder
