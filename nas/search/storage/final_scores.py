"""Dearer scores of a study's architectures: how they stand in the storage.

Optuna lets nobody change a finished trial. They are attributes of the study: one per metric and architecture, and
one that names the metric that was used last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import optuna
import pydantic
from pydantic import Field

from nas.files import fingerprint, parse
from nas.quality.base import Direction
from nas.search.scores import Score

if TYPE_CHECKING:
    from nas.quality.base import QualityMetric

METRIC = "rescoring"
"""Study attribute: the metric of the final front."""

_SCORE = "rescored"

_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class FinalScores:
    """What a second, dearer metric says of a study's architectures.

    Args:
        quality: The metric, with how finely it scores.
        direction: Its direction.
        scores: By id of the architecture.
        failures: Likewise, why scoring failed.
        parts: Likewise, what the score is the mean of; nothing for a score that has no parts.
    """

    quality: str
    direction: Direction
    scores: Mapping[str, float]
    failures: Mapping[str, str]
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def metric_key(quality: QualityMetric) -> str:
    """What tells one metric's scores from another's."""
    return fingerprint([quality.name, quality.direction, quality.fingerprint])


def write_score(study: optuna.Study, metric: str, architecture_id: str, *, score: Score) -> None:
    """Keep a score; it is safe in the storage when this returns."""
    kept = {"score": score.value, **({"parts": list(score.parts)} if score.parts else {})}
    study.set_user_attr(f"{_SCORE}/{metric}/{architecture_id}", kept)


def write_failure(study: optuna.Study, metric: str, architecture_id: str, *, failure: str) -> None:
    """Keep why scoring failed."""
    study.set_user_attr(f"{_SCORE}/{metric}/{architecture_id}", {"failure": failure})


def make_final(study: optuna.Study, quality: QualityMetric) -> None:
    """Let the front of the study be that of this metric's scores."""
    name = f"{quality.name} ({quality.detail})" if quality.detail else quality.name
    study.set_user_attr(METRIC, {"metric": metric_key(quality), "quality": name, "direction": quality.direction})


def read_scores(
    attrs: Mapping[str, Any], metric: str, *, where: str = "study"
) -> tuple[dict[str, Score], dict[str, str]]:
    """The scores and the failures of a metric, by id of the architecture.

    Raises:
        ConfigError: One is damaged; names the attribute.
    """
    prefix = f"{_SCORE}/{metric}/"
    found = {
        key.removeprefix(prefix): parse(value, _Outcome, where=where, within=key)
        for key, value in attrs.items()
        if key.startswith(prefix)
    }
    scores = {one: Score(outcome.score, outcome.parts) for one, outcome in found.items() if outcome.score is not None}
    return scores, {one: outcome.failure for one, outcome in found.items() if outcome.failure is not None}


def read_final_scores(attrs: Mapping[str, Any], *, where: str = "study") -> FinalScores | None:
    """The scores of the metric that was used last; `None` when there was none; raises as `read_scores`."""
    if METRIC not in attrs:
        return None
    stored = parse(attrs[METRIC], _Metric, where=where, within=METRIC)
    scores, failures = read_scores(attrs, stored.metric, where=where)
    values = {one: score.value for one, score in scores.items()}
    parts = {one: score.parts for one, score in scores.items() if score.parts}
    return FinalScores(stored.quality, stored.direction, values, failures, parts)


class _Metric(pydantic.BaseModel):
    metric: str
    quality: str
    direction: Direction


class _Outcome(pydantic.BaseModel):
    score: _Finite | None = None
    parts: tuple[_Finite, ...] = ()
    failure: str | None = None
