"""Running out of memory as an error that can be handled, and not as the end of the process."""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator

from nas.errors import OutOfMemoryError, allocation_failure
from nas.runtimes.available import available_memory_bytes, data_memory_bytes

_RESERVED_SHARE = 0.05
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
        said = None if isinstance(error, OutOfMemoryError) else allocation_failure(error)
        if said is None:
            raise
        amount = _AMOUNT.search(said)
        refused = f": {amount[1]}{amount[2] or ' bytes'} could not be allocated" if amount else ""
        hint = "use a smaller module or a machine with more memory"
        raise OutOfMemoryError(f"not enough memory to {task}{refused}", hint=hint) from error


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
