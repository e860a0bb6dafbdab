"""Running out of memory as an error that can be handled, and not as the end of the process."""

from __future__ import annotations

import contextlib
import errno
import re
import resource
from collections.abc import Iterator

import torch

from nas.errors import OutOfMemoryError
from nas.runtimes.available import available_memory_bytes, data_memory_bytes

_RESERVED_SHARE = 0.05
_FAILURES = re.compile(r"bad_alloc|out of memory|(can't|cannot|failed to|unable to) allocate memory", re.IGNORECASE)
_AMOUNT = re.compile(r"(?:tried to allocate|buffer of size|Unable to allocate) ([\d.]+)( [KMGT]iB)?")


@contextlib.contextmanager
def memory_guard(task: str = "execute the module", *, limit_bytes: int | None = None) -> Iterator[None]:
    """Let what needs more memory than there is fail with an error.

    Left alone, Linux grants more memory than it has and kills a process once the memory is used. Within the
    guard, it refuses what exceeds the memory available on entry less a twentieth for everything else, and the
    limit that there was before comes back at the end. On other systems, only errors are translated.

    The limit (`RLIMIT_DATA`) holds for the whole process and its new children: enter guards from one thread at a
    time; one within another is fine. It covers memory of the processor, not of a graphics card, whose own
    failures are translated all the same. An import that fails halfway can leave a library unusable: where only
    some hundred megabytes are left, import, or convert something small, before entering.

    Args:
        task: What is being done, for the message: `not enough memory to {task}`.
        limit_bytes: Memory that may be taken, where that is to be less than what is available.

    Raises:
        OutOfMemoryError: Memory ran out; see `memory_errors`.
    """
    with memory_errors(task), _limited(limit_bytes):
        yield


@contextlib.contextmanager
def memory_errors(task: str) -> Iterator[None]:
    """Turn every way in which Python, torch and ONNX Runtime say that memory ran out into `OutOfMemoryError`.

    Also where a library has wrapped the failure into an error of its own. Other errors pass unchanged.

    Args:
        task: What is being done, as in `memory_guard`.
    """
    try:
        yield
    except Exception as error:
        said = None if isinstance(error, OutOfMemoryError) else _allocation_failure(error)
        if said is None:
            raise
        amount = _AMOUNT.search(said)
        refused = f": {amount[1]}{amount[2] or ' bytes'} could not be allocated" if amount else ""
        hint = "use a smaller module or a machine with more memory"
        raise OutOfMemoryError(f"not enough memory to {task}{refused}", hint=hint) from error


def _allocation_failure(error: BaseException) -> str | None:
    """What is said by the error itself, or the one it was raised from or on the way of, where an allocation failed.

    Not the error: its traceback would keep all that the failed task holds, until the garbage is collected.
    """
    current: BaseException | None = error
    while current is not None and not _is_allocation_failure(current):
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return None if current is None else str(current)


def _is_allocation_failure(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # The exceptions of ONNX Runtime have no common base class but Exception.
    speaks = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    said = speaks and _FAILURES.search(str(error)) is not None
    return said or isinstance(error, (MemoryError, torch.OutOfMemoryError))


@contextlib.contextmanager
def _limited(limit_bytes: int | None) -> Iterator[None]:
    available, mapped = available_memory_bytes(), data_memory_bytes()
    if available is None or mapped is None:
        yield
        return
    free = int(available * (1 - _RESERVED_SHARE))
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = (mapped + (free if limit_bytes is None else min(limit_bytes, free)), before, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (min(b for b in bounds if b != resource.RLIM_INFINITY), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
