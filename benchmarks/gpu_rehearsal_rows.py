"""Measures steps of the full-size supernet, for `gpu_rehearsal.py`.

Share of the peak: a multiply-accumulate counts as two operations, and the backward pass as twice the forward pass.
Recomputation of gradient checkpointing does not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu_rehearsal_step import Row, Stepper, largest, synchronise
from nas.models.costs import block_cost, network_cost
from nas.space import Block, SearchSpace
from nas.training import SuperNetConfig
from nas.training.dry_run.run import dry_run_supernet
from tests.tiny import TINY

if TYPE_CHECKING:
    from benchmarks.gpu_rehearsal_parts import Job

ROOT = Path(__file__).resolve().parents[1]

NOMINAL_TFLOPS = {"H100": 989.4, "H200": 989.4, "A100": 312.0}
"""TFLOP/s of dense bf16 products, from NVIDIA's data sheets of the SXM modules."""

FITS = 0.94
"""A row is left out if its dry run exceeds this share of the card's memory."""


CARD_ROWS = (
    Row(1), Row(2), Row(4), Row(8), Row(4, again=True), Row(16, again=True), Row(4, 4, paths="uniform"),
    Row(32, again=True), Row(16),
)  # fmt: skip
SMALL_ROWS = (Row(1), Row(2, again=True), Row(2, 2, paths="uniform"))
COMPILED, SMALL_COMPILED = Row(4), Row(1)
"""The row that is measured again with compiled blocks."""

COMPILING_SHARE = 0.45
"""Share of the part's time that is kept for compiling."""

SLOWEST_COMPILATION_S = 12
"""With less time than this, no other block is compiled."""


def nominal_tflops(card: str) -> float | None:
    """The peak of a card in dense bf16 products, by its data sheet."""
    return next((value for name, value in NOMINAL_TFLOPS.items() if name in card), None)


def median_seconds(call: Callable[[], object], device: str, rounds: int) -> float:
    """Seconds of a call, the median over rounds after a few that do not count; by a card's clock, if there is one."""
    for _ in range(3):
        call()
    synchronise(device)
    if device == "cuda":
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
        for began, ended in events:
            began.record()
            call()
            ended.record()
        synchronise(device)
        return statistics.median(began.elapsed_time(ended) for began, ended in events) / 1e3
    taken = []
    for _ in range(rounds):
        clock = time.perf_counter()
        call()
        taken.append(time.perf_counter() - clock)
    return statistics.median(taken)


def measure(job: Job) -> None:
    """Measure all rows that fit, and one again with blocks compiled, the most expensive first, while there is time."""
    began = time.monotonic()
    space = SearchSpace.from_dict(TINY) if job.small else SearchSpace.load(ROOT / "search_spaces" / "snapgen_v.yaml")
    macs = network_cost(space.lower(largest(space))).macs
    found: dict[str, Any] = {
        "space": space.name,
        "latent_shape": space.latent_shape,
        "macs_of_a_clip": macs,
        "rows": [],
    }
    job.tell(found)
    rows = SMALL_ROWS if job.small else CARD_ROWS
    planned = {row: _planned(space, row) for row in dict.fromkeys((*rows, SMALL_COMPILED if job.small else COMPILED))}
    stepper = Stepper(space, job.device, job.work)
    trained = sum(each.numel() for each in stepper.task.trained_parameters())
    found |= {"trained_parameters": trained, "until_first_step_s": time.monotonic() - began}
    job.tell(found)
    each_s = 0.0 if job.small else (1 - COMPILING_SHARE) * job.left_s / len(rows)
    for row in rows:
        found["rows"].append(_measured(stepper, row, planned[row], macs, each_s))
        job.tell(found)
    found["compiled"] = []
    _compile(stepper, SMALL_COMPILED if job.small else COMPILED, macs, job, found)


def _planned(space: SearchSpace, row: Row) -> int:
    config = SuperNetConfig(
        batch_size=row.clips, image_batch_size=row.frames, mixed_precision="bf16", gradient_checkpointing=row.again
    )
    return dry_run_supernet(space, config, 1).memory_bytes.together


