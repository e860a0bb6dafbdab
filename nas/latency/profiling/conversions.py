"""Converted modules on disk: made once, by one or several processes, and kept until they are measured."""

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
"""Builds a module with its example inputs; called late, so that one module at a time is in memory."""


class Conversions:
    """A folder of converted modules for one runtime.

    Several processes may work on one folder. A process claims a module through a lock, which the system releases
    when the process ends, so a killed process blocks nothing. Conversion takes most of the time of profiling, and
    more processes make it faster. Only one process at a time may measure.

    Args:
        folder: The folder; made if it is missing.
        runtime: What converts. A runtime without files converts a module when it is loaded.
    """

    def __init__(self, folder: str | Path, runtime: Runtime) -> None:
        self.folder, self.runtime = Path(folder), runtime

    def convert(self, modules: Mapping[str, Make], advance: Callable[[str], None]) -> None:
        """Convert the modules that no process has converted yet, and wait for those that others are converting.

        Args:
            modules: What to convert, by a name that contains everything the result depends on.
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
        """Load a converted module; raises `OutOfMemoryError` if it, or its conversion, does not fit."""
        self.require_memory(name)
        with memory_guard():
            if self.runtime.suffix is not None:
                return self.runtime.load(self._path(name))
            module = make()
            return self.runtime.prepare(module.module, module.inputs, module.names, self.folder)

    def require_memory(self, name: str) -> None:
        """Raise `OutOfMemoryError` if a module could not be converted because memory ran out."""
        note = self._note(name)
        if note.is_file():
            raise OutOfMemoryError(note.read_text(encoding="utf-8"))

    def converted(self, name: str) -> bool:
        """Whether a converted module is stored on disk."""
        return self.runtime.suffix is not None and self._path(name).exists()

    def package_bytes(self, name: str) -> int | None:
        """Size of a converted module on disk, with weights in separate files; `None` if there is no file."""
        if not self.converted(name):
            return None
        files = (file for file in self._path(name).parent.rglob("*") if file.is_file() and file.suffix != ".lock")
        return sum(file.stat().st_size for file in files)

    def path(self, name: str) -> Path:
        """Path of a converted module, whether it exists or not."""
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
        # The number of threads changes the speed of a file, not its content.
        digest = fingerprint([name, settings.runtime, settings.precision, settings.compute_unit, settings.opset])
        return self.folder / digest / f"module{self.runtime.suffix or ''}"

    def _note(self, name: str) -> Path:
        return self._path(name).parent / "out_of_memory.txt"
