"""A step that needs more memory than there is, as an error that says what to set."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from nas.errors import OutOfMemoryError

_FAILURES = re.compile(r"bad_alloc|out of memory|(can't|cannot|failed to|unable to) allocate memory", re.IGNORECASE)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every way in which Python and torch say that memory ran out into `OutOfMemoryError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or _FAILURES.search(str(error))):
            raise
        hint = "set gradient_checkpointing, or a smaller batch_size with more gradient_accumulation; see --dry-run"
        raise OutOfMemoryError("not enough memory for a step of the training", hint=hint) from error
