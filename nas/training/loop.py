"""The one training loop, for every task, on 1 to N processes through accelerate."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel

from nas.errors import TrainingError
from nas.files import derive_seed
from nas.progress import Advance, progress_bar
from nas.training.batches import BatchT
from nas.training.checkpoint import Progress, restore_checkpoint, save_checkpoint
from nas.training.config import LoopConfig
from nas.training.metrics import MetricsLog
from nas.training.processes import only_cpu
from nas.training.tasks import Losses, TrainingTask

LOG_EVERY = 10


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run says of itself.

    Args:
        steps: Optimiser steps done, in this run and those it resumed.
        elapsed_s: Seconds of training they took.
        final_loss: Mean loss of the last twenty logged steps.
    """

    steps: int
    elapsed_s: float
    final_loss: float


def make_accelerator(config: LoopConfig) -> Accelerator:
    """The accelerator of a run; sub-networks leave parameters unused, which DDP must be told."""
    # Accelerate keeps the precision of a program's first run for all others, and refuses another one.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=only_cpu(),
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


class Trainer(Generic[BatchT]):
    """Trains a task and leaves its averaged weights in it.

    Args:
        task: What to train. After `run` it holds the exponential moving average of its weights.
        batches: The batch of a micro-step, by number.
        config: Settings.
        folder: Where checkpoints and metrics stand. A run that was interrupted goes on from its newest checkpoint.
        fingerprint: Digest of everything that decides the result; a checkpoint with another one is refused.
        accelerator: Processes and devices.
        label: Shown beside the progress bar.
    """

    def __init__(
        self,
        task: TrainingTask[BatchT],
        batches: Callable[[int], BatchT],
        config: LoopConfig,
        folder: Path,
        *,
        fingerprint: str,
        accelerator: Accelerator,
        label: str,
    ) -> None:
        self.task, self.batches, self.config = task, batches, config
        self.folder, self.fingerprint, self.label = folder, fingerprint, label
        self.accelerator = accelerator
        task.to(accelerator.device)
        parameters = list(task.trained_parameters())
        if not parameters:
            raise TrainingError("nothing is left to train", hint="train the backbone, too (freeze_backbone: false)")
        self.optimizer = torch.optim.AdamW(
            parameters,
            lr=config.learning_rate,
            betas=(0.9, config.adam_beta2),
            weight_decay=config.weight_decay,
        )
        self.ema = EMAModel(parameters, decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
        self.recent: deque[float] = deque(maxlen=50)

    def run(self) -> TrainingResult:
        """Train to the configured number of steps or minutes.

        Raises:
            CheckpointError: The folder holds a checkpoint of something else.
            TrainingError: The loss is no longer finite.
        """
        progress = restore_checkpoint(
            self.folder / "checkpoints", self.task, self.optimizer, self.ema, self.fingerprint
        )
        wrapped, optimizer = self.accelerator.prepare(self.task, self.optimizer)
        done = progress.step
        with MetricsLog(self.folder, done, self.accelerator.is_main_process) as log:
            with progress_bar(self.label, self.config.steps, done) as advance:
                while not self._finished(progress):
                    started = time.perf_counter()
                    losses = self._step(wrapped, optimizer, progress)
                    progress = self._next(progress, time.perf_counter() - started)
                    self._report(log, advance, progress, losses)
                    if progress.step % self.config.checkpoint_every == 0 and not self._finished(progress):
                        self._save(progress)
            final_loss = log.tail_mean("loss", 20)
        if progress.step > done:
            self._save(progress)
        self.ema.copy_to(list(self.task.trained_parameters()))
        return TrainingResult(progress.step, progress.elapsed_s, final_loss)

    def _step(self, wrapped: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Losses:
        """One optimiser step, over `gradient_accumulation` micro-batches."""
        self.task.train()
        rate = self.config.learning_rate * self._rate(progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses: Losses = {}
        for micro in range(self.config.gradient_accumulation):
            number = progress.step * self.config.gradient_accumulation + micro
            with self.accelerator.accumulate(wrapped):
                torch.manual_seed(derive_seed(self.config.seed, "step", number, self.accelerator.process_index))
                batch = self.batches(number).to(self.accelerator.device)
                losses = wrapped(batch, progress.step)
                self._check(losses["loss"], progress)
                self.accelerator.backward(losses["loss"])
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.task.parameters(), self.config.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
        self.ema.step(list(self.task.trained_parameters()))
        return losses

    def _check(self, loss: torch.Tensor, progress: Progress) -> None:
        mean = self.accelerator.reduce(loss.detach(), "mean")  # all processes stop, or none
        if not torch.isfinite(mean):
            raise TrainingError(
                f"loss is {mean.item()} at step {progress.step + 1}; training diverged",
                where=self.folder,
                hint="lower learning_rate; the last checkpoint before it is kept",
            )

    def _next(self, progress: Progress, seconds: float) -> Progress:
        """Progress after one more step; all processes agree on the time, so that they end together."""
        if self.config.max_minutes is not None:
            mean = self.accelerator.reduce(torch.tensor(seconds, device=self.accelerator.device), "mean")
            seconds = float(mean)
        return Progress(progress.step + 1, progress.elapsed_s + seconds)

    def _rate(self, progress: Progress) -> float:
        """Linear warm-up, constant, cosine to zero over the end of the steps or minutes, whichever end first."""
        warmup = min(1.0, (progress.step + 1) / max(self.config.warmup_steps, 1))
        anneal = self.config.anneal_share
        annealed = min(max((self._share(progress) - 1 + anneal) / anneal, 0.0), 1.0)
        return warmup * 0.5 * (1 + math.cos(math.pi * annealed))

    def _share(self, progress: Progress) -> float:
        share = progress.step / self.config.steps
        if self.config.max_minutes is not None:
            share = max(share, progress.elapsed_s / (60 * self.config.max_minutes))
        return share

    def _finished(self, progress: Progress) -> bool:
        return self._share(progress) >= 1

    def _report(self, log: MetricsLog, advance: Advance, progress: Progress, losses: Losses) -> None:
        values = {name: float(self.accelerator.reduce(value.detach(), "mean")) for name, value in losses.items()}
        self.recent.append(values["loss"])
        advance(f"loss {sum(self.recent) / len(self.recent):.4f}")
        if progress.step == 1 or progress.step % LOG_EVERY == 0:
            rate = self.config.learning_rate * self._rate(progress)
            log.write(progress.step, values | {"learning_rate": rate, "elapsed_s": progress.elapsed_s})

    def _save(self, progress: Progress) -> None:
        if self.accelerator.is_main_process:
            root = self.folder / "checkpoints"
            save_checkpoint(root, self.task, self.optimizer, self.ema, progress, self.fingerprint)
        self.accelerator.wait_for_everyone()
