"""`--weights`: the kind of weights that a command scores, samples or exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nas.compression import WeightKind
    from nas.models import VideoModel

_KINDS = "fp32, fp16, int8, palettized_8, palettized_6 or palettized_4"

ScoredWeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KIND",
        help=f"Compress the supernet to this kind of weights, and score what architectures inherit: {_KINDS} "
        "(default: that of the latency table, or of the study to score again).",
    ),
]
SampledWeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="KIND", help=f"Compress the model's weights first: {_KINDS} (default: as they are)."
    ),
]


def known_kind(name: str | None) -> WeightKind | None:
    """The kind of weights of that name; raises `ConfigError` with the known ones if there is none."""
    from nas.compression import weight_format

    return None if name is None else weight_format(name).kind


def kind_of_study(storage: str, study: str) -> str | None:
    """The kind of weights that a study was scored with; `None` if there is no such study, which is reported later."""
    from nas.errors import NasError
    from nas.search import load_study

    try:
        return load_study(storage, study).weights
    except NasError:
        return None


def compressed(model: VideoModel, kind: str | None) -> VideoModel:
    """The model with weights of a kind; itself without one. Raises as `known_kind` and `VideoModel.compress`."""
    known = known_kind(kind)
    return model if known is None else model.compress(known)