def _measured(stepper: Stepper, row: Row, planned_bytes: int, macs: int, each_s: float) -> dict[str, Any]:
    known: dict[str, Any] = {**vars(row), "planned_bytes": planned_bytes}
    card = stepper.device == "cuda"
    if card and planned_bytes > FITS * torch.cuda.get_device_properties(0).total_memory:
        return known | {"left_out": "does not fit, by the dry run"}
    stepper.forget()
    stepper.set(row)
    try:
        seconds = _timed(stepper, each_s)
    except torch.OutOfMemoryError as error:
        message = str(error).splitlines()[0]
        del error
        return known | {"out_of_memory": message}
    known |= _rates(row, seconds, macs)
    if card:
        peak = torch.cuda.max_memory_allocated()
        known |= {"peak_bytes": peak, "peak_over_planned": peak / planned_bytes}
        known["reserved_bytes"] = torch.cuda.max_memory_reserved()
    return known


def _timed(stepper: Stepper, each_s: float, warm_up: int = 2, most: int = 30) -> list[float]:
    ends = time.monotonic() + each_s
    for _ in range(warm_up):
        stepper.step()
    seconds = [stepper.step()]
    while len(seconds) < most and time.monotonic() + seconds[-1] < ends:
        seconds.append(stepper.step())
    return seconds


def _rates(row: Row, seconds: Sequence[float], macs: int) -> dict[str, Any]:
    typical = statistics.median(seconds) if row.paths == "largest" else statistics.fmean(seconds)
    rates = {"step_s": typical, "steps": len(seconds), "clips_per_s": row.clips / typical}
    rates["images_per_s"] = row.frames / typical
    if row.paths == "largest":
        rates["tflops"] = 6 * macs * row.clips / typical / 1e12
        nominal = nominal_tflops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
        if nominal is not None:
            rates["share_of_nominal_peak"] = rates["tflops"] / nominal
    return rates


def _compile(stepper: Stepper, row: Row, macs: int, job: Job, found: dict[str, Any]) -> None:
    """Compile block after block, the most expensive first, and time steps after each; equal blocks share code."""
    torch._dynamo.config.recompile_limit = 64
    groups = _alike(stepper)
    total = sum(_macs(block, names) for block, names in groups)
    compiled: dict[int, Callable[..., torch.Tensor]] = {}
    stepper.forget()
    stepper.set(row, lambda module, *inputs: compiled.get(id(module), module)(*inputs))
    done = 0
    for block, names in groups[:1] if job.small else groups:
        if job.left_s < SLOWEST_COMPILATION_S:
            break
        modules = [stepper.supernet.get_submodule(name) for name in names]
        # In miniature, compiled code is not optimised: building C++ would take minutes.
        backend = "eager" if job.small else "inductor"
        compiled |= {id(each): torch.compile(each, dynamic=False, backend=backend) for each in modules}
        entry: dict[str, Any] = {"kind": block.kind, "blocks": len(names)}
        began = time.monotonic()
        try:
            stepper.step()
            entry["compiling_s"] = time.monotonic() - began
            seconds = _timed(stepper, 0.0 if job.small else 0.6, warm_up=1)
        except Exception as error:  # noqa: BLE001 - whatever a compiler raises is what was found
            for each in modules:
                del compiled[id(each)]
            entry["failed"] = f"{type(error).__name__}: {str(error)[:500]}"
        else:
            done += _macs(block, names)
            entry |= {"share_of_macs": done / total, **_rates(row, seconds, macs)}
            if stepper.device == "cuda":
                entry["peak_bytes"] = torch.cuda.max_memory_allocated()
        found["compiled"].append(entry)
        job.tell(found)


def _alike(stepper: Stepper) -> list[tuple[Block, list[str]]]:
    """The blocks of the largest architecture with the names of those that are alike, the most expensive first."""
    alike: dict[Block, list[str]] = {}
    for node in stepper.supernet.plan(largest(stepper.space)).nodes:
        alike.setdefault(node.block, []).append(node.name)
    return sorted(alike.items(), key=lambda item: -_macs(*item))


def _macs(block: Block, names: Sequence[str]) -> int:
    return block_cost(block).macs * len(names)
