"""What `nas search` writes into a study, read back with care: others can write there, too.

Optuna keeps attributes as plain data that any program may add, change or remove. What is not as it was written is
named with its trial and key. A trial of another program has no architecture, and does not belong to the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import optuna
import pydantic
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field, NonNegativeInt, PositiveInt

from nas.errors import ConfigError
from nas.files import parse
from nas.quality.base import Direction
from nas.space import Architecture, Budgets

IDENTITY = "identity"
"""Study attribute: what must not change while a study goes on."""

ARCHITECTURE = "architecture"
"""Trial attribute: what the trial is about."""

PARTS = "quality_parts"
"""Trial attribute, where the score has several parts: these. Trials of earlier versions have none."""

WITHDRAWN = "withdrawn"
"""Trial attribute: the study had all the architectures it asks for, and this one was never scored."""

LONGEST_NAME = 512
"""Optuna's column for names of studies."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Identity(pydantic.BaseModel):
    """The study attribute `identity`, as far as it is shown; see `nas.search.identity`."""

    space: str
    quality_metric: str
    direction: Direction
    steps: PositiveInt
    device: str
    runtime: str
    budgets: Budgets


class Scored(pydantic.BaseModel):
    """What a trial with a result holds: its objectives, and its attributes beside the architecture."""

    quality: Finite
    latency_ms: Milliseconds
    unet_ms: Milliseconds
    parameters: NonNegativeInt | None
    provenance: str
    runtime: str
    quality_parts: tuple[Finite, ...] = ()


def check_name(name: str) -> None:
    """Refuse a name of a study that not every storage can keep, or nobody can read.

    Raises:
        ConfigError: It is empty, too long, or has characters in it that are not to be seen.
    """
    if not name.strip():
        raise ConfigError("the name of the study is empty", where="study", hint="give it a name, e.g. --study first")
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"a name has {LONGEST_NAME} characters at most, got {len(name)}", where="study")
    if not name.isprintable():
        raise ConfigError(f"a name has no control characters, got {name!a}", where="study")


def read_identity(study: optuna.Study, *, where: str) -> Identity:
    """The identity of a study.

    Raises:
        ConfigError: There is none, so another program made the study; or it is damaged.
    """
    stored = study.user_attrs.get(IDENTITY)
    if stored is None:
        raise ConfigError("was not made by `nas search`", where=where, hint="name another study")
    found = parse(stored, Identity, where=where, within=IDENTITY)
    objectives = tuple(direction.name.lower() for direction in study.directions)
    if objectives != (found.direction, "minimize"):
        raise ConfigError(f"{IDENTITY}.direction: {found.direction} and minimize, but its objectives are to "
                          f"{', '.join(objectives)}", where=where, hint="the study is damaged")  # fmt: skip
    return found


def check_trials(study: optuna.Study, *, where: str) -> None:
    """Make sure that every trial of the search can be read.

    Raises:
        ConfigError: One is damaged; names trial and key.
        ArchitectureError: The architecture of one is.
    """
    for trial in study.get_trials(deepcopy=False):
        if ARCHITECTURE in trial.user_attrs:
            read_architecture(trial, where=where)
            if trial.state == TrialState.COMPLETE:
                read_scored(trial, where=where)


def read_architecture(trial: FrozenTrial, *, where: str = "study") -> Architecture:
    """The architecture of a trial that has one; raises as `check_trials`."""
    stored, place = trial.user_attrs[ARCHITECTURE], f"{where}: trial {trial.number}: {ARCHITECTURE}"
    if isinstance(stored, Mapping) and "id" not in stored:
        raise ConfigError("key id is missing", where=place)
    return Architecture.from_dict(stored, where=place)


def read_scored(trial: FrozenTrial, *, where: str) -> Scored:
    """What a complete trial of the search holds; raises `ConfigError` where it is damaged."""
    place = f"{where}: trial {trial.number}"
    values = trial.values or []
    if len(values) != 2:
        raise ConfigError(f"expected quality and latency, got {len(values)} values", where=place)
    quality, latency_ms = values
    attrs: dict[str, Any] = {name: trial.user_attrs[name] for name in Scored.model_fields if name in trial.user_attrs}
    return parse({**attrs, "quality": quality, "latency_ms": latency_ms}, Scored, where=place)


def is_foreign(trial: FrozenTrial) -> bool:
    """Whether a trial has a result, but not by the search."""
    return trial.state == TrialState.COMPLETE and ARCHITECTURE not in trial.user_attrs
