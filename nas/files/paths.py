"""Paths as users give them, on the command line and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import pydantic
from pydantic.fields import FieldInfo

from nas.errors import ConfigError


def user_path(text: str) -> str:
    """A path as a user has given it, with `~` and `~name` replaced by the home folder.

    A shell does not expand `~` after `=`, inside quotes, or in a file.

    Raises:
        ValueError: The text is not a path: it is empty, for instance from a variable that is not set, or the user is
            unknown.
    """
    if not text.strip():
        raise ValueError("a path is empty; does it come from a variable that is not set?")
    if "\0" in text:
        raise ValueError("a path holds a NUL character")
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        raise ValueError(f"no home folder is known for {Path(text).parts[0]!r}") from error


UserPath = Annotated[str, pydantic.AfterValidator(user_path)]
"""A path in a configuration; see `user_path`. The reader of the file joins it to the folder of the file."""


def is_user_path(field: FieldInfo) -> bool:
    """Whether a field of a configuration is a `UserPath`, or one that may be left out."""
    of_type = UserPath in get_args(field.annotation)
    return of_type or any(getattr(part, "func", None) is user_path for part in field.metadata)


def inside(folder: str | Path, name: str) -> Path:
    """Resolve `name` below `folder`.

    Raises:
        ConfigError: `name` leaves the folder (absolute, `..`, or a link out of it), or is not a path.
    """
    try:
        root = Path(folder).resolve()
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as problem:
        raise ConfigError(f"path {name!r} cannot be followed: {problem}", where=folder) from problem
    if not path.is_relative_to(root):
        raise ConfigError(f"path {name!r} leaves its folder", where=folder, hint="keep files inside the folder")
    return path
