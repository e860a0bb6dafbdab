"""`nas score`: score a model by the clips that it generates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from nas.cli._common import DenoisingStepsOption, GuidanceOption, JsonOption, SeedOption, emit_json, emit_table
from nas.cli._data import DATA_HELP, open_clips
from nas.cli._options import key_values
from nas.cli._paths import READS_CLIPS, READS_FOLDER, READS_MODEL
from nas.cli._weights import SampledWeightsOption, compressed

if TYPE_CHECKING:
    from nas.models import VideoModel
    from nas.quality import ClipMetric, Estimate

    Scored: TypeAlias = tuple[str, str, Estimate, Estimate | None]


def score(
    model: Annotated[Path, typer.Argument(parser=READS_MODEL, metavar="MODEL", help="Model folder.")],
    classifier: Annotated[
        Path | None,
        typer.Option(
            parser=READS_FOLDER, help="Folder of a classifier for clips of this shape, made by `nas classifier`."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Score with this registered quality metric, such as subject_consistency; repeat it for each metric.",
        ),
    ] = None,
    metric_option: Annotated[
        list[str] | None,
        typer.Option(
            "--metric-option",
            metavar="[NAME.]KEY=VALUE",
            help="Set an option of all metrics that have it, such as clips=64, or of one: "
            "text_alignment.encoder=weights/clip.",
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(parser=READS_CLIPS, help=DATA_HELP)] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Your own features for the Frechet distance: a function of clips B x T x 3 x H x W, uint8, "
            "that returns a row for each.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Number of moving_shapes prompts, balanced over colours, directions and shapes (default: 144).",
        ),
    ] = None,
    steps: DenoisingStepsOption = None,
    guidance_scale: GuidanceOption = None,
    weights: SampledWeightsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Print how good the clips of MODEL are, with 95% intervals, beside the same numbers of real clips.

    With --metric, the metrics that it names judge clips of the captions that --data holds out. With --classifier, a
    classifier judges clips of moving_shapes: Frechet distance, prompt accuracy and flicker.
    """
    from nas.models import VideoModel

    if metric:
        _refuse({"--classifier": classifier, "--features": features, "--count": count}, "--metric")
        options = _options(metric, metric_option or [], {"steps": steps, "guidance_scale": guidance_scale})
        _show(model, _by_name(compressed(VideoModel.load(model), weights), options, data, seed), as_json)
        return
    _refuse({"--metric-option": metric_option, "--data": data}, "a classifier; give --metric")
    if classifier is None:
        from nas.errors import ConfigError

        raise ConfigError("give --metric, or for moving_shapes --classifier", where="options")
    from nas.data import prompts
    from nas.quality.clips.scoring import score_clips

    metrics, asked = _metrics(classifier, features), prompts(count or 144, seed=seed)
    scored = compressed(VideoModel.load(model), weights)
    scores = score_clips(scored, metrics, asked, seed=seed, steps=steps, guidance_scale=guidance_scale)
    _show(model, [(each.metric.name, each.metric.direction, each.generated, each.real) for each in scores], as_json)


def _show(model: Path, scores: Sequence[Scored], as_json: bool) -> None:
    if as_json:
        emit_json([{"metric": name, "direction": direction, "generated": vars(made), "real": real and vars(real)}
                   for name, direction, made, real in scores])  # fmt: skip
        return
    rows = [
        {
            "metric": name,
            "generated": f"{made.value:.4g}",
            "95% interval": f"{made.low:.4g} to {made.high:.4g}",
            "n": made.clips,
            "real": "" if real is None else f"{real.value:.4g}",
            "better is": "lower" if direction == "minimize" else "higher",
        }
        for name, direction, made, real in scores
    ]
    emit_table(str(model), rows)


def _by_name(model: VideoModel, metrics: dict[str, dict[str, Any]], data: str | None, seed: int) -> list[Scored]:
    from nas.quality.model_scores import score_model

    clips = None if data is None else lambda: open_clips(data, model.space)
    scores = score_model(model, metrics, clips, seed=seed)
    return [(each.name, each.direction, each.generated, each.real) for each in scores]


def _options(names: Sequence[str], texts: Sequence[str], shared: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Options of each metric: those of the command, those for all, and those for it alone."""
    from nas.errors import ConfigError
    from nas.quality import QUALITY_METRICS

    given = key_values(texts, "--metric-option")
    fields = {name: QUALITY_METRICS.get(name).Config.model_fields for name in names}
    for key, value in shared.items():
        if value is not None and not any(key in known for known in fields.values()):
            option = f"--{key.replace('_', '-')}"
            raise ConfigError(f"{option} means nothing to {' and '.join(names)}", where="options", hint="leave it out")
    found: dict[str, dict[str, Any]] = {
        name: {key: value for key, value in shared.items() if value is not None and key in fields[name]}
        for name in names
    }
    for key, value in sorted(given.items(), key=lambda item: "." in item[0]):
        name, dot, option = key.rpartition(".")
        takers = [name] if dot else [each for each in names if option in fields[each]]
        if not takers or (dot and name not in fields):
            known = ", ".join(sorted({field for each in fields.values() for field in each}))
            raise ConfigError(f"{key} is an option of none of the metrics (known: {known})", where="--metric-option")
        for taker in takers:
            found[taker][option] = value
    return found


def _refuse(others: dict[str, object], owner: str) -> None:
    from nas.errors import ConfigError

    for option, value in others.items():
        if value is not None:
            raise ConfigError(f"{option} means nothing to {owner}", where="options", hint="leave it out")


def _metrics(classifier: Path, features: str | None) -> list[ClipMetric]:
    from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier, TemporalFlicker, load_function
    from nas.quality.clips.classifier import ATTRIBUTES

    reader = ShapeClassifier.load(classifier)
    extract = reader.extract if features is None else load_function(features, where="--features")
    distance = FrechetVideoDistance(extract, "Frechet video distance" + ("" if features is None else f", {features}"))
    return [distance, ReadAccuracy(reader), *(ReadAccuracy(reader, name) for name in ATTRIBUTES), TemporalFlicker()]
