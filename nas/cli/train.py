"""`nas train`: train the supernet of a space, or one of its architectures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._data import DataOption, open_clips
from nas.cli._dry_run import DryRunOption, ProcessesOption, print_dry_run, processes_of
from nas.cli._paths import READS_FILE, READS_MODEL, READS_SUPERNET, WritesRun
from nas.cli._training import RunSeedOption, learning_rate_of, optimiser_steps

if TYPE_CHECKING:
    from nas.space import SearchSpace
    from nas.training import DryRun, LoopConfig

    Settings = TypeVar("Settings", bound=LoopConfig)


def train(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[
        Path,
        typer.Option(
            parser=WritesRun("supernet", "model"), help="Folder of the run; an interrupted run resumes there."
        ),
    ],
    architecture: Annotated[
        Path | None, typer.Option(parser=READS_FILE, help="Train only this architecture (YAML), not the supernet.")
    ] = None,
    supernet: Annotated[
        Path | None,
        typer.Option(parser=READS_SUPERNET, help="Start --architecture from the weights of this supernet."),
    ] = None,
    backbone: Annotated[
        Path | None,
        typer.Option(
            parser=READS_MODEL,
            help="Start from the backbone and the text encoder of this model, such as a text-to-image model.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(parser=READS_FILE, help="Training settings (YAML); options take precedence.")
    ] = None,
    steps: Annotated[int | None, optimiser_steps(2000)] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="End after this many minutes of training (default: no limit).")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Clips per step (default: 8).")] = None,
    learning_rate: Annotated[float | None, learning_rate_of(0.001)] = None,
    seed: RunSeedOption = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="Architectures that a step of the supernet trains: uniform, fair or sandwich (default: uniform)."
        ),
    ] = None,
    guidance_scale: Annotated[
        float, typer.Option(min=1, help="Default guidance of a model that is trained with --architecture.")
    ] = 3.0,
    dry_run: DryRunOption = False,
    processes: ProcessesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the weight-sharing supernet of SPACE, or a single network with --architecture."""
    from nas.space import SearchSpace
    from nas.training import SuperNetConfig, TrainingConfig, finetune_model, inherit_model, train_model, train_supernet

    _refuse_contradictions(architecture, supernet, backbone, strategy)
    options = {
        "steps": steps,
        "max_minutes": max_minutes,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "strategy": strategy,
    }
    loaded, count = SearchSpace.load(space), processes_of(processes, dry_run)
    if dry_run:
        print_dry_run(_dry_run(loaded, architecture, config, options, count, backbone, supernet), as_json)
        return
    if architecture is None:
        settings = _settings(SuperNetConfig, config, options)
        clips, made = open_clips(data, loaded).train, out / "supernet"
        result = train_supernet(loaded, clips, settings, out, backbone=backbone)
    else:
        alone, made = _settings(TrainingConfig, config, options), out / "model"
        chosen, clips = loaded.load_architecture(architecture), open_clips(data, loaded).train
        if supernet is None:
            result = train_model(loaded, chosen, clips, alone, out, backbone=backbone, guidance_scale=guidance_scale)
        else:
            inherited = inherit_model(loaded, supernet, chosen, guidance_scale=guidance_scale)
            result = finetune_model(inherited, clips, alone, out)
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


def _refuse_contradictions(
    architecture: Path | None, supernet: Path | None, backbone: Path | None, strategy: str | None
) -> None:
    """Raise `ConfigError` for options that exclude each other."""
    from nas.errors import ConfigError

    if supernet is not None and architecture is None:
        raise ConfigError("--supernet gives the weights that an architecture starts from", hint="add --architecture")
    if supernet is not None and backbone is not None:
        raise ConfigError("--supernet and --backbone cannot be combined", hint="leave one of them out")
    if strategy is not None and architecture is not None:
        raise ConfigError("--strategy cannot be combined with --architecture", hint="leave one of them out")


def _dry_run(
    space: SearchSpace,
    architecture: Path | None,
    config: Path | None,
    options: Mapping[str, Any],
    processes: int,
    backbone: Path | None,
    supernet: Path | None,
) -> DryRun:
    from nas.training import SuperNetConfig, TrainingConfig, dry_run_model, dry_run_supernet

    if architecture is None:
        return dry_run_supernet(space, _settings(SuperNetConfig, config, options), processes, backbone=backbone)
    chosen = space.load_architecture(architecture)
    alone = _settings(TrainingConfig, config, options)
    return dry_run_model(space, chosen, alone, processes, backbone=backbone, supernet=supernet)


def _settings(kind: type[Settings], config: Path | None, options: Mapping[str, Any]) -> Settings:
    """Settings of a file, overridden by options."""
    from nas.files import load_yaml, parse
    from nas.training.engine.environment import check_environment

    base = load_yaml(config, kind).model_dump() if config else {}
    given = {name: value for name, value in options.items() if value is not None}
    settings = parse(base | given, kind, where="options")
    check_environment(settings)
    return settings
