"""Where the bytes of a video or an image are: a whole file, or a part of a larger one."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nas.errors import DataError


@dataclass(frozen=True)
class Media:
    """A video or an image. Its bytes are read when they are needed, never all at once.

    Args:
        where: Its name in messages.
        path: The file that holds it.
        offset: Position of its first byte.
        size: Number of bytes; all to the end of the file if `None`.
        is_image: Whether it is read as one frame.
    """

    where: Path
    path: Path
    offset: int = 0
    size: int | None = None
    is_image: bool = False

    @classmethod
    def file(cls, path: Path) -> Media:
        """A video file."""
        return cls(path, path)

    @property
    def is_part(self) -> bool:
        """Whether it is only a part of the file."""
        return self.size is not None

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open its bytes for reading.

        Raises:
            DataError: The file cannot be opened.
        """
        try:
            file = self.path.open("rb")
        except (OSError, ValueError) as problem:
            raise DataError(f"cannot be read: {getattr(problem, 'strerror', problem)}", where=self.where) from problem
        with file:
            yield file if self.size is None else Part(file, self.offset, self.size)

    def begins_with(self) -> tuple[bytes, int]:
        """The first 4 KiB, and the number of bytes; raises as `open`."""
        with self.open() as file:
            return file.read(4096), file.seek(0, os.SEEK_END)


class Part(io.RawIOBase, BinaryIO):
    """A stretch of an open file that is read as if it were a file.

    Args:
        file: The file.
        offset: Where the stretch begins.
        size: How many bytes it has.
    """

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        super().__init__()
        self._file, self._offset, self._size = file, offset, size
        self._place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The place in the stretch."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the stretch, counted as for any file."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(start + offset, 0)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, as far as the stretch goes."""
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:  # a damaged header may lead to places that no file has
            return 0
        self._file.seek(self._offset + self._place)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
