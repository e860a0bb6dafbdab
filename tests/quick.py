"""`pytest --quick`: a test is skipped as soon as it trains, searches, measures, converts or starts a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests import libraries

HEAVY = {
    "trains": ("nas.training.engine.trainer", "Trainer.run"),
    "works out the memory of a training": ("nas.training.dry_run.memory", "count_activations"),
    "searches": ("nas.search.workers.worker", "Worker.run"),
    "measures blocks": ("nas.latency.profiling.job", "measure"),
    "measures networks": ("nas.latency.profiling.networks", "measure"),
    "counts the operations of a block": ("nas.latency.estimating.estimator", "operations"),
    "starts PostgreSQL": ("pgserver", "get_server"),
    "computes gradients": ("torch", "Tensor.backward"),
    "captures a graph": ("torch.export", "export"),
    "converts to ONNX": ("torch.onnx", "export"),
    "converts to Core ML": ("coremltools", "convert"),
    "starts a process": ("multiprocessing.process", "BaseProcess.start"),
    "starts a program": ("subprocess", "Popen.__init__"),
}


def skip_heavy() -> None:
    """From now on, skip what is heavy."""
    for reason, (module, name) in HEAVY.items():
        libraries.replace(module, name, lambda function, reason=reason: _skipping(function, reason))


def _skipping(function: Callable[..., Any], reason: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if reason == "starts a program" and not _is_of_the_tests():
            return function(*arguments, **options)
        pytest.skip(reason)

    return call


def _is_of_the_tests() -> bool:
    """Whether a test starts the program, not a library that asks the system something."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(("nas.", "tests.", "benchmarks.", "coremltools.")):
            return True
        if frame.f_globals.get("__name__", "").partition(".")[0] != "subprocess":
            return False
        frame = frame.f_back
    return False
