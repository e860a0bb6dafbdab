"""The options that say how architectures are scored, which `search` and `rescore` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._data import DATA_HELP, open_clips
from nas.cli._options import key_values
from nas.cli._paths import READS_CLIPS, READS_FOLDER, READS_SUPERNET

if TYPE_CHECKING:
    from nas.compression import WeightKind
    from nas.errors import NasError
    from nas.quality import QualityMetric
    from nas.space import SearchSpace

SupernetOption = Annotated[
    Path | None,
    typer.Option(parser=READS_SUPERNET, help="Folder written by `nas train`; architectures inherit its weights."),
]
ClipsOption = Annotated[str | None, typer.Option(parser=READS_CLIPS, help=DATA_HELP)]
MetricOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Quality metric: flow_loss (default), one of docs/quality.md such as subject_consistency, "
        "or one of an installed package.",
    ),
]
MetricOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric-option",
        metavar="KEY=VALUE",
        help="Set an option of the metric, such as batches=8; repeat it for each option.",
    ),
]
FunctionOption = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="MODULE:FUNCTION",
        help="Score with your own function of the architecture, or with --supernet also of its network.",
    ),
]
ClassifierOption = Annotated[
    Path | None,
    typer.Option(
        parser=READS_FOLDER,
        help="Score the clips that architectures generate with this classifier (see `nas classifier`).",
    ),
]
SampleMetricOption = Annotated[
    str | None,
    typer.Option(help="Metric of the generated clips: distance (Frechet video distance, default) or accuracy."),
]
DirectionOption = Annotated[
    str | None, typer.Option(help="Whether to minimize or maximize; needed if the function of --quality does not say.")
]

_OF_CLIPS = {"distance": "frechet_distance", "accuracy": "prompt_accuracy"}


@dataclass(frozen=True)
class QualityOptions:
    """What the options said; `None` for what was not given.

    Args:
        metric: Registered name of the metric.
        metric_options: Its options, as `key=value` texts.
        function: Module and name of a function, with a colon between them.
        direction: Its direction.
        supernet: Folder of a trained supernet.
        data: Name of the clips.
        batches: Batches of held-out clips.
        finetune_steps: Steps of training each architecture alone.
        seed: Seed for everything that the metric draws.
        classifier: Folder of a classifier of clips.
        sample_metric: Metric of the clips that the classifier sees.
        weights: Kind of weights to score with.
    """

    metric: str | None
    metric_options: list[str] | None
    function: str | None
    direction: str | None
    supernet: Path | None
    data: str | None
    batches: int | None
    finetune_steps: int | None
    seed: int
    classifier: Path | None = None
    sample_metric: str | None = None
    weights: WeightKind | None = None

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """The metric's registered name and its options.

        Raises:
            ConfigError: Options contradict each other, or one is missing.
        """
        name = self._name()
        options = {key: value for key, value in self._shortcuts().items() if value is not None}
        given = key_values(self.metric_options or (), "--metric-option")
        for key in options.keys() & given.keys():
            raise _twice(key)
        return name, {**options, **given}

    def _name(self) -> str:
        if self.metric is not None:
            self._refuse("--metric", {"--quality": self.function, "--sample-metric": self.sample_metric})
            return self.metric
        if self.classifier is not None:
            return self._metric_of_clips()
        if self.sample_metric is not None:
            raise _meaningless("--sample-metric", "clips that a --classifier sees", "scores without one")
        if self.function is None:
            if self.direction is not None:
                raise _stray_direction()
            return "flow_loss"
        owner = "the held-out flow loss"
        self._refuse("--quality", {"--data": self.data, "--batches": self.batches,
                                   "--finetune-steps": self.finetune_steps}, owner)  # fmt: skip
        return "function"

    def _metric_of_clips(self) -> str:
        from nas.errors import ConfigError

        data = self.data if self.finetune_steps is None else None
        self._refuse("--classifier", {"--quality": self.function, "--direction": self.direction,
                                      "--batches": self.batches, "--data": data})  # fmt: skip
        chosen = self.sample_metric or "distance"
        if chosen not in _OF_CLIPS:
            hint = f"give {' or '.join(_OF_CLIPS)}"
            raise ConfigError(f"--sample-metric {chosen!r} is unknown", where="options", hint=hint)
        return _OF_CLIPS[chosen]

    def _shortcuts(self) -> dict[str, Any]:
        """Options of the command that are options of a metric."""
        return {
            "function": self.function,
            "direction": self.direction,
            "batches": self.batches,
            "finetune_steps": self.finetune_steps,
            "classifier": None if self.classifier is None else str(self.classifier),
        }

    def _refuse(self, owner: str, others: dict[str, object], theirs: str = "another metric") -> None:
        for option, value in others.items():
            if value is not None:
                raise _meaningless(option, theirs, owner)


def make_quality(options: QualityOptions, space: SearchSpace, *, stage: str) -> QualityMetric:
    """The metric that the options ask for.

    Args:
        options: The options.
        space: The search space.
        stage: `search` or `rescore`; decides defaults.

    Raises:
        ConfigError: Options contradict each other, or one is missing or unknown.
    """
    from nas.errors import ConfigError
    from nas.quality import make_metric, metric_options
    from nas.training import SearchInputs

    name, given = options.chosen()
    checked = metric_options(name, given, where=f"--metric {name}", defaults=stage)
    data = options.data
    clips = None if data is None else lambda: open_clips(data, space)
    inputs = SearchInputs(space, supernet=options.supernet, clips=clips, seed=options.seed, weights=options.weights)
    if options.function is not None and options.supernet is not None:
        _check_takes_network(options.function)
    metric = make_metric(name, checked, inputs)
    needed = {"--supernet": options.supernet, "--data": data, "--weights": options.weights}
    used = inputs.used | ({"--weights"} if "--supernet" in inputs.used else set())
    for option, value in needed.items():
        if value is not None and option not in used:
            raise ConfigError(f"{option} means nothing to the metric {name}", where="options", hint="leave it out")
    return metric


def _check_takes_network(spec: str) -> None:
    from nas.errors import ConfigError
    from nas.quality import load_function, takes_network

    if not takes_network(load_function(spec), where=spec):
        raise ConfigError(f"{spec} takes the architecture alone, not --supernet", where="options",
                          hint="leave it out, or let the function take (architecture, network)")  # fmt: skip


def _meaningless(option: str, owner: str, other: str) -> NasError:
    from nas.errors import ConfigError

    return ConfigError(f"{option} belongs to {owner}, not to {other}", where="options",
                       hint="leave one of them out")  # fmt: skip


def _stray_direction() -> NasError:
    from nas.errors import ConfigError

    return ConfigError("--direction is that of a function", where="options", hint="give --quality, or leave it out")


def _twice(key: str) -> NasError:
    from nas.errors import ConfigError

    return ConfigError(f"{key} is given twice", where="--metric-option", hint="leave one of them out")
