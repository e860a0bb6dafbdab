"""What latencies can be measured on from here, now, and why not on the rest."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from nas.errors import RuntimeUnavailableError
from nas.runtimes.core_ml import CoreMLRuntime, coremltools_missing
from nas.runtimes.environment import cpu_model
from nas.runtimes.phone.devicectl import ConnectedPhone, list_phones

Kind = Literal["processor", "mac", "iphone"]


@dataclass(frozen=True)
class Device:
    """Something to measure on.

    Args:
        kind: The processor of this machine, this Mac through Core ML, or an iPhone.
        name: Its name; for an iPhone, what `nas profile --device` takes. `None` where there is none of the kind.
        runtimes: Runtimes that would measure on it.
        reason: Why nothing can be measured on it now; `None` where it can.
        hint: What to do about that, or how to measure on it.
        phone: An iPhone's particulars.
    """

    kind: Kind
    name: str | None
    runtimes: tuple[str, ...]
    reason: str | None
    hint: str | None
    phone: ConnectedPhone | None = None

    @property
    def ready(self) -> bool:
        """Whether latencies can be measured on it now."""
        return self.reason is None


def devices() -> tuple[Device, ...]:
    """This machine's processor, this Mac through Core ML, and the iPhones it knows; each with what is in the way."""
    hint = "nas profile SPACE --runtime onnxruntime --table FILE"
    return (Device("processor", cpu_model(), ("onnxruntime", "torch"), None, hint), _mac(), *_phones())


def _mac() -> Device:
    name = cpu_model() if sys.platform == "darwin" else None
    reason = CoreMLRuntime().unavailable_reason()
    hint = "nas profile SPACE --runtime coreml --table FILE" if reason is None else "run the same command on a Mac"
    return Device("mac", name, ("coreml",), reason, hint)


def _phones() -> tuple[Device, ...]:
    reason, hint = coremltools_missing(), "pip install coremltools, on a Mac with Xcode"
    if reason is None:
        try:
            found = list_phones()
        except RuntimeUnavailableError as error:
            reason, hint = error.what, error.hint or "connect the iPhone to a Mac with Xcode, see docs/iphone.md"
        else:
            reason, hint = "no iPhone is paired with this Mac", "plug one in, unlock it, and trust this Mac"
            if found:
                return tuple(map(_of_phone, found))
    return (Device("iphone", None, ("coreml",), reason, hint),)


def _of_phone(phone: ConnectedPhone) -> Device:
    obstacle, command = phone.obstacle(), f'nas profile SPACE --runtime coreml --device "{phone.name}" --table FILE'
    if obstacle is None:
        return Device("iphone", phone.name, ("coreml",), None, command, phone)
    reason, _, hint = obstacle.partition(": ")
    return Device("iphone", phone.name, ("coreml",), reason, hint, phone)
