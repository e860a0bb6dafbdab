"""The attributes that `nas search` writes into a study, and how they are read and checked.

Optuna stores attributes as plain data that any program may add, change or remove. An error about a damaged attribute
names its trial and key. A trial of another program has no architecture, and does not belong to the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import optuna
import pydantic
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field, NonNegativeInt, PositiveInt

from nas.errors import ConfigError
from nas.files import parse
from nas.quality.base import Direction
from nas.search.latencies.devices import WORST, DeviceLatency
from nas.space import Architecture, Budgets

IDENTITY = "identity"
"""Study attribute: what must be equal in all runs of a study."""

DRAW = "draw"
"""Study attribute: the draw of the parts that a metric scores in. Studies of earlier versions have none."""

ARCHITECTURE = "architecture"
"""Trial attribute: the architecture of the trial."""

PARTS = "quality_parts"
"""Trial attribute: the parts of the score, if there are several. Trials of earlier versions have none."""

WITHDRAWN = "withdrawn"
"""Trial attribute: the study had enough architectures, so this one was not scored."""

LONGEST_NAME = 512
"""Length of Optuna's database column for names of studies."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class StudyDevice:
    """One of several devices of a study.

    Args:
        device: Its name for readers, which says if latencies are extrapolated.
        runtime: How architectures are executed there.
    """

    device: str
    runtime: str


class Identity(pydantic.BaseModel):
    """The part of the study attribute `identity` that is shown to users."""

    space: str
    quality_metric: str
    direction: Direction
    steps: PositiveInt
    device: str
    runtime: str
    budgets: Budgets
    devices: dict[str, StudyDevice] = {}
    second_objective: str | None = None
    weights: str | None = None

    @property
    def limit_ms(self) -> float | None:
        """The latency budget of a single device."""
        return None if isinstance(self.budgets.latency_ms, Mapping) else self.budgets.latency_ms

    @property
    def limits_ms(self) -> dict[str, float]:
        """The latency budgets of several devices."""
        return dict(self.budgets.latency_ms) if isinstance(self.budgets.latency_ms, Mapping) else {}

    @pydantic.model_validator(mode="after")
    def _devices_agree(self) -> Self:
        """Whether what is said of several devices is said of the same ones."""
        if not self.limits_ms.keys() <= self.devices.keys():
            raise ValueError("budgets.latency_ms names other devices than devices")
        if self.second_objective not in ({WORST, *self.devices} if self.devices else {None}):
            raise ValueError(f"second_objective is {self.second_objective!r}, which devices does not name")
        if self.second_objective == WORST and self.limits_ms.keys() != self.devices.keys():
            raise ValueError("budgets.latency_ms lacks a device")
        return self


class Scored(pydantic.BaseModel):
    """The objectives and attributes of a complete trial, except its architecture."""

    quality: Finite
    latency_ms: Milliseconds
    unet_ms: Milliseconds
    parameters: NonNegativeInt | None
    provenance: str
    runtime: str
    quality_parts: tuple[Finite, ...] = ()
    memory_bytes: NonNegativeInt | None = None
    low_ms: Milliseconds | None = None
    high_ms: Milliseconds | None = None
    interval_percent: PositiveInt | None = None
    device: str = ""
    devices: dict[str, DeviceLatency] = {}


def check_name(name: str) -> None:
    """Check the name of a study.

    Raises:
        ConfigError: It is empty, too long, or has control characters.
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
        ConfigError: It is missing, because another program made the study, or it is damaged.
    """
    stored = study.user_attrs.get(IDENTITY)
    if stored is None:
        raise ConfigError("was not made by `nas search`", where=where, hint="name another study")
    identity = parse(stored, Identity, where=where, within=IDENTITY)
    objectives = tuple(direction.name.lower() for direction in study.directions)
    if objectives != (identity.direction, "minimize"):
        raise ConfigError(f"{IDENTITY}.direction: {identity.direction} and minimize, but its objectives are to "
                          f"{', '.join(objectives)}", where=where, hint="the study is damaged")  # fmt: skip
    return identity


def check_trials(study: optuna.Study, *, where: str) -> None:
    """Check that every trial of the search can be read.

    Raises:
        ConfigError: A trial is damaged; the message names trial and key.
        ArchitectureError: The architecture of a trial is damaged.
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
    """The objectives and attributes of a complete trial; raises as `check_trials`."""
    place = f"{where}: trial {trial.number}"
    values = trial.values or []
    if len(values) != 2:
        raise ConfigError(f"expected quality and latency, got {len(values)} values", where=place)
    quality, second = values
    attrs: dict[str, Any] = {name: trial.user_attrs[name] for name in Scored.model_fields if name in trial.user_attrs}
    scored = parse({**attrs, "quality": quality, "latency_ms": second}, Scored, where=place)
    if not scored.devices:
        return scored
    # Of several devices, latency_ms is that of the device that decides, and the objective may be a share.
    if scored.device not in scored.devices:
        raise ConfigError(f"device: {scored.device!r} is not in devices", where=place)
    return scored.model_copy(update={"latency_ms": scored.devices[scored.device].latency_ms})


def is_foreign(trial: FrozenTrial) -> bool:
    """Whether another program made a complete trial."""
    return trial.state == TrialState.COMPLETE and ARCHITECTURE not in trial.user_attrs
