"""Reading files. Every error is one line that names the file and, if there is one, the key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import pydantic
from pydantic_core import CoreSchema

from nas.errors import ConfigError, NasError
from nas.validation import complaint, load_json, load_plain, other_kind, strict_scalars

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)

_GOT = {type(None): "nothing", str: "text"}


class StrictModel(pydantic.BaseModel):
    """Base of every configuration: immutable, an unknown key is an error, numbers are finite and scalars strict."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return cast(CoreSchema, strict_scalars(handler(source)))


def read_json(path: str | Path, *, error: type[NasError] = ConfigError) -> Any:
    """Read a JSON file; raise `error` naming the file when it is missing or malformed."""
    try:
        return load_json(read_text(path, error=error))
    except ValueError as problem:
        raise error(f"not JSON: {problem}", where=path) from problem


def read_text(path: str | Path, *, error: type[NasError] = ConfigError) -> str:
    """Read a UTF-8 text file; raise `error` naming the file when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as problem:
        raise error("no such file", where=path) from problem
    except IsADirectoryError as problem:
        raise error("is a folder, where a file is needed", where=path) from problem
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror}", where=path) from problem
    except ValueError as problem:  # not UTF-8, or no path
        raise error(f"cannot be read as text: {problem}", where=path) from problem


def load_yaml(path: str | Path, model: type[ModelT]) -> ModelT:
    """Read a YAML file into a typed model.

    Raises:
        ConfigError: The file is missing or not YAML, or a key is unknown, missing, given twice or impossible.
            The message names the file, the key, what was got and what was expected.
    """
    text = read_text(path)
    try:
        value = load_plain(text)
    except ValueError as problem:
        raise ConfigError(f"not YAML: {problem}", where=path) from problem
    return parse(value, model, where=path)


def parse(value: Any, model: type[ModelT], *, where: str | Path | None, within: str = "") -> ModelT:
    """Check plain data against a typed model; see `load_yaml`.

    Args:
        value: The data.
        model: What it must be.
        where: The file it came from, for messages.
        within: The key of that file that holds the data, for messages.
    """
    if not isinstance(value, Mapping):
        got = _GOT.get(type(value), type(value).__name__)
        key = f"{within}: " if within else ""
        raise ConfigError(f"{key}expected a mapping of keys, got {got}", where=where)
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as problem:
        other = None if within else other_kind(value, model.model_fields)
        if other is not None:
            wanted = f"is {other}, where a file with the keys {', '.join(model.model_fields)} is needed"
            raise ConfigError(wanted, where=where) from problem
        raise ConfigError(complaint(problem, model, value, within), where=where) from problem


@contextlib.contextmanager
def validation_errors() -> Iterator[None]:
    """Turn a `NasError` that a validator meets into a `ValueError`, so that the message names the key as well."""
    try:
        yield
    except NasError as error:
        raise ValueError(str(error)) from error
