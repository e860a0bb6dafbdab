"""Options of the commands that train. Their defaults are those of the settings, which `--help` states."""

from __future__ import annotations

from typing import Annotated, Any

import typer

RunSeedOption = Annotated[int | None, typer.Option(help="Seed of the run (default: 0).")]


def optimiser_steps(default: int) -> Any:
    """The option that sets the number of steps."""
    return typer.Option(min=1, help=f"Optimiser steps (default: {default}).")


def learning_rate_of(default: float) -> Any:
    """The option that sets the learning rate."""
    return typer.Option(min=0, help=f"Peak learning rate (default: {default}).")
