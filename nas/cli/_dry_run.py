"""`--dry-run` of the commands that train: what a run would take."""

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
        "--dry-run", help="Train nothing; print what it would take: parameters, memory, batches, checkpoints."
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that --dry-run reckons with; those of the launcher when left out."),
]

_ESTIMATED = ("exchange", "activations", "activations_otherwise", "flowing", "updating", "accumulated", "together")


def processes_of(given: int | None, dry_run: bool) -> int:
    """How many processes a dry run is to reckon with.

    Raises:
        ConfigError: Processes are given for a run that is not dry: a launcher starts those. Or the launcher's
            variables contradict each other.
    """
    from nas.environment import launcher
    from nas.errors import ConfigError

    if given is not None and not dry_run:
        raise ConfigError(
            "--processes is for --dry-run alone",
            hint=f"start the run with: torchrun --nproc-per-node {given} -m nas ...",
        )
    return given or launcher().world_size


def print_dry_run(found: DryRun, as_json: bool) -> None:
    """Print what a run would take, as a table or as JSON."""
    memory = found.memory_bytes
    if as_json:
        plain = found.model_dump()
        plain["memory_bytes"]["together"] = memory.together
        emit_json(plain | {"estimated": [f"memory_bytes.{name}" for name in _ESTIMATED]})
        return
    emit_table("dry run", [{"what": what, "value": value, "is": kind} for what, value, kind in _rows(found)])


def _rows(found: DryRun) -> list[tuple[str, Any, str]]:
    memory = found.memory_bytes
    kept = found.checkpoints_kept * found.checkpoint_bytes
    return [
        ("parameters trained", f"{found.trained_parameters:,}", "counted"),
        ("parameters frozen", f"{found.frozen_parameters:,}", "counted"),
        ("processes", f"{found.processes} ({found.parallel})", "given"),
        ("memory per process: weights", bytes_text(memory.weights), "counted"),
        ("memory per process: gradients", bytes_text(memory.gradients), "counted"),
        ("memory per process: optimiser", bytes_text(memory.optimizer), "counted"),
        ("memory per process: averaged weights", bytes_text(memory.averages), "counted"),
        ("memory per process: exchange", bytes_text(memory.exchange), "estimate"),
        (f"memory per process: activations, {_recomputed(found, True)}", bytes_text(memory.activations), "estimate"),
        ("memory per process: backward pass", bytes_text(memory.flowing + memory.accumulated), "estimate"),
        ("memory per process: update of the weights", bytes_text(memory.updating), "estimate"),
        ("memory per process: together, at the peak", bytes_text(memory.together), "estimate"),
        (f"activations, {_recomputed(found, False)}", bytes_text(memory.activations_otherwise), "estimate"),
        ("global batch", f"{found.batch} clips + {found.image_batch} frames", "given"),
        ("micro-batch per process", f"{found.micro_batch} clips + {found.image_micro_batch} frames", "counted"),
        ("steps", f"{found.steps:,}", "given"),
        ("tokens seen (latent pixels x frames)", f"{found.latent_pixels:,}", "counted"),
        ("checkpoints written", f"{found.checkpoints} of {bytes_text(found.checkpoint_bytes)}", "counted"),
        ("checkpoints kept", f"{found.checkpoints_kept}, {bytes_text(kept)}", "counted"),
    ]


def _recomputed(found: DryRun, configured: bool) -> str:
    return "blocks recomputed" if found.gradient_checkpointing == configured else "all kept"
