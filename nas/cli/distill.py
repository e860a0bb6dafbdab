"""`nas distill`: from a trained model to a few-step model without guidance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._data import DataOption, open_clips
from nas.cli._dry_run import DryRunOption, ProcessesOption, print_dry_run, processes_of
from nas.cli._options import key_values
from nas.cli._paths import READS_FILE, READS_MODEL, READS_SUPERNET, WritesRun
from nas.cli._training import RunSeedOption, learning_rate_of, optimiser_steps

if TYPE_CHECKING:
    from nas.models import VideoModel
    from nas.space import SearchSpace
    from nas.training import DistillationSettings


def distill(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[
        Path, typer.Option(parser=WritesRun("model"), help="Folder of the run; an interrupted run resumes there.")
    ],
    model: Annotated[
        Path | None, typer.Option(parser=READS_MODEL, help="Teacher: a model made by `nas train --architecture`.")
    ] = None,
    supernet: Annotated[
        Path | None,
        typer.Option(
            parser=READS_SUPERNET,
            help="Supernet made by `nas train`, from which --architecture inherits the teacher's weights.",
        ),
    ] = None,
    architecture: Annotated[
        Path | None,
        typer.Option(parser=READS_FILE, help="Architecture of the teacher (YAML, made by `nas pick`), for --supernet."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            parser=READS_FILE, help="Settings (YAML, keys training and distillation); options take precedence."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the student learns: data, trajectory (default), consistency, distribution_matching, "
            "or one of an installed package.",
        ),
    ] = None,
    target_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Set an option of the target, such as huber_scale=0.03; repeat it for each option.",
        ),
    ] = None,
    adversarial: Annotated[
        bool, typer.Option("--adversarial", help="Also train the student against a discriminator.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps of the student (default: 4).")] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Guidance of the teacher, which is baked into the student (default: 3; for "
            "distribution_matching 1.5).",
        ),
    ] = None,
    teacher_substeps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the teacher per step of the student (default: 4).")
    ] = None,
    train_steps: Annotated[int | None, optimiser_steps(500)] = None,
    learning_rate: Annotated[float | None, learning_rate_of(0.0003)] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Clips per step; the same number of single frames is added (default: 8).")
    ] = None,
    seed: RunSeedOption = None,
    dry_run: DryRunOption = False,
    processes: ProcessesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Distil a model to a student that makes clips in a few steps without guidance.

    The run keeps the student whose clips are closest to those it learns from. It keeps that student even if the
    training fails: when a loss is no longer finite, when the discriminator has won, or when the student makes the same
    clip from any noise.
    """
    from nas.space import SearchSpace
    from nas.training import distill as run_distillation
    from nas.training import dry_run_distillation

    loaded = SearchSpace.load(space)
    training = {
        "steps": train_steps,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "image_batch_size": batch_size,
        "seed": seed,
    }
    to: dict[str, Any] = {
        "target": target,
        "target_options": key_values(target_option or (), "--target-option") or None,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "teacher_substeps": teacher_substeps,
        "adversarial": {} if adversarial else None,
    }
    settings = _settings(config, training, to)
    count = processes_of(processes, dry_run)
    if dry_run:
        chosen = loaded.load_architecture(_architecture(model, supernet, architecture))
        print_dry_run(dry_run_distillation(loaded, chosen, settings, count), as_json)
        return
    teacher = _teacher(loaded, model, supernet, architecture, settings)
    clips = open_clips(data, loaded).train
    result = run_distillation(teacher, clips, settings.training, settings.distillation, out)
    row = {
        "made": str(out / "model"),
        "denoising steps": settings.distillation.steps,
        "training steps": result.steps,
        "kept": f"step {result.kept_step}",
        "minutes": round(result.elapsed_s / 60, 2),
        "loss": round(result.final_loss, 5),
    }
    if as_json:
        emit_json(row)
    else:
        emit_table("distilled", [row])


def _settings(config: Path | None, training: dict[str, Any], to: dict[str, Any]) -> DistillationSettings:
    """The settings of a file, overridden by the options that were given."""
    from nas.files import load_yaml, parse
    from nas.training import DistillationSettings
    from nas.training.engine.environment import check_environment

    base = load_yaml(config, DistillationSettings).model_dump() if config else {"training": {}, "distillation": {}}
    distillation = base["distillation"]
    if distillation.get("adversarial") is not None:
        to = to | {"adversarial": None}  # the file says more than the option
    if to["target"] not in {None, distillation.get("target")}:
        distillation.pop("target_options", None)  # those of another target
    if to["target_options"] is not None:
        to = to | {"target_options": distillation.get("target_options", {}) | to["target_options"]}
    for part, options in (("training", training), ("distillation", to)):
        base[part] |= {name: value for name, value in options.items() if value is not None}
    settings = parse(base, DistillationSettings, where="options")
    check_environment(settings.training)
    return settings


_TEACHER = "give --model, or --supernet together with --architecture"


def _architecture(model: Path | None, supernet: Path | None, architecture: Path | None) -> Path:
    """The file with the teacher's architecture, which is all that a dry run needs of the teacher."""
    from nas.errors import ConfigError

    if model is not None and supernet is None and architecture is None:
        return model / "architecture.yaml"
    if model is None and architecture is not None:
        return architecture
    raise ConfigError("the teacher is not clear", hint=_TEACHER)


def _teacher(
    space: SearchSpace,
    model: Path | None,
    supernet: Path | None,
    architecture: Path | None,
    settings: DistillationSettings,
) -> VideoModel:
    from nas.errors import CheckpointError, ConfigError
    from nas.models import VideoModel
    from nas.training import inherit_model

    file = _architecture(model, supernet, architecture)
    if model is not None:
        teacher = VideoModel.load(model)
        if teacher.space.fingerprint != space.fingerprint:
            raise CheckpointError(f"belongs to another search space than {space.where}", where=model)
        return teacher
    if supernet is None:
        raise ConfigError("the teacher is not clear", hint=_TEACHER)
    chosen = space.load_architecture(file)
    return inherit_model(space, supernet, chosen, guidance_scale=settings.distillation.guidance)
