"""Options of the commands that train."""

from __future__ import annotations

from typing import Annotated

import typer

OptimiserStepsOption = Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")]
LearningRateOption = Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")]
RunSeedOption = Annotated[int | None, typer.Option(help="Seed of the run.")]
