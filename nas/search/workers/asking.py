"""Asking a study of Optuna for trials one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import optuna


@contextlib.contextmanager
def as_optimize_loop(study: optuna.Study) -> Iterator[None]:
    """Run the block as part of `study.optimize` to Optuna.

    A sampler may then call `study.stop()`, and Optuna does not warn that heartbeats are written without that method.
    """
    study._stop_flag = False
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = False
