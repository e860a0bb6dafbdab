"""Changes to libraries, for the time of the tests: less work for the same results, and what tests want to know."""

from __future__ import annotations

import functools
import gc
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Function = Callable[..., Any]


def _nothing(function: Function) -> Function:
    return lambda *arguments, **options: None


def _registering(py_impl: Function) -> Function:
    """Its usual case, in which it keeps a kernel for a new dispatch key, without a function that it defines for it."""
    dispatch_key = sys.modules["torch._C"].DispatchKey

    def register(operator: Any, key: Any) -> Function:
        kernels = operator.py_kernels
        if type(key) is not dispatch_key or key in kernels:
            return py_impl(operator, key)  # type: ignore[no-any-return]

        def keep(kernel: Function) -> Function:
            kernels[key] = kernel
            operator._dispatch_cache.clear()
            return kernel

        return keep

    return register


def _by_operator_first(match: Function) -> Function:
    """Nothing matches a pattern whose first output is made by another operator; no state is set up to find that out."""

    def quick(matcher: Any, model: Any, graph: Any, node: Any, **options: Any) -> Any:
        ends_with = matcher.pattern.output_nodes[0]
        if ends_with.op.matches(node.op_type) and ends_with.domain.matches(node.domain):
            return match(matcher, model, graph, node, **options)
        return None

    return quick


# By module, a function, and what makes it quick.
CHANGES: dict[str, tuple[str, Callable[[Function], Function]]] = {
    # Their results never change: the exporter to ONNX describes all its 600 functions for each model, and the one to
    # a graph lists all operators of torch.
    "onnxscript._framework_apis.torch_2_5": ("get_torchlib_ops", functools.cache),
    "torch.onnx._internal.exporter._registration": ("onnxscript_apis.get_torchlib_ops", functools.cache),
    "torch.onnx._internal.exporter._schemas": ("op_signature_from_function", functools.cache),
    "torch.export.exported_program": ("_collect_all_valid_cia_ops", functools.cache),
    "torch.export.decomp_utils": ("_collect_all_valid_cia_ops", functools.cache),
    # It tries 90 rules on each node of a graph, and some of them list all nodes first.
    "onnxscript.rewriter._matcher": ("SimplePatternMatcher.match", _by_operator_first),
    # Each export registers 6,000 kernels, and for each of them the annotations of a function are computed again.
    "torch._ops": ("OperatorBase.py_impl", _registering),
    # After each of its hundred passes, coremltools checks that the pass has left a consistent program.
    "coremltools.converters.mil.mil.program": ("Program.validate", _nothing),
}


class _Loaded(importlib.abc.MetaPathFinder):
    """Makes the changes to a module as soon as it is loaded."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in CHANGES or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def change(module: ModuleType) -> None:
                load(module)
                replace(name, *CHANGES[name])

            spec.loader.exec_module = change  # type: ignore[method-assign]
        return spec


def speed_up() -> None:
    """Make libraries quicker: those that are loaded, and those that will be. It is cheap to call again."""
    if not any(isinstance(finder, _Loaded) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Loaded())
    for module, change in CHANGES.items():
        replace(module, *change)
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
