"""Steps of a supernet that `gpu_rehearsal.py` measures.

A step is that of the trainer: batch to the card, forward and backward passes in bf16 under autocast, clipping, AdamW,
and the moving average of the weights. Rows with `paths: largest` train the architecture with the most parameters in
every step: a dry run estimates its memory, and its multiply-accumulates are known. `uniform` draws one for each step.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.models import SuperNet, TextEncoder, build_module, make_text_encoder
from nas.models.costs import block_cost
from nas.models.network import BlockCall, call_block, call_block_again
from nas.models.text.frozen import FrozenTextEncoder
from nas.space import Architecture, SearchSpace
from nas.training import SuperNetConfig, SuperNetTask
from nas.training.engine.checkpoint import Progress
from nas.training.engine.processes import make_accelerator
from nas.training.engine.trainer import Trainer
from nas.training.flow.batches import Batch
from nas.training.flow.paths import PathStrategy, UniformPaths
from nas.training.flow.rng import RNGKeys


@dataclass(frozen=True)
class Row:
    """Settings of a step.

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


class Largest(PathStrategy):
    """The architecture with the most parameters, in every step."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self.largest = largest(space)

    def paths(self, step: int) -> tuple[Architecture, ...]:
        """The largest architecture."""
        return (self.largest,)


def largest(space: SearchSpace) -> Architecture:
    """The architecture with the most parameters."""
    placed = space.placed_blocks()
    return space.architecture([
        max(slot.candidates, key=lambda name: block_cost(placed[slot.id, name]).parameters if (slot.id, name) in placed
            else 0)
        for slot in space.slots
    ])  # fmt: skip


def synchronise(device: str) -> None:
    """Wait until the card has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


class Stepper:
    """Makes steps of a supernet as the trainer does.

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
        self.wrapped, self.optimizers = self.trainer.parallelism.prepare(self.trainer.optimizers)
        self.batch = self._batch(Row(1))
        self.number = 0

    def set(self, row: Row, call: BlockCall | None = None) -> None:
        """Prepare the settings of a row."""
        self.batch = self._batch(row)
        kind = Largest if row.paths == "largest" else UniformPaths
        self.task.strategy = kind(self.supernet.distinct_space, 0)
        self.supernet.call = call or (call_block_again if row.again else call_block)

    def step(self) -> float:
        """Make a step, and return its seconds."""
        began = time.perf_counter()
        losses = self.trainer._step(self.wrapped, self.optimizers, Progress(self.number, 0.0))
        float(losses["loss"])  # what the loop reports, and waits for
        synchronise(self.device)
        self.number += 1
        return time.perf_counter() - began

    def forget(self) -> None:
        """Free everything of a step but the weights."""
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
            RNGKeys.of_process(0, row.clips, 0, 0, 1),
            RNGKeys.of_process(1, row.frames, 0, 0, 1),
        )


def _text_encoder(space: SearchSpace) -> TextEncoder:
    """The encoder with random weights: its output does not matter for what is measured."""
    if space.file.text.kind == "learned":
        return make_text_encoder(space)
    (block,) = space.lower_pipeline(space.smallest()).text_encoder.blocks
    return FrozenTextEncoder(None, build_module(block), space.file.text.tokens)
