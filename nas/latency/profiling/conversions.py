"""Converted modules on disk: made once, by as many processes as are at it, kept until they are measured."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import OutOfMemoryError
from nas.files import fingerprint, lock, write_text
from nas.runtimes import memory_guard

if TYPE_CHECKING:
    from nas.runtimes import Executable, Runtime
    from nas.runtimes.networks import Convertible

POLL_S = 0.2

Make = Callable[[], "Convertible"]
"""Builds a module with its example inputs; called where it is needed, so that one module at a time is in memory."""


class Conversions:
    """A folder of converted modules for one runtime.

    Several processes may work on one folder: each module is claimed through a lock that the system takes back
    from a process that ends, so that a killed one holds nothing up. Conversion is most of the time that profiling
    takes, and the part that more processes make faster; measuring is for one at a time.

    Args:
        folder: The folder; made where it is missing.
        runtime: What converts. One that has no files is converted when it is loaded.
    """

    def __init__(self, folder: str | Path, runtime: Runtime) -> None:
        self.folder, self.runtime = Path(folder), runtime

    def convert(self, modules: Mapping[str, Make], advance: Callable[[str], None]) -> None:
        """Convert what nobody has converted yet, and wait for what others are converting.

        Args:
            modules: What to convert, by a name that says all that decides the result.
            advance: Called with the name of each module that is ready.

        Raises:
            RuntimeUnavailableError: The runtime refuses a module.
            StorageError: The folder cannot be written.
        """
        waiting = dict(modules)
        while waiting:
            ready = [name for name, make in waiting.items() if self._ready(name) or self._claim(name, make)]
            for name in ready:
                del waiting[name]
                advance(name)
            if waiting and not ready:
                time.sleep(POLL_S)

    def load(self, name: str, make: Make) -> Executable:
        """Load a converted module; raises `OutOfMemoryError` where it, or its conversion, does not fit."""
        self.require_memory(name)
        with memory_guard():
            if self.runtime.suffix is not None:
                return self.runtime.load(self._path(name))
            module = make()
            return self.runtime.prepare(module.module, module.inputs, module.names, self.folder)

    def require_memory(self, name: str) -> None:
        """Raise `OutOfMemoryError` where a module could not be converted for want of memory."""
        note = self._note(name)
        if note.is_file():
            raise OutOfMemoryError(note.read_text(encoding="utf-8"))

    def converted(self, name: str) -> bool:
        """Whether a module lies converted on disk."""
        return self.runtime.suffix is not None and self._path(name).exists()

    def package_bytes(self, name: str) -> int | None:
        """Size of a converted module on disk, weights in files beside it included; `None` where there is no file."""
        if not self.converted(name):
            return None
        ours = (file for file in self._path(name).parent.rglob("*") if file.is_file() and file.suffix != ".lock")
        return sum(file.stat().st_size for file in ours)

    def path(self, name: str) -> Path:
        """Where a converted module lies, or would."""
        return self._path(name)

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ready(self, name: str) -> bool:
        return self.runtime.suffix is None or self._path(name).exists() or self._note(name).is_file()

    def _claim(self, name: str, make: Make) -> bool:
        path = self._path(name)
        with lock(path.with_suffix(".lock"), wait=False) as mine:
            if mine and not self._ready(name):
                self._convert(name, make, path)
            return mine

    def _convert(self, name: str, make: Make, path: Path) -> None:
        try:
            with memory_guard():
                module = make()
                self.runtime.convert(module.module, module.inputs, module.names, path)
        except OutOfMemoryError as error:
            write_text(self._note(name), str(error))

    def _path(self, name: str) -> Path:
        settings = self.runtime.settings
        # Threads decide how fast a file runs, not what is in it.
        digest = fingerprint([name, settings.runtime, settings.precision, settings.compute_unit, settings.opset])
        return self.folder / digest / f"module{self.runtime.suffix or ''}"

    def _note(self, name: str) -> Path:
        return self._path(name).parent / "out_of_memory.txt"
