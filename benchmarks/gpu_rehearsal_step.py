"""The step of the full-size supernet that `gpu_rehearsal.py` measures.

A step is the loop's own: batch to the card, forward and backward passes in bf16 under autocast, clipping, AdamW, and
the moving average of the weights. Rows with `paths: largest` train the architecture with the most parameters in every
step, which is what a dry run figures the memory of, and whose multiply-accumulates are known; `uniform` draws one for
each step.

Share of the peak: a multiply-accumulate counts as two operations, and the backward pass as twice the forward pass. What
gradient checkpointing computes again does not count.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nas.models import SuperNet, TextEncoder, make_text_encoder
from nas.models.costs import block_cost, network_cost
from nas.models.network import BlockCall, call_block, call_block_again
from nas.models.text import ClipContext, ClipTextEncoder
from nas.space import Architecture, SearchSpace
from nas.training import SuperNetConfig, SuperNetTask
from nas.training.batches import Batch
from nas.training.checkpoint import Progress
from nas.training.draws import ClipSeeds
from nas.training.dry_run import dry_run_supernet
from nas.training.loop import Trainer
from nas.training.paths import PathStrategy, UniformPaths
from nas.training.processes import make_accelerator

if TYPE_CHECKING:
    from benchmarks.gpu_rehearsal_parts import Job

ROOT = Path(__file__).resolve().parents[1]

NOMINAL_TFLOPS = {"H100": 989.4, "H200": 989.4, "A100": 312.0}
"""Dense bf16 products, from NVIDIA's data sheets of the SXM modules."""

FITS = 0.94
"""A row that a dry run puts above this share of the card's memory is left out."""


@dataclass(frozen=True)
class Row:
    """A way to make a step.

    Args:
        clips: Clips of a batch.
        frames: Single frames beside them.
        again: Whether blocks are computed once more in the backward pass.
        paths: `largest` or `uniform`.
    """

    clips: int
    frames: int = 0
    again: bool = False
    paths: str = "largest"


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
"""With less time than this, no other block is compiled; what is known by then is told already."""


