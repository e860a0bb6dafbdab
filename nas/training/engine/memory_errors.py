"""A step that needs more memory than there is, as an error that says what to set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nas.errors import OutOfMemoryError, allocation_failure


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every way in which memory runs out into `OutOfMemoryError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if allocation_failure(error) is None:
            raise
        hint = "set gradient_checkpointing, or a smaller batch_size with more gradient_accumulation; see --dry-run"
        raise OutOfMemoryError("not enough memory for a step of the training", hint=hint) from error
