"""The options that say how architectures are scored, which `search` and `rescore` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._data import DATA_HELP, open_clips
from nas.cli._paths import READS, READS_CLIPS

if TYPE_CHECKING:
    from nas.errors import NasError
    from nas.quality import QualityMetric
    from nas.space import SearchSpace

SupernetOption = Annotated[
    Path | None, typer.Option(parser=READS, help="Folder written by `nas train`; weights that architectures inherit.")
]
ClipsOption = Annotated[str | None, typer.Option(parser=READS_CLIPS, help=DATA_HELP)]
FunctionOption = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="MODULE:FUNCTION",
        help="Score with a function of yours instead: of the architecture, or with --supernet also of its network.",
    ),
]
ClassifierOption = Annotated[
    Path | None,
    typer.Option(
        parser=READS, help="Score by the clips that architectures make, which this classifier sees (`nas classifier`)."
    ),
]
SampleMetricOption = Annotated[
    str | None,
    typer.Option(help="Metric of these clips: distance (Frechet video distance, the default) or accuracy."),
]
DirectionOption = Annotated[
    str | None, typer.Option(help="minimize or maximize, where the function of --quality does not say.")
]


SAMPLED_CLIPS = 144
"""Clips of each architecture that metrics of clips look at: all colours, directions and shapes twice."""


@dataclass(frozen=True)
class QualityOptions:
    """What the options said; `None` for what was not given.

    Args:
        function: Module and name of a function, with a colon between them.
        direction: Its direction.
        supernet: Folder of a trained supernet.
        data: Name of the clips.
        batches: Batches of held-out clips.
        finetune_steps: Steps of training each architecture alone.
        seed: Seed of whatever is drawn.
        classifier: Folder of a classifier of clips.
        sample_metric: Metric of the clips it sees.
    """

    function: str | None
    direction: str | None
    supernet: Path | None
    data: str | None
    batches: int | None
    finetune_steps: int | None
    seed: int
    classifier: Path | None = None
    sample_metric: str | None = None


def make_quality(options: QualityOptions, space: SearchSpace, *, batches: int) -> QualityMetric:
    """The metric that the options ask for; `batches` of held-out clips where they do not say how many.

    Raises:
        ConfigError: Options contradict each other, or one is missing.
    """
    if options.classifier is not None:
        return _sampled_quality(options, options.classifier, space)
    if options.sample_metric is not None:
        raise _meaningless("--sample-metric", "clips that a --classifier sees", "scores without one")
    if options.function is not None:
        return _function_quality(options, options.function, space)
    return _held_out_quality(options, space, options.batches or batches)


def _function_quality(options: QualityOptions, spec: str, space: SearchSpace) -> QualityMetric:
    from nas.errors import ConfigError
    from nas.quality import FunctionQuality, load_function, takes_network
    from nas.training import load_supernet

    mine = {"--data": options.data, "--batches": options.batches, "--finetune-steps": options.finetune_steps}
    for name, value in mine.items():
        if value is not None:
            raise _meaningless(name, "the held-out flow loss", "--quality")
    function = load_function(spec)
    if options.supernet is None:
        return FunctionQuality(function, direction=options.direction, name=spec)
    if not takes_network(function, where=spec):
        raise ConfigError(f"{spec} takes the architecture alone, --supernet means nothing to it", where="options",
                          hint="leave it out, or let the function take (architecture, network)")  # fmt: skip
    supernet, _ = load_supernet(space, options.supernet)
    return FunctionQuality(function, direction=options.direction, name=spec, supernet=supernet)


def _sampled_quality(options: QualityOptions, classifier: Path, space: SearchSpace) -> QualityMetric:
    from nas.data import prompts
    from nas.errors import ConfigError
    from nas.models.weights import weights_digest
    from nas.quality import ClipMetric, FrechetVideoDistance, ReadAccuracy, ShapeClassifier
    from nas.training import clip_quality

    others: dict[str, object] = {
        "--quality": options.function, "--direction": options.direction, "--batches": options.batches,
    }  # fmt: skip
    if options.finetune_steps is None:
        others["--data"] = options.data
    for name, value in others.items():
        if value is not None:
            raise _meaningless(name, "another metric", "--classifier")
    reader = ShapeClassifier.load(classifier)
    metrics: dict[str, ClipMetric] = {
        "distance": FrechetVideoDistance(reader.extract), "accuracy": ReadAccuracy(reader),
    }  # fmt: skip
    chosen = options.sample_metric or "distance"
    if chosen not in metrics:
        raise ConfigError(
            f"--sample-metric {chosen!r} is unknown", where="options", hint=f"give {' or '.join(metrics)}"
        )
    if options.supernet is None or (options.finetune_steps is not None and options.data is None):
        missing = "--supernet" if options.supernet is None else "--data, to train each architecture with"
        raise ConfigError(f"--classifier needs {missing}", where="options", hint="name what `nas train` was given")
    return clip_quality(
        space, options.supernet, metrics[chosen], prompts(SAMPLED_CLIPS, seed=options.seed),
        clips=None if options.data is None else open_clips(options.data, space).train,
        finetune_steps=options.finetune_steps, seed=options.seed, depends_on=weights_digest(reader),
    )  # fmt: skip


def _held_out_quality(options: QualityOptions, space: SearchSpace, batches: int) -> QualityMetric:
    from nas.errors import ConfigError
    from nas.training import held_out_quality

    if options.direction is not None:
        raise ConfigError("--direction is that of a function", where="options", hint="give --quality, or leave it out")
    if options.supernet is None or options.data is None:
        given = (("--supernet", options.supernet), ("--data", options.data))
        missing = " and ".join(name for name, value in given if value is None)
        raise ConfigError(f"the held-out flow loss needs {missing}", where="options",
                          hint="or score with a function of yours, --quality module:function")  # fmt: skip
    return held_out_quality(
        space,
        options.supernet,
        open_clips(options.data, space),
        finetune_steps=options.finetune_steps,
        seed=options.seed,
        batches=batches,
    )


def _meaningless(option: str, owner: str, other: str) -> NasError:
    from nas.errors import ConfigError

    return ConfigError(f"{option} belongs to {owner}, and means nothing to {other}", where="options",
                       hint="leave one of them out")  # fmt: skip
