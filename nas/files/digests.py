"""Digests of data and files, and the seeds that are derived from them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, NasError

FOR_DIGEST = {"for": "digest"}
"""Context of pydantic's `model_dump` for a digest: settings that decide no result leave themselves out."""

_SAMPLE_BYTES = 2**20


def fingerprint(value: Any) -> str:
    """A stable 16-digit hexadecimal digest of plain data; equal data, equal digest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sampled_digest(path: str | Path, *, error: type[NasError] = ConfigError) -> str:
    """Digest of a file's size and its first, middle and last MiB, fast for any size; raise `error` if unreadable."""
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
