"""`nas classifier`: train the classifier that `nas score` uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SeedOption, SpaceArgument, emit_json, emit_table
from nas.cli._paths import WritesRun


def classifier(
    space: SpaceArgument,
    out: Annotated[
        Path,
        typer.Option(parser=WritesRun("classifier"), help="Folder of the run; an interrupted run resumes there."),
    ],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 600,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier of moving_shapes clips, in the shape of the clips of SPACE."""
    from nas.data import ClipShape
    from nas.space import SearchSpace
    from nas.training import train_classifier

    video = SearchSpace.load(space).file.video
    shape = ClipShape.of(video)
    record = train_classifier(shape, out, steps=steps, seed=seed)
    if as_json:
        emit_json({"made": str(out / "classifier"), "accuracy": record.accuracy})
    else:
        rows = [{"attribute": name, "read right": f"{share:.1%}"} for name, share in record.accuracy.items()]
        emit_table(f"{out / 'classifier'}, on held-out clips", rows)
