"""The file that describes a whole run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from nas.compression import WeightKind
from nas.data import VALIDATION_FRACTION, DataConfig
from nas.data.config import ValidationFraction
from nas.errors import ConfigError
from nas.export import converters
from nas.files import StrictModel, UserPath, load_yaml
from nas.latency import LatencyTable, kind_for_tables
from nas.pipeline.devices import SearchStage
from nas.pipeline.metrics import QualityStage, RescoreStage
from nas.pipeline.runner import stage_begun
from nas.pipeline.settings import (
    BackboneStage,
    CheckStage,
    DistillStage,
    ExportStage,
    FitStage,
    GenerateStage,
    PickStage,
    ProfileStage,
)
from nas.space import SearchSpace
from nas.training import LoopConfig, SuperNetConfig
from nas.training.engine.environment import check_environment
from nas.training.recipes.starting import check_start


class RunConfig(StrictModel):
    """A whole run, from search space to exported model.

    Args:
        space: Search-space file, relative to this file.
        out: Folder of the run, relative to this file.
        data: Training clips; a relative path starts from this file.
        validation_fraction: Share of the videos held out to score architectures on.
        backbone: Model of images that the supernet starts from; the space's `backbone.pretrained`, or random weights,
            when left out.
        weights: Kind of weights of the network on the device, see `nas.compression`: the search and its second scoring
            compress the supernet to it, and so do the bundle's files whose format stores it. Weights are as they were
            trained when left out.
        quality: The quality metric of the search, and its options.
        rescore: The second scoring of the front; none if it is null. When left out, it is made if the metric of the
            search scores in parts (`QualityStage.again`).
    """

    space: UserPath
    out: UserPath
    data: Annotated[DataConfig, Field(discriminator="kind")]
    validation_fraction: ValidationFraction = VALIDATION_FRACTION
    profile: ProfileStage = ProfileStage()
    fit: FitStage = FitStage()
    backbone: BackboneStage | None = None
    train: SuperNetConfig = SuperNetConfig()
    weights: WeightKind | None = None
    quality: QualityStage = QualityStage()
    search: SearchStage = SearchStage()
    rescore: RescoreStage | None = None
    pick: PickStage = PickStage()
    check: CheckStage = CheckStage()
    distill: DistillStage = DistillStage()
    export: ExportStage = ExportStage()
    generate: GenerateStage = GenerateStage()

    @property
    def trainings(self) -> tuple[LoopConfig, ...]:
        """The settings of all trainings of the run."""
        backbone = None if self.backbone is None else self.backbone.training
        all_of_them = (backbone, self.train, self.distill.finetune, self.distill.training)
        return tuple(settings for settings in all_of_them if settings is not None)

    @model_validator(mode="after")
    def _same_denoising_steps(self) -> Self:
        searched, distilled = self.search.steps, self.distill.distillation.steps
        if searched != distilled:
            raise ValueError(
                f"search.steps is {searched}, but distill.distillation.steps is {distilled}; make them equal"
            )
        return self


def load_run(path: str | Path) -> tuple[RunConfig, SearchSpace]:
    """Read a run's file and its search space; a second scoring that the file does not mention is filled in.

    Raises:
        ArchitectureError: A backbone is to be trained without temporal layers, which the space does not allow.
        CheckpointError: The model to start from is not a model folder, or has another backbone.
        ConfigError: One of them is missing or malformed, a backbone is to be frozen that has no weights, or accelerate
            is configured for other results than the settings of a training. The runtime, or one of its options, is
            unknown. A quality metric cannot be made. A device of the search is unknown, or it is not said which latency
            is minimised.
        TableError: A table of another device is missing or damaged.
    """
    config = _with_second_scoring(load_yaml(path, RunConfig), Path(path).parent)
    with _of_stage(path, "profile"):
        config.profile.open_runtime()
    for key, scoring in (("quality", config.quality), ("rescore", config.rescore)):
        if scoring is not None:
            with _of_stage(path, key):
                scoring.check(Path(path).parent)
    with _of_stage(path, "export"):
        converters(config.export.formats, config.export.options)
    for settings in config.trainings:
        check_environment(settings)
    space = SearchSpace.load(Path(path).parent / config.space)
    with _of_stage(path):
        config.search.check_devices(
            config.profile.open_runtime(), space.budgets, config.pick.latency_budget_ms, Path(path).parent
        )
        _check_weights(config, Path(path).parent)
    if config.backbone is not None and config.backbone.training is not None:
        space.without_layers()
    else:
        check_start(space, config.train, backbone_folder(config, Path(path).parent))
    return config, space


def _check_weights(config: RunConfig, base: Path) -> None:
    """Refuse latencies of other weights than those of the search; raises `ConfigError`, or `TableError`."""
    profiled = config.profile.open_runtime().settings.options.get("weights")
    if profiled is not None and profiled != config.weights:
        raise ConfigError(f"profile measures {profiled} weights, weights is {config.weights}", hint="make them equal")
    kind_for_tables(config.weights or "fp32", [LatencyTable.load(base / table) for table in config.search.tables])


def _with_second_scoring(config: RunConfig, base: Path) -> RunConfig:
    """The settings with the second scoring that a run makes if its file says nothing of one.

    A run that came past it without one, because an earlier version made none, stays without.
    """
    root = base / config.out
    past = stage_begun(root, "front") and not stage_begun(root, "rescore")
    if "rescore" in config.model_fields_set or past:
        return config
    return config.model_copy(update={"rescore": config.quality.again()})


@contextlib.contextmanager
def _of_stage(path: str | Path, *stage: str) -> Iterator[None]:
    """Name the file, and the stage if the error does not name it, in an error of its settings."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(": ".join([*stage, str(error)]), where=path) from error


def run_inputs(config: RunConfig, space: SearchSpace, base: Path) -> list[Path]:
    """Files and folders that a run reads.

    Args:
        config: The run's settings.
        space: Its search space.
        base: Folder of the run's file, from which its relative paths start.
    """
    named = [
        config.space,
        getattr(config.data, "path", None),
        config.backbone and config.backbone.model,
        *config.search.tables,
    ]
    return [*(base / path for path in named if path), *map(Path, space.outside_paths)]


def backbone_folder(config: RunConfig, base: Path) -> Path | None:
    """Folder of the model of images that the run starts from without training it; `None` if there is none."""
    named = config.backbone and config.backbone.model
    return base / named if named else None
