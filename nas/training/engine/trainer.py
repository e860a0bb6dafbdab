"""The training loop of every task, on 1 to N processes, through accelerate."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel

from nas.errors import CheckpointError, DataError, OutOfMemoryError, TrainingError, allocation_failure
from nas.files import derive_seed
from nas.models.weights import not_finite
from nas.progress import Advance, progress_bar
from nas.training.engine.callbacks import Callback
from nas.training.engine.checkpoint import Progress, RunHistory, TrainingState, restore_checkpoint
from nas.training.engine.checkpoint_writer import BackgroundWriter, CheckpointWriter
from nas.training.engine.parallelism import Optimizers, make_parallelism
from nas.training.engine.processes import from_all
from nas.training.engine.run_folder import CHECKPOINTS
from nas.training.engine.settings import LoopConfig
from nas.training.engine.task import MODEL, BatchT, Losses, OptimizerPhase, TrainingTask
from nas.training.engine.trackers import Write, run_log

LOG_EVERY = 10
_FINAL = 20


@dataclass(frozen=True)
class TrainingResult:
    """Result of a finished run.

    Args:
        steps: Optimiser steps done, those before a resume included.
        elapsed_s: Seconds of training that they took.
        final_loss: Mean loss of the last twenty logged steps; not a number if an earlier version logged them, which
            did not keep them in checkpoints.
    """

    steps: int
    elapsed_s: float
    final_loss: float


class Trainer(Generic[BatchT]):
    """Trains a task.

    Args:
        task: The task. After `run` it holds the exponential moving average of its weights.
        batches: The batch of a micro-step, by number.
        config: Settings.
        folder: Folder of checkpoints and metrics. An interrupted run resumes from its newest checkpoint.
        fingerprint: Digest of everything that decides the result; a checkpoint with another one is refused.
        accelerator: Processes and devices.
        label: Text beside the progress bar.
        callback: Called at fixed moments; may end the run.
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
        callback: Callback | None = None,
    ) -> None:
        self.task, self.batches, self.config = task, batches, config
        self.folder, self.fingerprint, self.label = folder, fingerprint, label
        self.accelerator, self.callback = accelerator, callback or Callback()
        if not list(task.trained_parameters()):
            raise TrainingError(
                "the task has no parameters to train", hint="train the backbone, too (freeze_backbone: false)"
            )
        if names := not_finite(task.state_dict()):
            hint = "the weights that the run starts from are damaged; start from others"
            raise CheckpointError(f"weight {names[0]} is not finite before the first step", where=folder, hint=hint)
        self.parallelism = make_parallelism(task, config, accelerator)
        self.trained = self.parallelism.trained
        self.phases = self.trained.phases()
        self.local_parameters = {phase.name: self.parallelism.local_parameters(phase) for phase in self.phases}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            phase.name: torch.optim.AdamW(
                self.local_parameters[phase.name],
                lr=config.learning_rate,
                betas=(phase.adam_beta1, config.adam_beta2),
                weight_decay=config.weight_decay,
            )
            for phase in self.phases
        }
        self.ema = EMAModel(
            self.local_parameters[MODEL], decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True
        )
        self.state = TrainingState(self.trained, self.phases, self.optimizers, self.ema)
        self.recent: deque[float] = deque(maxlen=50)
        self.logged: deque[float] = deque(maxlen=_FINAL)

    def run(self) -> TrainingResult:
        """Train to the configured number of steps or minutes.

        Raises:
            CheckpointError: The folder holds a checkpoint of something else.
            DataError: Clips hold numbers that are not finite.
            OutOfMemoryError: A step does not fit into memory.
            TrainingError: The loss is no longer finite, or the callback ends the run.
        """
        progress, history = restore_checkpoint(self.folder / CHECKPOINTS, self.state, self.fingerprint)
        self.logged.extend(history.losses)
        with self._averaged():
            self.callback.begin(progress.step, history.callback_state)
        wrapped, optimizers = self.parallelism.prepare(self.optimizers)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self._log(progress))
            advance = stack.enter_context(progress_bar(self.label, self.config.steps, progress.step))
            writer = stack.enter_context(contextlib.closing(self._writer()))
            while not self._finished(progress):
                started, rate = time.perf_counter(), self._rate(progress)
                with _memory_errors():
                    values = self._read(self._step(wrapped, optimizers, progress))
                progress = self._next(progress, time.perf_counter() - started)
                self._report(log, advance, progress, values, rate)
                if progress.step % self.config.checkpoint_every == 0 or self._finished(progress):
                    self._save(writer, progress)
            writer.wait()
        self.parallelism.finish(self.ema)
        final_loss = sum(self.logged) / len(self.logged) if self.logged else math.nan
        return TrainingResult(progress.step, progress.elapsed_s, final_loss)

    def _log(self, progress: Progress) -> contextlib.AbstractContextManager[Write]:
        """The log of the run; in its other processes, one that writes nothing."""
        if self.accelerator.is_main_process:
            return run_log(self.folder, progress.step, self.config)
        return contextlib.nullcontext(lambda _step, _values: None)

    def _step(self, wrapped: torch.nn.Module, optimizers: Optimizers, progress: Progress) -> Losses:
        """One step: its phases, one after the other. Of several updates of a phase, the losses of the last are kept."""
        self.trained.train()
        losses: Losses = {}
        for phase in self.phases:
            prefix = "" if phase.name == MODEL else f"{phase.name}_"
            for update in phase.in_turn():
                values = self._phase(wrapped, optimizers[phase.name], update, progress)
                losses |= {f"{prefix}{name}": value for name, value in values.items()}
        self.ema.step(self.local_parameters[MODEL])
        return losses

    def _phase(
        self, wrapped: torch.nn.Module, optimizer: torch.optim.Optimizer, phase: OptimizerPhase, progress: Progress
    ) -> Losses:
        """One update of a phase's parameters, from `gradient_accumulation` micro-batches."""
        for group in optimizer.param_groups:
            group["lr"] = (phase.learning_rate or self.config.learning_rate) * self._rate(progress)
        self.trained.zero_grad()  # gradients that another phase has left
        losses: Losses = {}
        for micro in range(self.config.gradient_accumulation):
            number = progress.step * self.config.gradient_accumulation + micro
            with self.accelerator.accumulate(wrapped):
                batch = self.batches(number).to(self.accelerator.device)
                torch.manual_seed(self._seed(phase, number))  # after the batch, which may load an autoencoder
                of_batch = wrapped(batch, progress.step, phase.purpose)
                self._check(of_batch["loss"], batch, phase, progress)
                self.accelerator.backward(of_batch["loss"])
                for name, value in of_batch.items():
                    losses[name] = losses.get(name, 0) + value.detach() / self.config.gradient_accumulation
                if self.accelerator.sync_gradients:
                    self.parallelism.reduce_and_clip(phase, self.config.max_grad_norm)
                optimizer.step()
        return losses

    def _seed(self, phase: OptimizerPhase, number: int) -> int:
        """Seed of dropout in the network; another one in each process."""
        named = () if phase.name == MODEL else (phase.purpose,)
        return derive_seed(self.config.seed, "step", number, self.accelerator.process_index, *named)

    def _check(self, loss: torch.Tensor, batch: BatchT, phase: OptimizerPhase, progress: Progress) -> None:
        mean = self.accelerator.reduce(loss.detach(), "mean")  # all processes stop, or none
        if torch.isfinite(mean):
            return
        from_all(lambda: self._check_batch(batch, progress))
        whose = "" if phase.name == MODEL else f" of the {phase.name}"
        raise TrainingError(
            f"loss{whose} is {mean.item()} at step {progress.step + 1}; training diverged",
            where=self.folder,
            hint=f"lower the learning rate{whose}; the last checkpoint before it is kept",
        )

    def _check_batch(self, batch: BatchT, progress: Progress) -> None:
        tensors = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
        if names := not_finite(tensors):
            raise DataError(
                f"clips of step {progress.step + 1} hold numbers that are not finite ({names[0]})",
                where=self.folder,
                hint="repair the data, or encode the clips again",
            )

    def _read(self, losses: Losses) -> dict[str, float]:
        """Losses as numbers, averaged over all processes. This waits for the device, so that a step is timed whole."""
        return {name: float(self.accelerator.reduce(value.detach(), "mean")) for name, value in losses.items()}

    def _next(self, progress: Progress, seconds: float) -> Progress:
        """Progress after one more step. All processes use the same time, so that they end together."""
        if self.config.max_minutes is not None:
            mean = self.accelerator.reduce(torch.tensor(seconds, device=self.accelerator.device), "mean")
            seconds = float(mean)
        return Progress(progress.step + 1, progress.elapsed_s + seconds)

    def _rate(self, progress: Progress) -> float:
        """Share of the peak learning rate: linear warm-up, constant, then a cosine to zero at the end of the run."""
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

    def _report(self, log: Write, advance: Advance, progress: Progress, values: dict[str, float], rate: float) -> None:
        """Log a finished step, whose learning rate was a share of the peak."""
        self.recent.append(values["loss"])
        advance(f"loss {sum(self.recent) / len(self.recent):.4f}")
        if progress.step == 1 or progress.step % LOG_EVERY == 0 or self._finished(progress):
            self.logged.append(values["loss"])
            rates = {"learning_rate": self.config.learning_rate * rate, "elapsed_s": progress.elapsed_s}
            log(progress.step, values | rates)
        self.callback.after_step(progress.step, values)

    def _writer(self) -> CheckpointWriter:
        """What writes checkpoints. A callback is told when one is written, so it has the run wait for that."""
        background = self.config.background_checkpoints and type(self.callback) is Callback
        kind = BackgroundWriter if background else CheckpointWriter
        return kind(self.folder / CHECKPOINTS, self.state, self.fingerprint)

    def _save(self, writer: CheckpointWriter, progress: Progress) -> None:
        with self._averaged():
            self.callback.before_checkpoint(progress.step)
        writer.save(progress, RunHistory(self.callback.state_to_save(), tuple(self.logged)))
        with self._averaged():
            self.callback.after_checkpoint(progress.step)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return self.parallelism.averaged_weights(self.ema) if self.callback.needs_weights else contextlib.nullcontext()


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Raise every kind of allocation failure as `OutOfMemoryError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if allocation_failure(error) is None:
            raise
        hint = "set gradient_checkpointing, or a smaller batch_size with more gradient_accumulation; see --dry-run"
        raise OutOfMemoryError("not enough memory for a step of the training", hint=hint) from error
