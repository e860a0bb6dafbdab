"""Running out of memory as an error that can be handled, instead of the end of the process."""

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
    """Raise an error if the body needs more memory than there is.

    By default, Linux grants more memory than it has, and kills a process when the memory is used. Within the guard,
    it refuses allocations beyond the memory available on entry, less a twentieth for other uses. The previous limit
    is restored at the end. On other systems, the guard only translates errors.

    The limit (`RLIMIT_DATA`) applies to the whole process and its new children: enter guards from one thread at a
    time. Guards may be nested. The limit covers memory of the processor only; failures of a GPU's own memory are
    translated as well. An import that fails halfway can leave a library unusable: if only some hundred megabytes are
    left, import the libraries, or convert something small, before entering.

    Args:
        task: The task, for the message: `not enough memory to {task}`.
        limit_bytes: Memory that the body may take, if less than all that is available.

    Raises:
        OutOfMemoryError: Memory ran out; see `memory_errors`.
    """
    with memory_errors(task), _limited(limit_bytes):
        yield


@contextlib.contextmanager
def memory_errors(task: str) -> Iterator[None]:
    """Turn the errors of Python, torch and ONNX Runtime for a lack of memory into `OutOfMemoryError`.

    This includes errors that a library has wrapped into its own. Other errors pass unchanged.

    Args:
        task: The task, as in `memory_guard`.
    """
    try:
        yield
    except Exception as error:
        failure = None if isinstance(error, OutOfMemoryError) else allocation_failure(error)
        if failure is None:
            raise
        amount = _AMOUNT.search(failure)
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
    resource.setrlimit(resource.RLIMIT_DATA, (min(bound for bound in bounds if bound != resource.RLIM_INFINITY), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
