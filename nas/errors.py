"""The exception family of nas.

Every mistake that a user can make is a `NasError` whose text is one line: what is wrong, where it is (file, key,
value), and what to do about it. The command line prints that line and exits with code 2. The Python API raises the
exception. Any other exception is a defect of nas itself.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path


class NasError(Exception):
    """A problem the user can solve.

    Args:
        what: What is wrong, in a few words, with what was given and what was expected.
        where: The file, and the key inside it if that helps, e.g. `space.yaml: slots[2].stage`.
        hint: What to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | Path | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint
        super().__init__(self._line())

    def _line(self) -> str:
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        line = line if self.hint is None else f"{line.rstrip('.')}; {self.hint}"
        return " ".join(line.split())


class ConfigError(NasError):
    """A configuration file is malformed, or holds an unknown key or an impossible value."""


class ArchitectureError(NasError):
    """An architecture does not belong to the search space it is used with."""


class DataError(NasError):
    """A video, a captions file or a data folder cannot be used."""


class TableError(NasError):
    """A latency table is corrupt, belongs to something else, or lacks a block."""


class RuntimeUnavailableError(NasError):
    """A runtime cannot measure here, or a converter cannot be used."""


class OutOfMemoryError(NasError):
    """A module needs more memory than there is."""


class CheckpointError(NasError):
    """A checkpoint or model folder is damaged, or belongs to another space or configuration."""


class TrainingError(NasError):
    """A training run diverged; its last checkpoint is kept."""


class BudgetError(NasError):
    """No architecture of the space can meet the budget."""


class StorageError(NasError):
    """Results cannot be stored: the disk is full, read-only, or the study's storage cannot be opened."""


_ALLOCATIONS = re.compile(r"bad_alloc|out of memory|(can't|cannot|failed to|unable to) allocate memory", re.IGNORECASE)


def allocation_failure(error: BaseException) -> str | None:
    """The message of a failed memory allocation in an error or its causes; `None` if there is none.

    Python, the system, torch and ONNX Runtime have different errors for a failed allocation, and libraries wrap them.
    The error itself is not returned: its traceback would keep the memory of the failed task alive.
    """
    current: BaseException | None = error
    while current is not None and not _is_allocation_failure(current):
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return None if current is None else str(current)


def _is_allocation_failure(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    kind = type(error)
    # The exceptions of ONNX Runtime have no common base class but Exception.
    has_message = isinstance(error, RuntimeError) or kind.__module__.startswith("onnxruntime.")
    is_named = has_message and _ALLOCATIONS.search(str(error)) is not None
    is_torchs = kind.__module__.startswith("torch") and kind.__name__ == "OutOfMemoryError"
    return is_named or is_torchs or isinstance(error, MemoryError)
