"""The exception family of nas.

Every mistake a user can make surfaces as a `NasError` whose text is one line: what is wrong, where it is
(file, key, value), and what to do about it. The command line prints that line and exits with code 2; the
Python API raises the exception. Anything else that escapes is a defect of nas itself.
"""

from __future__ import annotations

from pathlib import Path


class NasError(Exception):
    """A problem the user can solve.

    Args:
        what: What is wrong, in a few words, naming what was got and what was expected.
        where: The file, and where it helps the key inside it, e.g. `space.yaml: slots[2].stage`.
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
