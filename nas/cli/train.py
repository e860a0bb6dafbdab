"""`nas train`: train the supernet of a space, or one architecture of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._data import DataOption, open_clips


def train(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run goes on from there.")],
    architecture: Annotated[
        Path | None, typer.Option(help="Train this architecture (YAML) alone, instead of the supernet.")
    ] = None,
    supernet: Annotated[
        Path | None, typer.Option(help="Start --architecture from the weights of this supernet, not from scratch.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Training settings (YAML); the options below win.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="End after so many minutes of training.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Clips per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    guidance_scale: Annotated[
        float, typer.Option(min=1, help="Default guidance of a model trained with --architecture.")
    ] = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Train the weight-sharing supernet of SPACE, or with --architecture a single network."""
    from nas.errors import ConfigError
    from nas.files import load_yaml, parse
    from nas.space import SearchSpace
    from nas.training import TrainingConfig, finetune_model, inherit_model, train_model, train_supernet

    if supernet is not None and architecture is None:
        raise ConfigError("--supernet says where an architecture starts from", hint="give --architecture, too")

    options = {
        "steps": steps,
        "max_minutes": max_minutes,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    base = load_yaml(config, TrainingConfig).model_dump() if config else {}
    given = {name: value for name, value in options.items() if value is not None}
    settings = parse(base | given, TrainingConfig, where="options")
    loaded = SearchSpace.load(space)
    chosen = loaded.load_architecture(architecture) if architecture else None
    clips = open_clips(data, loaded).train
    if chosen is None:
        result, made = train_supernet(loaded, clips, settings, out), out / "supernet"
    elif supernet is not None:
        inherited = inherit_model(loaded, supernet, chosen, guidance_scale=guidance_scale)
        result, made = finetune_model(inherited, clips, settings, out), out / "model"
    else:
        result = train_model(loaded, chosen, clips, settings, out, guidance_scale=guidance_scale)
        made = out / "model"
    row = {
        "made": str(made),
        "steps": result.steps,
        "minutes": round(result.elapsed_s / 60, 2),
        "loss": round(result.final_loss, 5),
        "metrics": str(out / "metrics.csv"),
    }
    if as_json:
        emit_json(row)
    else:
        emit_table("trained", [row])
