"""Reading and writing files so that nothing is half-written and every complaint names file and key.

The rest of nas writes through `atomic_write` and `atomic_folder` (temporary name, fsync, rename), and reads
configuration through `load_yaml`, which turns what pydantic and PyYAML say into one line.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import pydantic
from pydantic_core import CoreSchema

from nas.errors import ConfigError, NasError, StorageError
from nas.validation import complaint, dump_plain, load_json, load_plain, strict_scalars

TEMPORARY_PREFIX = ".nas-tmp-"
"""Names of files and folders under way start with this; a killed process may leave some behind."""

_STORAGE_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
}

_SAMPLE_BYTES = 2**20

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)


class StrictModel(pydantic.BaseModel):
    """Base of every configuration: immutable, an unknown key is an error, numbers are finite and scalars strict."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return cast(CoreSchema, strict_scalars(handler(source)))


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and their kin into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "free some space and run the same command again" if full else "choose another path"
        raise StorageError(f"cannot write: {error.strerror}", where=path, hint=hint) from error


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` on success, remove it on failure.

    Args:
        path: The file to write. Missing parent folders are made. The temporary file keeps its suffix,
            because some writers choose their format by it.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY_PREFIX, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; move it to `path` on success, replacing what was there.

    What was there is moved aside first and removed last: a kill in between leaves a whole folder or none.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=TEMPORARY_PREFIX))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            temporary.chmod(0o777 & ~_umask())
            old = temporary.with_name(f"{temporary.name}-old")
            if path.exists():
                path.rename(old)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def lock(path: str | Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file; it is given back when the process ends, however it ends.

    Args:
        path: The file, made where it is missing. Whoever holds the lock may remove it.
        wait: Whether to wait until nobody else holds it.

    Yields:
        Whether the lock is held; always true after waiting.

    Raises:
        StorageError: The file cannot be made, or its file system keeps no locks.
    """
    path = Path(path)
    held = False
    with contextlib.ExitStack() as stack:
        while not held:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                break
            except OSError as error:
                hint = "choose a path on another file system"
                raise StorageError(f"cannot be locked: {error.strerror}", where=path, hint=hint) from error
            # The holder before may have removed the file: then others lock a new one of that name.
            held = _is_at(path, os.fstat(file.fileno()).st_ino)
        yield held


def remove_temporaries(folder: str | Path) -> None:
    """Remove what killed processes left under way below `folder`; call it where nobody else is writing."""
    for path in list(Path(folder).rglob(f"{TEMPORARY_PREFIX}*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_yaml(path: str | Path, value: Any) -> None:
    """Write `value` as block-style YAML, atomically, keys in their own order."""
    write_text(path, dump_plain(value))


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
    except (OSError, UnicodeDecodeError) as problem:
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
        within: The key of that file under which it stands, for messages.
    """
    if not isinstance(value, Mapping):
        got = "nothing" if value is None else type(value).__name__
        key = f"{within}: " if within else ""
        raise ConfigError(f"{key}expected a mapping of keys, got {got}", where=where)
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as problem:
        raise ConfigError(complaint(problem, model, value, within), where=where) from problem


def inside(folder: str | Path, name: str) -> Path:
    """Resolve `name` below `folder`.

    Raises:
        ConfigError: `name` leaves the folder (absolute, `..`, or a link out of it).
    """
    root = Path(folder).resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise ConfigError(f"path {name!r} leaves its folder", where=folder, hint="keep files inside the folder")
    return path


def fingerprint(value: Any) -> str:
    """A stable 16-digit hexadecimal digest of plain data; equal data, equal digest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_digest(path: str | Path, *, error: type[NasError] = ConfigError) -> str:
    """Digest of a file's size, first, middle and last MiB: quick, whatever its size; raise `error` if unreadable."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            for start in (0, size // 2, max(size - _SAMPLE_BYTES, 0)):
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror}", where=path) from problem
    return digest.hexdigest()


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 31-bit seed for one purpose, independent of the seeds of all others under the same run seed."""
    return int(fingerprint([seed, *purpose]), 16) % (2**31)


def _is_at(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
