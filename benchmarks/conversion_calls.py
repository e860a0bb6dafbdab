"""Calls of what was converted, in a process of its own, and how far they are from torch.

The interpreter that executes Core AI on Linux is slow, most of all at products of matrices in fp16, and it ends its
process if it gets no memory. So a block that would take too long is called on smaller frames: height and width are
divided by 2, 4 or 8. Its weights keep their shapes.
"""

from __future__ import annotations

import functools
import multiprocessing
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nas.latency.estimating.operations import AttentionLowering, operations
from nas.runtimes import Array, Runtime, block_convertible, compare, to_arrays
from nas.runtimes.core_ai.narrowing import half_inputs, in_half
from nas.runtimes.networks import Convertible
from nas.space import Block, Plan

GOAL_DB = {"fp32": 90.0, "fp16": 60.0}
"""Least agreement with torch, by precision."""

FACTORS = (1, 2, 4, 8)

_GMACS_PER_S = {("matmul", "fp16"): 0.03, ("matmul", "fp32"): 7.0}
_OTHER_GMACS_PER_S = 1.5
"""Measured with one thread; they decide how much is called, and nothing else."""


@dataclass(frozen=True)
class Limits:
    """What a call may take.

    Args:
        memory_gib: Memory of its process.
        seconds: Estimated time in the interpreter; blocks that cannot be called on smaller frames may take longer.
    """

    memory_gib: float
    seconds: float


@dataclass(frozen=True)
class Called:
    """What came of a call: its agreement with torch in fp32, or the reason why there is none.

    If the call in fp16 is below the goal, `torch_db` is that of torch in fp16, and `summed_db` that of torch in fp16
    with the sums of linear layers in fp16, too, as the interpreter computes them.
    """

    psnr_db: float | None
    torch_db: float | None = None
    summed_db: float | None = None
    shrunk: int = 1
    reason: str | None = None


def call(subject: Block | Plan, item: Convertible, path: Path, runtime: Runtime, limits: Limits) -> Called:
    """Call a block or a network once, on the largest frames that the limits allow, and compare.

    Args:
        subject: What was converted.
        item: Its module and inputs.
        path: What it was converted to.
        runtime: What executes it.
        limits: What the call may take.
    """
    sizes = [factor for factor in FACTORS if factor == 1 or smaller(subject, factor) is not None]
    for factor in sizes:
        if factor > 1:
            item = block_convertible(_shrunk(subject, factor))
        if factor != sizes[-1] and interpreter_s(item, runtime.settings.precision) > limits.seconds:
            continue
        output = _output(item, path if factor == 1 else None, runtime, limits)
        if output is not None:
            return _compared(output, item, runtime.settings.precision, factor)
    return Called(None, reason=f"the runtime ended its process, which may take {limits.memory_gib:g} GiB")


@torch.no_grad()
def _compared(output: Array, item: Convertible, precision: str, factor: int) -> Called:
    reference = to_arrays([item.module.eval()(*item.inputs)])[0]
    psnr_db = compare(output, reference).psnr_db
    if precision == "fp32" or psnr_db >= GOAL_DB[precision]:
        return Called(psnr_db, shrunk=factor)
    narrow, inputs = in_half(item.module), half_inputs(item.inputs)
    torch_db = compare(to_arrays([narrow(*inputs)])[0], reference).psnr_db
    with SumsInHalf():
        summed_db = compare(to_arrays([narrow(*inputs)])[0], reference).psnr_db
    return Called(psnr_db, torch_db, summed_db, factor)


class SumsInHalf(TorchFunctionMode):
    """Linear layers in fp16 as the interpreter computes them: products are added one after another, in fp16.

    torch and hardware add them up in fp32, so this loses the more, the wider a layer is.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace `linear`, and nothing else."""
        if func is not torch.nn.functional.linear or args[0].dtype != torch.float16:
            return func(*args, **(kwargs or {}))
        tokens, weight_ED, *bias = args
        flat_ND = tokens.reshape(-1, tokens.shape[-1])
        total_NE = torch.zeros(len(flat_ND), len(weight_ED), dtype=torch.float16)
        for column_N1, row_E in zip(flat_ND.split(1, dim=1), weight_ED.T, strict=True):
            total_NE = total_NE + column_N1 * row_E
        return sum(bias, total_NE).reshape(*tokens.shape[:-1], -1)


def smaller(subject: Block | Plan, factor: int) -> Block | None:
    """A block on frames whose height and width are divided; `None` if they cannot be."""
    if not isinstance(subject, Block):
        return None
    shapes = [spec.shape for spec in subject.inputs] + [subject.output_shape]
    frames = [shape for shape in shapes if len(shape) == 5]
    if not frames or any(size % factor or size == factor for shape in frames for size in shape[3:]):
        return None
    inputs = tuple(replace(spec, shape=_divided(spec.shape, factor)) for spec in subject.inputs)
    return replace(subject, inputs=inputs, output_shape=_divided(subject.output_shape, factor))


def interpreter_s(item: Convertible, precision: str) -> float:
    """Estimated seconds of a call in the interpreter."""
    counted = operations(item.module, item.inputs, AttentionLowering(heads_apart=False, queries_at_once=None))
    return sum(each.macs / 1e9 / _GMACS_PER_S.get((each.kind, precision), _OTHER_GMACS_PER_S) for each in counted)


def _shrunk(subject: Block | Plan, factor: int) -> Block:
    block = smaller(subject, factor)
    assert block is not None
    return block


def _divided(shape: tuple[int, ...], factor: int) -> tuple[int, ...]:
    return shape if len(shape) != 5 else (*shape[:3], shape[3] // factor, shape[4] // factor)


def _output(item: Convertible, path: Path | None, runtime: Runtime, limits: Limits) -> Array | None:
    """The output of a call; `None` if its process ended. What has no file yet is converted first."""
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        if path is None:
            path = Path(folder) / f"smaller{runtime.suffix}"
            runtime.convert(item.module, item.inputs, item.names, path)
        try:
            return _process(limits.memory_gib).submit(_called, runtime, path, to_arrays(item.inputs)).result()
        except BrokenProcessPool:
            _process.cache_clear()
            return None


@functools.cache
def _process(memory_gib: float) -> ProcessPoolExecutor:
    """A process that may take so much memory."""
    limit_bytes = int(memory_gib * 2**30)
    # A forked copy of a process that has used torch may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, resource.setrlimit, (resource.RLIMIT_DATA, (limit_bytes, limit_bytes)))
    # A process that multiprocessing has started waits for its own ones at its end, before a pool would end them; the
    # pool needs its queues for that, which are closed with priority 10.
    Finalize(None, pool.shutdown, exitpriority=20)
    return pool


def _called(runtime: Runtime, path: Path, inputs: list[Array]) -> Array:
    return runtime.load(path).run(inputs)