class Largest(PathStrategy):
    """The architecture with the most parameters, whatever the step."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self.largest = largest(space)

    def paths(self, step: int) -> tuple[Architecture, ...]:
        """See `PathStrategy.paths`."""
        return (self.largest,)


def largest(space: SearchSpace) -> Architecture:
    """The architecture with the most parameters."""
    placed = space.placed_blocks()
    return space.architecture([
        max(slot.candidates, key=lambda name: block_cost(placed[slot.id, name]).parameters if (slot.id, name) in placed
            else 0)
        for slot in space.slots
    ])  # fmt: skip


def nominal_tflops(card: str) -> float | None:
    """The peak of a card in dense bf16 products, by its data sheet."""
    return next((value for name, value in NOMINAL_TFLOPS.items() if name in card), None)


def synchronise(device: str) -> None:
    """Wait until a card is done."""
    if device == "cuda":
        torch.cuda.synchronize()


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


class Stepper:
    """Makes steps of a supernet as the training loop does.

    Args:
        space: The search space.
        device: `cuda` or `cpu`.
        folder: Where a run would write; nothing is written.
    """

    def __init__(self, space: SearchSpace, device: str, folder: Path) -> None:
        self.space, self.device = space, device
        config = SuperNetConfig(mixed_precision="bf16", batch_size=1, image_batch_size=0, warmup_steps=1)
        with torch.device(device):  # weights are drawn where they stay
            self.supernet = SuperNet(space)
        self.task = SuperNetTask(self.supernet, _text_encoder(space), config)
        self.trainer: Trainer[Batch] = Trainer(
            self.task,
            lambda _: self.batch,
            config,
            folder,
            fingerprint="",
            accelerator=make_accelerator(config),
            label="",
        )
        self.wrapped, self.optimizers = self.trainer.sharing.prepare(self.trainer.optimizers)
        self.batch = self._batch(Row(1))
        self.number = 0

    def set(self, row: Row, call: BlockCall | None = None) -> None:
        """Get ready for a row."""
        self.batch = self._batch(row)
        kind = Largest if row.paths == "largest" else UniformPaths
        self.task.strategy = kind(self.supernet.distinct_space, 0)
        self.supernet.call = call or (call_block_again if row.again else call_block)

    def step(self) -> float:
        """Make a step; its seconds."""
        began = time.perf_counter()
        losses = self.trainer._step(self.wrapped, self.optimizers, Progress(self.number, 0.0))
        float(losses["loss"])  # what the loop reports, and waits for
        synchronise(self.device)
        self.number += 1
        return time.perf_counter() - began

    def forget(self) -> None:
        """Leave nothing of a step behind but its weights."""
        self.task.zero_grad(set_to_none=True)
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _batch(self, row: Row) -> Batch:
        shape, tokens = self.space.latent_shape, self.space.context_shape[0]
        return Batch(
            torch.randn(row.clips, *shape),
            torch.randint(1, 60, (row.clips, tokens)),
            torch.randn(row.frames, 1, *shape[1:]),
            torch.randint(1, 60, (row.frames, tokens)),
            ClipSeeds.of_share(0, row.clips, 0, 0, 1),
            ClipSeeds.of_share(1, row.frames, 0, 0, 1),
        )


def _text_encoder(space: SearchSpace) -> TextEncoder:
    """The encoder with random weights: what it reads is no part of what is measured."""
    if space.file.text.kind == "learned":
        return make_text_encoder(space)
    (block,) = space.lower_pipeline(space.smallest()).text_encoder.blocks
    return ClipTextEncoder(None, ClipContext.from_block(block), space.file.text.tokens)


def measure(job: Job) -> None:
    """Measure all rows that fit, and one again with blocks compiled, the dearest first, as long as there is time."""
    began = time.monotonic()
    space = SearchSpace.load(ROOT / "search_spaces" / ("quickstart.yaml" if job.small else "snapgen_v.yaml"))
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
    """Compile block after block, the dearest first, and time steps after each; blocks that are alike share code."""
    torch._dynamo.config.recompile_limit = 64
    plan = stepper.supernet.plan(largest(stepper.space))
    alike: dict[Any, list[str]] = {}
    for node in plan.nodes:
        alike.setdefault(node.block, []).append(node.name)
    groups = sorted(alike.items(), key=lambda item: -block_cost(item[0]).macs * len(item[1]))
    total = sum(block_cost(block).macs * len(names) for block, names in groups)
    compiled: dict[int, Callable[..., torch.Tensor]] = {}

    def call(module: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        return compiled.get(id(module), module)(*inputs)

    stepper.forget()
    stepper.set(row, call)
    done = 0
    for block, names in groups[:1] if job.small else groups:
        if job.left_s < SLOWEST_COMPILATION_S:
            break
        for name in names:
            module = stepper.supernet.get_submodule(name)
            # In miniature, what is compiled is run as it was found: building C++ would take minutes.
            backend = "eager" if job.small else "inductor"
            compiled[id(module)] = torch.compile(module, dynamic=False, backend=backend)
        began = time.monotonic()
        entry: dict[str, Any] = {"kind": block.kind, "blocks": len(names)}
        try:
            stepper.step()
            entry["compiling_s"] = time.monotonic() - began
            seconds = _timed(stepper, 0.0 if job.small else 0.6, warm_up=1)
        except Exception as error:  # noqa: BLE001 - whatever a compiler raises is what was found
            for name in names:
                compiled.pop(id(stepper.supernet.get_submodule(name)), None)
            entry["failed"] = f"{type(error).__name__}: {str(error)[:500]}"
            found["compiled"].append(entry)
            job.tell(found)
            continue
        done += block_cost(block).macs * len(names)
        entry |= {"share_of_macs": done / total, **_rates(row, seconds, macs)}
        if stepper.device == "cuda":
            entry["peak_bytes"] = torch.cuda.max_memory_allocated()
        found["compiled"].append(entry)
        job.tell(found)
