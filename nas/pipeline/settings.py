"""The settings of the stages of a run; those of the search and of the metrics are beside this."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from nas.export import Chunks
from nas.files import StrictModel, UserPath
from nas.latency import FitMeasurementSettings, MeasurementSettings
from nas.runtimes import Runtime, get_runtime
from nas.training import DistillationSettings, TrainingConfig

_MEASUREMENT = Field(validation_alias=AliasChoices("measurement", "protocol"), serialization_alias="protocol")
"""Files of earlier versions say `protocol`, and digests of stages (see `Stage.digest`) keep that key."""


class ProfileStage(StrictModel):
    """How the blocks are measured.

    Args:
        runtime: Name of the runtime.
        options: Options of the runtime, as `nas profile --runtime-option` takes them.
        threads: Short for the option `threads`.
        measurement: How precisely to measure.
        memory_budget_bytes: Blocks that need more are left out of the search; no limit when left out.
    """

    runtime: str = "onnxruntime"
    options: dict[str, bool | int | FiniteFloat | str | None] = {}
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    measurement: Annotated[MeasurementSettings, _MEASUREMENT] = MeasurementSettings()
    memory_budget_bytes: PositiveInt | None = None

    @model_validator(mode="after")
    def _threads_given_once(self) -> Self:
        if self.threads is not None and "threads" in self.options:
            raise ValueError("threads are given twice: leave them out, or out of options")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_options(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without options, the stage has the digest that it had before there were any, so that old runs resume."""
        written: dict[str, Any] = write(self)
        return written if self.options else {name: value for name, value in written.items() if name != "options"}

    def open_runtime(self) -> Runtime:
        """The runtime that measures.

        Raises:
            ConfigError: There is none of that name, it has no such option, or a value is impossible.
        """
        return get_runtime(self.runtime, **({"threads": self.threads} | self.options))


class FitStage(StrictModel):
    """How sums of blocks are fitted to whole networks.

    Args:
        networks: Whole networks to measure: at least 3, or 0 for no fit, which leaves the error unknown.
        measurement: How precisely to measure.
    """

    networks: NonNegativeInt = 10
    measurement: Annotated[FitMeasurementSettings, _MEASUREMENT] = FitMeasurementSettings()


class CheckStage(StrictModel):
    """How predictions are checked.

    Args:
        networks: Members of the front that are measured as whole networks.
        measurement: How precisely to measure.
    """

    networks: PositiveInt = 5
    measurement: Annotated[MeasurementSettings, _MEASUREMENT] = MeasurementSettings()


class PickStage(StrictModel):
    """Which member of the front is distilled and exported.

    Args:
        latency_budget_ms: Pick the best quality within this pipeline latency, with several devices one for each by its
            name; the knee of the front when left out.
        exact: Go by the scores alone, even where their noise leaves the order open.
    """

    latency_budget_ms: PositiveFloat | dict[str, PositiveFloat] | None = None
    exact: bool = False

    @model_serializer(mode="wrap")
    def _without_default(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As earlier versions wrote it, so that runs which they finished are not done again."""
        written: dict[str, Any] = write(self)
        return written if self.exact else {name: value for name, value in written.items() if name != "exact"}


class BackboneStage(StrictModel):
    """The model of images whose backbone and text encoder the supernet starts from.

    Args:
        model: Its folder, relative to this file.
        training: How the run trains it, if there is no folder: the network of the space without temporal layers, on the
            run's clips.
    """

    model: UserPath | None = None
    training: TrainingConfig | None = None

    @model_validator(mode="after")
    def _there_or_trained(self) -> Self:
        if (self.model is None) == (self.training is None):
            raise ValueError("give either the folder of a model, or a training")
        return self


class DistillStage(DistillationSettings):
    """How the picked architecture is trained further and distilled.

    Args:
        finetune: Training of the picked architecture alone, from the weights it inherits; none when left out.
    """

    finetune: TrainingConfig | None = None


class ExportStage(StrictModel):
    """What is exported.

    Args:
        formats: Formats of the bundle: `safetensors`, `onnx`, `coreml`, `coreai` (needs the extra `coreai`).
        options: Options of the converters, as `nas export --runtime-option` takes them.
        chunks: Programs that the denoising network is cut into, 1 or 2.
    """

    formats: tuple[Literal["safetensors", "onnx", "coreml", "coreai"], ...] = ("safetensors", "onnx", "coreml")
    options: dict[str, bool | int | FiniteFloat | str | None] = {}
    chunks: Chunks = 1

    @model_validator(mode="after")
    def _weights_are_the_runs(self) -> Self:
        if "weights" in self.options:
            raise ValueError("options: weights is a key of the run, beside export")
        return self

    @model_serializer(mode="wrap")
    def _as_earlier_versions(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omits what earlier versions did not have, unless it is set: the digests of their stages stay valid."""
        values: dict[str, Any] = serialize(self)
        new = {"options": {}, "chunks": 1}
        return {key: value for key, value in values.items() if key not in new or value != new[key]}


class GenerateStage(StrictModel):
    """The clips that are generated at the end.

    Args:
        prompts: Captions to use instead of those of the run's clips.
        training_count: Number of captions of training clips, spread evenly over them; without effect with `prompts`.
        count: Number of captions of held-out clips; without effect with `prompts`.
        seed: Seed of the noise.
    """

    prompts: tuple[str, ...] = ()
    training_count: NonNegativeInt = 4
    count: PositiveInt = 4
    seed: int = 0
