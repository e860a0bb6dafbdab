"""What lies on the desk: phones, each of them a folder of files that the programs and the test share."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

Record = dict[str, Any]


class PhoneFolder(NamedTuple):
    """The state of one phone on disk.

    Args:
        path: Its folder. Below it lie `phone.json` (properties and state), `faults.json`, `apps/` (one file per
            installed app) and `containers/` (the files of each app).
    """

    path: Path

    @property
    def identifier(self) -> str:
        """Identifier that devicectl uses, which is also the name of the folder."""
        return self.path.name

    def read(self) -> Record:
        """Properties and state. Needs no lock, since files are replaced in one step."""
        return read_json(self.path / "phone.json")

    def update(self, **changes: Any) -> None:
        """Change parts of the state."""
        with self.locked():
            write_json(self.path / "phone.json", self.read() | changes)

    def end_app(self) -> None:
        """End the running app, if any: it goes on only while the number of the launch stays what it was."""
        with self.locked():
            state = self.read()
            write_json(self.path / "phone.json", state | {"launch": state["launch"] + 1})

    def container(self, bundle: str) -> Path:
        """Folder of the files of an app."""
        return self.path / "containers" / bundle

    def app_record(self, bundle: str) -> Path:
        """File that says that an app is installed."""
        return self.path / "apps" / f"{bundle}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the state meanwhile."""
        with (self.path / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Desk(NamedTuple):
    """All phones, and the log of what was done with them.

    Args:
        path: Folder with `phones/`, `bin/` (the programs) and `calls.jsonl` (the log).
    """

    path: Path

    def phones(self) -> list[PhoneFolder]:
        """Every phone that was ever plugged in."""
        return [PhoneFolder(item.parent) for item in sorted(self.path.glob("phones/*/phone.json"))]

    def find(self, name: str) -> PhoneFolder | None:
        """The phone with this identifier, UDID or name."""
        for phone in self.phones():
            state = phone.read()
            if name in (phone.identifier, state["udid"], state["name"]):
                return phone
        return None

    def log(self, kind: str, phone: PhoneFolder | None, **details: Any) -> None:
        """Note a call. One write of one line, so that processes cannot tear each other's lines apart."""
        record = {"time": time.time(), "kind": kind, "phone": None if phone is None else phone.identifier}
        with (self.path / "calls.jsonl").open("a") as file:
            file.write(json.dumps(record | details) + "\n")

    def calls(self) -> list[Record]:
        """The log so far, oldest first."""
        path = self.path / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_json(path: Path) -> Record:
    """A file's record."""
    record: Record = json.loads(path.read_text())
    return record


def write_json(path: Path, record: Any) -> None:
    """Replace a file in one step, so that no reader ever meets half of it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(record))
    temporary.replace(path)
