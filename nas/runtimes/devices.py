"""The devices that latencies can be measured on now, and why the others cannot be used."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from nas.errors import RuntimeUnavailableError
from nas.runtimes.base import Runtime
from nas.runtimes.core_ai.runtime import CoreAIRuntime, coreai_missing
from nas.runtimes.core_ml.runtime import CoreMLRuntime, coremltools_missing
from nas.runtimes.environment import cpu_model
from nas.runtimes.phone.devicectl import ConnectedPhone, list_phones

Kind = Literal["processor", "mac", "iphone"]


@dataclass(frozen=True)
class Device:
    """A device to measure on.

    Args:
        kind: The processor of this machine, this Mac through Core ML or Core AI, or an iPhone.
        name: Its name; for an iPhone, what `nas profile --device` takes. `None` if there is no device of the kind.
        runtimes: Runtimes that measure on it.
        reason: Why nothing can be measured on it now; `None` if it is ready.
        hint: How to make it ready, or how to measure on it.
        phone: Details of an iPhone.
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
    """This machine's processor, this Mac through Apple's runtimes, and iPhones, with reasons for those not ready."""
    hint = "nas profile SPACE --runtime onnxruntime --table FILE"
    return (Device("processor", cpu_model(), ("onnxruntime", "torch"), None, hint), *_mac(), *_phones())


def _mac() -> tuple[Device, Device]:
    executing = "run the same command on a Mac with macOS 27; here, nas export --formats coreai compares with torch"
    otherwise = "pip install 'nas-video[coreai]'" if coreai_missing() is not None else executing
    return _of_mac(CoreMLRuntime(), "run the same command on a Mac"), _of_mac(CoreAIRuntime(), otherwise)


def _of_mac(runtime: Runtime, otherwise: str) -> Device:
    """This Mac through a runtime of Apple's, with the hint for where it cannot be measured."""
    name = cpu_model() if sys.platform == "darwin" else None
    reason = runtime.unmeasurable_reason()
    hint = f"nas profile SPACE --runtime {runtime.name} --table FILE" if reason is None else otherwise
    return Device("mac", name, (runtime.name,), reason, hint)


def _phones() -> tuple[Device, ...]:
    reason, hint = coremltools_missing(), "pip install coremltools, on a Mac with Xcode"
    if reason is None:
        try:
            phones = list_phones()
        except RuntimeUnavailableError as error:
            reason, hint = error.what, error.hint or "see docs/iphone.md"
        else:
            reason, hint = "no iPhone is paired with this Mac", "plug one in, unlock it, and trust this Mac"
            if phones:
                return tuple(map(_of_phone, phones))
    return (Device("iphone", None, ("coreml",), reason, hint),)


def _of_phone(phone: ConnectedPhone) -> Device:
    obstacle, command = phone.obstacle(), f'nas profile SPACE --runtime coreml --device "{phone.name}" --table FILE'
    if obstacle is None:
        return Device("iphone", phone.name, ("coreml",), None, command, phone)
    reason, _, hint = obstacle.partition(": ")
    return Device("iphone", phone.name, ("coreml",), reason, hint, phone)
