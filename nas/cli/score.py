"""`nas score`: score a model by the clips that it generates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._common import JsonOption, SeedOption, emit_json, emit_table
from nas.cli._paths import READS
from nas.cli._weights import SampledWeightsOption, compressed

if TYPE_CHECKING:
    from nas.quality import ClipMetric


def score(
    model: Annotated[Path, typer.Argument(parser=READS, metavar="MODEL", help="Model folder.")],
    classifier: Annotated[
        Path,
        typer.Option(parser=READS, help="Folder of a classifier for clips of this shape, made by `nas classifier`."),
    ],
    features: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Your own features for the Frechet distance: a function of clips B x T x 3 x H x W, uint8, "
            "that returns a row for each.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(min=2, help="Number of moving_shapes prompts, balanced over colours, directions and shapes.")
    ] = 144,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps (default: the model's own).")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=1, help="Scale of classifier-free guidance (default: the model's own).")
    ] = None,
    weights: SampledWeightsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Print Frechet distance, prompt accuracy and flicker of the clips of MODEL, beside those of real clips."""
    from nas.data import prompts
    from nas.models import VideoModel
    from nas.quality.clips.scoring import score_clips

    metrics, asked = _metrics(classifier, features), prompts(count, seed=seed)
    scored = compressed(VideoModel.load(model), weights)
    scores = score_clips(scored, metrics, asked, seed=seed, steps=steps, guidance_scale=guidance_scale)
    if as_json:
        emit_json([{"metric": result.metric.name, "direction": result.metric.direction,
                    "generated": vars(result.generated), "real": vars(result.real)} for result in scores])  # fmt: skip
        return
    rows = [
        {
            "metric": result.metric.name,
            "generated": f"{result.generated.value:.4g}",
            "95% interval": f"{result.generated.low:.4g} to {result.generated.high:.4g}",
            "real": f"{result.real.value:.4g}",
            "better is": "lower" if result.metric.direction == "minimize" else "higher",
        }
        for result in scores
    ]
    emit_table(f"{model}, {count} prompts", rows)


def _metrics(classifier: Path, features: str | None) -> list[ClipMetric]:
    from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier, TemporalFlicker, load_function
    from nas.quality.clips.classifier import ATTRIBUTES

    reader = ShapeClassifier.load(classifier)
    extract = reader.extract if features is None else load_function(features, where="--features")
    distance = FrechetVideoDistance(extract, "Frechet video distance" + ("" if features is None else f", {features}"))
    return [distance, ReadAccuracy(reader), *(ReadAccuracy(reader, name) for name in ATTRIBUTES), TemporalFlicker()]
