"""Scores of the second stage, as attributes of a study.

Optuna does not allow to change finished trials. So the scores are attributes of the study: one per metric and
architecture, and one that names the metric that was used last.
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
    """Scores of a study's architectures by the metric of the second stage.

    Args:
        quality: The metric and its settings, as text.
        direction: Its direction.
        scores: Scores by id of the architecture.
        failures: Reasons of failures by id of the architecture.
        parts: Parts of the scores by id of the architecture; scores without parts are missing.
    """

    quality: str
    direction: Direction
    scores: Mapping[str, float]
    failures: Mapping[str, str]
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def metric_key(quality: QualityMetric) -> str:
    """A key for the scores of a metric. If it scores in parts, it is the same for any number of them."""
    return (
        fingerprint([quality.name, quality.direction, quality.parts_fingerprint])
        if quality.part_count > 1
        else _whole_key(quality)
    )


def _whole_key(quality: QualityMetric) -> str:
    """The key of a metric that scores in one piece; earlier versions had no other."""
    return fingerprint([quality.name, quality.direction, quality.fingerprint])


def adopt_scores(study: optuna.Study, quality: QualityMetric) -> None:
    """Let scores that an earlier version made of all parts of a metric count as those of this version."""
    known = read_scores(study.user_attrs, metric_key(quality))[0]
    earlier = read_scores(study.user_attrs, _whole_key(quality))[0] if quality.part_count > 1 else {}
    for name, score in earlier.items():
        if name not in known and score.parts:
            write_score(study, metric_key(quality), name, score=score)


def write_score(study: optuna.Study, metric: str, architecture_id: str, *, score: Score) -> None:
    """Store a score."""
    kept = {"score": score.value, **({"parts": list(score.parts)} if score.parts else {})}
    study.set_user_attr(f"{_SCORE}/{metric}/{architecture_id}", kept)


def write_failure(study: optuna.Study, metric: str, architecture_id: str, *, failure: str) -> None:
    """Store the reason of a failure."""
    study.set_user_attr(f"{_SCORE}/{metric}/{architecture_id}", {"failure": failure})


def make_final(study: optuna.Study, quality: QualityMetric) -> None:
    """Make the final front that of this metric's scores."""
    detail = f"up to {quality.detail}" if quality.part_count > 1 else quality.detail
    name = f"{quality.name} ({detail})" if quality.detail else quality.name
    study.set_user_attr(METRIC, {"metric": metric_key(quality), "quality": name, "direction": quality.direction})


def read_scores(
    attrs: Mapping[str, Any], metric: str, *, where: str = "study"
) -> tuple[dict[str, Score], dict[str, str]]:
    """The scores and the failures of a metric, by id of the architecture.

    Raises:
        ConfigError: An attribute is damaged; the message names it.
    """
    prefix = f"{_SCORE}/{metric}/"
    outcomes = {
        key.removeprefix(prefix): parse(value, _Outcome, where=where, within=key)
        for key, value in attrs.items()
        if key.startswith(prefix)
    }
    scores = {
        name: Score(outcome.score, outcome.parts) for name, outcome in outcomes.items() if outcome.score is not None
    }
    return scores, {name: outcome.failure for name, outcome in outcomes.items() if outcome.failure is not None}


def read_final_scores(attrs: Mapping[str, Any], *, where: str = "study") -> FinalScores | None:
    """The scores of the metric that was used last, `None` without a second stage; raises as `read_scores`."""
    if METRIC not in attrs:
        return None
    stored = parse(attrs[METRIC], _Metric, where=where, within=METRIC)
    scores, failures = read_scores(attrs, stored.metric, where=where)
    values = {name: score.value for name, score in scores.items()}
    parts = {name: score.parts for name, score in scores.items() if score.parts}
    return FinalScores(stored.quality, stored.direction, values, failures, parts)


class _Metric(pydantic.BaseModel):
    metric: str
    quality: str
    direction: Direction


class _Outcome(pydantic.BaseModel):
    score: _Finite | None = None
    parts: tuple[_Finite, ...] = ()
    failure: str | None = None
