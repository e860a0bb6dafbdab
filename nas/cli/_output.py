"""Standard output of any encoding and width, even if its reader has closed it or the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

from nas.environment import drop_empty_size
from nas.errors import StorageError

_CANNOT_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}

CLOSED_BY_READER = 141
"""Exit code where the reader of a pipe has gone: that of a program which SIGPIPE ends. 1 would say that nas failed."""


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Have everything that a block prints arrive, or say why not.

    What the encoding of the output cannot hold is written as a backslash escape. A reader that has gone, as in
    `nas ... | head -1`, ends the program without a word.

    Raises:
        StorageError: The output cannot be written, because its disk is full for instance.
    """
    drop_empty_size()
    for name in ("stdout", "stderr"):
        _prepare(name)
    try:
        yield
    except SystemExit as end:
        # click and rich end the program with exit code 1.
        if isinstance(end.__context__, BrokenPipeError):
            _put_aside()
            raise SystemExit(CLOSED_BY_READER) from None
        raise
    except OSError as error:
        # Writing a file of ours names that file: what fails without a name is what a verb prints.
        if error.filename is not None or error.errno not in _CANNOT_BE_WRITTEN:
            raise
        _put_aside()
        raise _unwritten(error) from error
    finally:
        _finish()


def _prepare(name: str) -> None:
    """Let a stream take any text; one that was closed before the start takes all, and keeps nothing."""
    stream = getattr(sys, name)
    if stream is None:
        setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    elif getattr(stream, "errors", None) in {"strict", "surrogateescape"} and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _finish() -> None:
    """Write what is left; the interpreter would try again and complain, so a broken output is replaced."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _put_aside()
        raise SystemExit(CLOSED_BY_READER) from None
    except OSError as error:
        _put_aside()
        raise _unwritten(error) from error


def _unwritten(error: OSError) -> StorageError:
    reason = error.strerror or type(error).__name__
    hint = "free some space, or send the output elsewhere"
    return StorageError(f"cannot be written: {reason}", where="standard output", hint=hint)


def _put_aside() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
