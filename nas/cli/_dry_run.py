"""Options and output of `--dry-run`, of the commands that train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._common import emit_json, emit_table
from nas.formatting import bytes_text

if TYPE_CHECKING:
    from nas.training import DryRun

DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print what a run would take (parameters, memory, batches, checkpoints), and train nothing."
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(min=1, help="Number of processes for --dry-run (default: the launcher's)."),
]

_ESTIMATED = ("exchange", "activations", "activations_otherwise", "flowing", "updating", "accumulated", "together")


def processes_of(given: int | None, dry_run: bool) -> int:
    """Number of processes of a dry run.

    Raises:
        ConfigError: `--processes` is given for a real run, whose processes a launcher starts; or the launcher's
            variables contradict each other.
    """
    from nas.environment import launcher
    from nas.errors import ConfigError

    if given is not None and not dry_run:
        raise ConfigError(
            "--processes needs --dry-run",
            hint=f"start the run with: torchrun --nproc-per-node {given} -m nas ...",
        )
    return given or launcher().world_size


def print_dry_run(dry_run: DryRun, as_json: bool) -> None:
    """Print what a run would take, as a table or as JSON."""
    memory = dry_run.memory_bytes
    if as_json:
        plain = dry_run.model_dump()
        plain["memory_bytes"]["together"] = memory.together
        emit_json(plain | {"estimated": [f"memory_bytes.{name}" for name in _ESTIMATED]})
        return
    emit_table("dry run", [{"what": what, "value": value, "is": kind} for what, value, kind in _rows(dry_run)])


def _rows(dry_run: DryRun) -> list[tuple[str, Any, str]]:
    memory = dry_run.memory_bytes
    kept = dry_run.checkpoints_kept * dry_run.checkpoint_bytes
    return [
        ("parameters trained", f"{dry_run.trained_parameters:,}", "counted"),
        ("parameters frozen", f"{dry_run.frozen_parameters:,}", "counted"),
        ("processes", f"{dry_run.processes} ({dry_run.parallel})", "given"),
        ("memory per process: weights", bytes_text(memory.weights), "counted"),
        ("memory per process: gradients", bytes_text(memory.gradients), "counted"),
        ("memory per process: optimiser", bytes_text(memory.optimizer), "counted"),
        ("memory per process: averaged weights", bytes_text(memory.averages), "counted"),
        ("memory per process: exchange", bytes_text(memory.exchange), "estimate"),
        (f"memory per process: activations, {_recomputed(dry_run, True)}", bytes_text(memory.activations), "estimate"),
        ("memory per process: backward pass", bytes_text(memory.flowing + memory.accumulated), "estimate"),
        ("memory per process: update of the weights", bytes_text(memory.updating), "estimate"),
        ("memory per process: together, at the peak", bytes_text(memory.together), "estimate"),
        (f"activations, {_recomputed(dry_run, False)}", bytes_text(memory.activations_otherwise), "estimate"),
        ("global batch", f"{dry_run.batch} clips + {dry_run.image_batch} frames", "given"),
        ("micro-batch per process", f"{dry_run.micro_batch} clips + {dry_run.image_micro_batch} frames", "counted"),
        ("steps", f"{dry_run.steps:,}", "given"),
        ("tokens seen (latent pixels x frames)", f"{dry_run.latent_pixels:,}", "counted"),
        ("checkpoints written", f"{dry_run.checkpoints} of {bytes_text(dry_run.checkpoint_bytes)}", "counted"),
        ("checkpoints kept", f"{dry_run.checkpoints_kept}, {bytes_text(kept)}", "counted"),
    ]


def _recomputed(dry_run: DryRun, configured: bool) -> str:
    return "blocks recomputed" if dry_run.gradient_checkpointing == configured else "all stored"
