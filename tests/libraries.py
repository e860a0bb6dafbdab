"""Work that libraries repeat at every call and that tests need once: the same results in less time."""

from __future__ import annotations

import functools
import gc
import sys

# By module, functions whose result never changes: the exporter to ONNX builds all its 600 functions for each model.
CONSTANT = {
    "onnxscript._framework_apis.torch_2_5": "get_torchlib_ops",
    "torch.onnx._internal.exporter._registration": "onnxscript_apis.get_torchlib_ops",
}


def speed_up() -> None:
    """Make libraries that are loaded so far quicker; cheap to call again."""
    keep_constants()
    freeze()


def keep_constants() -> None:
    """Let each function of `CONSTANT` run once."""
    for module, name in CONSTANT.items():
        *path, attribute = name.split(".")
        owner = functools.reduce(lambda found, part: getattr(found, part, None), path, sys.modules.get(module))
        function = getattr(owner, attribute, None)
        if function is not None and not hasattr(function, "cache_info"):
            setattr(owner, attribute, functools.cache(function))


def freeze() -> None:
    """Keep the garbage collector from what is loaded: coremltools has it look through millions of objects each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
