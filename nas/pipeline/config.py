"""The file that describes a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from nas.data import ClipShape, DataConfig, DataSplit, open_data
from nas.files import StrictModel, load_yaml
from nas.search import SearchConfig
from nas.space import SearchSpace
from nas.training import DistillationConfig, TrainingConfig


class ProfileStage(StrictModel):
    """How the blocks are measured.

    Args:
        runtime: Name of the runtime.
        threads: Threads it may use.
        rounds: Rounds in which every block is timed in turn.
    """

    runtime: str = "onnxruntime"
    threads: PositiveInt = 1
    rounds: PositiveInt = 25


class CheckStage(StrictModel):
    """How predictions are checked.

    Args:
        networks: Members of the front that are measured as whole networks.
    """

    networks: PositiveInt = 5


class PickStage(StrictModel):
    """Which member of the front goes on.

    Args:
        latency_budget_ms: The best quality within this pipeline latency; the knee of the front when left out.
    """

    latency_budget_ms: PositiveFloat | None = None


class QualityStage(StrictModel):
    """How finely architectures are scored.

    Args:
        batches: Batches of eight held-out clips per architecture.
    """

    batches: PositiveInt = 4


class DistillStage(StrictModel):
    """How the chosen architecture is trained on and distilled.

    Args:
        finetune: Training of the chosen architecture alone, from the weights it inherits.
        training: The distillation's loop.
        distillation: What to distil to.
    """

    finetune: TrainingConfig | None = None
    training: TrainingConfig = TrainingConfig()
    distillation: DistillationConfig = DistillationConfig()


class ExportStage(StrictModel):
    """What is exported.

    Args:
        formats: Out of `safetensors`, `onnx` and `coreml`.
    """

    formats: tuple[str, ...] = ("safetensors", "onnx", "coreml")


class GenerateStage(StrictModel):
    """What is sampled at the end.

    Args:
        prompts: Captions; the first held-out captions when left empty.
        count: How many held-out captions.
        seed: Seed of the noise.
    """

    prompts: tuple[str, ...] = ()
    count: PositiveInt = 4
    seed: int = 0


class RunConfig(StrictModel):
    """A whole run, from search space to exported model.

    Args:
        space: Search-space file, relative to this file.
        out: Folder of the run, relative to this file.
        data: Training clips; a relative path starts from this file.
        validation_fraction: Share of the videos held out to score architectures on.
    """

    space: str
    out: str
    data: Annotated[DataConfig, Field(discriminator="kind")]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    profile: ProfileStage = ProfileStage()
    train: TrainingConfig = TrainingConfig()
    quality: QualityStage = QualityStage()
    search: SearchConfig = SearchConfig()
    pick: PickStage = PickStage()
    check: CheckStage = CheckStage()
    distill: DistillStage = DistillStage()
    export: ExportStage = ExportStage()
    generate: GenerateStage = GenerateStage()


def load_run(path: str | Path) -> tuple[RunConfig, SearchSpace]:
    """Read a run's file and its search space.

    Raises:
        ConfigError: One of them is missing or malformed.
    """
    config = load_yaml(path, RunConfig)
    return config, SearchSpace.load(Path(path).parent / config.space)


def open_clips(config: RunConfig, space: SearchSpace, base: Path, cache: Path) -> DataSplit:
    """The run's clips in the shape of its search space."""
    video = space.file.video
    shape = ClipShape(video.frames, video.height, video.width, video.fps)
    return open_data(config.data, shape, base=base, cache=cache, validation_fraction=config.validation_fraction)
