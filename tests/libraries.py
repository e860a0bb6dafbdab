"""Changes to libraries, for the time of the tests: less work for the same results, and what tests want to know."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]

# By module, a function whose result never changes: the exporter to ONNX describes all its 600 functions for each model.
CONSTANT = {
    "onnxscript._framework_apis.torch_2_5": "get_torchlib_ops",
    "torch.onnx._internal.exporter._registration": "onnxscript_apis.get_torchlib_ops",
}


def speed_up() -> None:
    """Make the libraries that are loaded so far quicker. It is cheap to call again."""
    for module, name in CONSTANT.items():
        replace(module, name, functools.cache)
    # The collector passes over what exists now; coremltools calls it often, among millions of objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def replace(module: str, name: str, wrapper: Callable[[Function], Function]) -> None:
    """Replace a function of a module, or a method of a class there, once, if the module is loaded."""
    *path, attribute = name.split(".")
    owner = functools.reduce(lambda owner, part: getattr(owner, part, None), path, sys.modules.get(module))
    function = getattr(owner, attribute, None)
    if function is not None and not hasattr(function, "replaced_by_tests"):
        replacement = functools.wraps(function)(wrapper(function))
        replacement.replaced_by_tests = True  # type: ignore[attr-defined]
        setattr(owner, attribute, replacement)
