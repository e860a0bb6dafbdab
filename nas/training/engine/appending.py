"""Files that a run adds to while it trains, and that never end it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)


class AppendedFile:
    """A file that grows by whole records.

    What cannot be written, because the disk is full or the folder is gone, is kept and written with the next record;
    the file never ends in half of one. The first failure is told in a warning, and no failure is more than that.

    Args:
        path: The file; its folder is made where it is missing.
        head: What a new file begins with.
    """

    def __init__(self, path: Path, head: bytes) -> None:
        self.path, self._head = path, head
        self._waiting = b""
        self._told = False

    def add(self, record: bytes) -> None:
        """Write a record at the end, with those that could not be written before."""
        self._waiting += record
        try:
            self._write()
        except OSError as error:
            if not self._told:
                logger.warning("%s: cannot write: %s; training continues without it", self.path, error.strerror)
            self._told = True
        else:
            self._waiting = b""

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(file).st_size
            text = self._waiting if size else self._head + self._waiting
            try:
                while text:
                    text = text[os.write(file, text) :]
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)
