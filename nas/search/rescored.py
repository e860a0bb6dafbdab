"""Dearer scores of a study's architectures: how they stand in the storage.

Optuna lets nobody change a finished trial. They are attributes of the study: one per metric and architecture, and
one that names the metric that was used last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna

from nas.files import fingerprint
from nas.search.pareto import Direction

if TYPE_CHECKING:
    from nas.quality.base import QualityMetric

METRIC = "rescoring"
"""Study attribute: the metric of the final front."""

_SCORE = "rescored"


@dataclass(frozen=True)
class Rescoring:
    """What a second, dearer metric says of a study's architectures.

    Args:
        quality: The metric, with how finely it scores.
        direction: Its direction.
        scores: By id of the architecture.
        failures: Likewise, why scoring failed.
    """

    quality: str
    direction: Direction
    scores: Mapping[str, float]
    failures: Mapping[str, str]


def metric_key(quality: QualityMetric) -> str:
    """What tells one metric's scores from another's."""
    return fingerprint([quality.name, quality.direction, quality.fingerprint])


def write_score(study: optuna.Study, metric: str, architecture_id: str, *, score: float) -> None:
    """Keep a score; it is safe in the storage when this returns."""
    study.set_user_attr(f"{_SCORE}/{metric}/{architecture_id}", {"score": score})


def write_failure(study: optuna.Study, metric: str, architecture_id: str, *, failure: str) -> None:
    """Keep why scoring failed."""
    study.set_user_attr(f"{_SCORE}/{metric}/{architecture_id}", {"failure": failure})


def make_final(study: optuna.Study, quality: QualityMetric) -> None:
    """Let the front of the study be that of this metric's scores."""
    name = f"{quality.name} ({quality.detail})" if quality.detail else quality.name
    study.set_user_attr(METRIC, {"metric": metric_key(quality), "quality": name, "direction": quality.direction})


def read_scores(attrs: Mapping[str, Any], metric: str) -> tuple[dict[str, float], dict[str, str]]:
    """The scores and the failures of a metric, by id of the architecture."""
    prefix = f"{_SCORE}/{metric}/"
    found = {key.removeprefix(prefix): value for key, value in attrs.items() if key.startswith(prefix)}
    scores = {one: float(value["score"]) for one, value in found.items() if "score" in value}
    return scores, {one: str(value["failure"]) for one, value in found.items() if "failure" in value}


def read_rescoring(attrs: Mapping[str, Any]) -> Rescoring | None:
    """The scores of the metric that was used last; `None` when there was none."""
    if METRIC not in attrs:
        return None
    stored = attrs[METRIC]
    scores, failures = read_scores(attrs, stored["metric"])
    return Rescoring(stored["quality"], stored["direction"], scores, failures)
