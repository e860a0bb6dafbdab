"""`nas distill`: from an architecture to a few-step model without guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._data import DataOption, open_clips


def distill(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run goes on from there.")],
    model: Annotated[Path | None, typer.Option(help="Teacher: a model made by `nas train --architecture`.")] = None,
    supernet: Annotated[Path | None, typer.Option(help="Or: a supernet made by `nas train` ...")] = None,
    architecture: Annotated[Path | None, typer.Option(help="... with this architecture (YAML, `nas pick`).")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of the student.")] = 4,
    guidance_scale: Annotated[float, typer.Option(min=1, help="Teacher guidance, baked into the student.")] = 3.0,
    teacher_substeps: Annotated[int, typer.Option(min=1, help="Teacher steps per student step.")] = 4,
    train_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 500,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 3e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips per step.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Teach a copy of a model to reach in a few steps where the guided model arrives in many."""
    from nas.errors import CheckpointError, ConfigError
    from nas.files import parse
    from nas.models import VideoModel
    from nas.space import SearchSpace
    from nas.training import DistillationConfig, LoopConfig, inherit_model
    from nas.training import distill as run_distillation

    loaded = SearchSpace.load(space)
    if model is not None and supernet is None and architecture is None:
        teacher = VideoModel.load(model)
        if teacher.space.fingerprint != loaded.fingerprint:
            raise CheckpointError(f"belongs to another search space than {space}", where=model)
    elif model is None and supernet is not None and architecture is not None:
        chosen = loaded.load_architecture(architecture)
        teacher = inherit_model(loaded, supernet, chosen, guidance_scale=guidance_scale)
    else:
        raise ConfigError("the teacher is not clear", hint="give --model, or --supernet together with --architecture")
    settings = {
        "steps": train_steps,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "image_batch_size": batch_size,
        "seed": seed,
    }
    result = run_distillation(
        teacher,
        open_clips(data, loaded).train,
        parse(settings, LoopConfig, where="options"),
        DistillationConfig(steps=steps, teacher_substeps=teacher_substeps, guidance_scale=guidance_scale),
        out,
    )
    row = {
        "made": str(out / "model"),
        "denoising steps": steps,
        "training steps": result.steps,
        "minutes": round(result.elapsed_s / 60, 2),
        "loss": round(result.final_loss, 5),
    }
    if as_json:
        emit_json(row)
    else:
        emit_table("distilled", [row])
