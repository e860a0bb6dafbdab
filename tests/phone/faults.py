"""What goes wrong, and when: rules in a file that a test writes and the programs read before each call."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.phone.desk import PhoneFolder, Record, read_json, write_json

# Which faults make sense for which calls. A name that stands for several calls comes with all of them.
_TRANSPORT = frozenset({"slow", "lost_connection", "error"})
_ANSWER = frozenset({"slow", "no_answer", "app_dies", "error", "malformed"})
FAULTS: dict[str, frozenset[str]] = {
    "build": frozenset({"slow", "signing", "error"}),
    "list_devices": frozenset({"slow", "error"}),
    "install": _TRANSPORT,
    "launch": _TRANSPORT | {"app_dies"},
    "info": _TRANSPORT,
    "copy_to": _TRANSPORT,
    "copy_from": _TRANSPORT,
    "devicectl": _TRANSPORT,
    "load": _ANSWER | {"out_of_memory", "out_of_memory_kill"},
    "prediction": _ANSWER | {"no_duration"},
    "compute_plan": _ANSWER,
    "unload": _ANSWER,
    "rpc": _ANSWER,
}


class Fault(NamedTuple):
    """What happens to one call.

    Args:
        name: Name of the fault, or `none`.
        call: How many calls of this kind there were, this one included.
        options: `delay_s`, `message` and the like.
    """

    name: str = "none"
    call: int = 0
    options: Record = {}


class Rule(NamedTuple):
    """Says which calls a fault happens to.

    Args:
        kind: Kind of call, a key of `FAULTS`.
        fault: Name of the fault.
        first: Number of the first call that it may happen to; calls count from 1 since the phone was plugged in.
        times: How often it happens; None is for ever.
        operation: Only where the model has an operation of this type.
        options: Handed on with the fault.
    """

    kind: str
    fault: str
    first: int
    times: int | None
    operation: str | None
    options: Record

    def covers(self, counts: dict[str, int], kinds: tuple[str, ...], operations: frozenset[str]) -> bool:
        """Whether the fault happens to a call of these kinds, with a model of these operations."""
        return (
            self.kind in kinds
            and counts[self.kind] >= self.first
            and self.times != 0
            and (self.operation is None or self.operation in operations)
        )


class Faults:
    """The faults of one phone, for a test to set at any time.

    Kinds of calls are the keys of `FAULTS`: what `devicectl` does (`list_devices`, `install`, `launch`, `info`,
    `copy_to`, `copy_from`, or `devicectl` for any), what the app is asked (`load`, `prediction`,
    `compute_plan`, `unload`, or `rpc` for any), and `build` for xcodebuild.

    Options: `delay_s` of `slow`; `message` and `code` of `error`; `operation` restricts any fault of `load`
    or `prediction` to models that have an operation of this type.
    """

    def __init__(self, phone: PhoneFolder) -> None:
        self._phone = phone

    def next(self, kind: str, fault: str, times: int = 1, **options: Any) -> None:
        """Let the next calls of a kind go wrong."""
        self._add(kind, fault, 1, times, options)

    def on_call(self, number: int, kind: str, fault: str, times: int = 1, **options: Any) -> None:
        """Let a certain call of a kind go wrong, counted from 1 since the phone was plugged in."""
        self._add(kind, fault, number, times, options)

    def from_now_on(self, kind: str, fault: str, **options: Any) -> None:
        """Let every call of a kind go wrong, until `clear`."""
        self._add(kind, fault, 1, None, options)

    def clear(self) -> None:
        """Nothing goes wrong any more. Counts of calls go on."""
        with self._phone.locked():
            write_json(self._phone.path / "faults.json", _read(self._phone) | {"rules": []})

    def _add(self, kind: str, fault: str, first: int, times: int | None, options: Record) -> None:
        if fault not in FAULTS.get(kind, ()):
            raise ValueError(f"no fault {fault!r} for calls of kind {kind!r}; there are {FAULTS}")
        rule = Rule(kind, fault, first, times, options.pop("operation", None), options)
        with self._phone.locked():
            record = _read(self._phone)
            record["rules"].append(rule._asdict())
            write_json(self._phone.path / "faults.json", record)


def take_fault(phone: PhoneFolder, *kinds: str, operations: frozenset[str] = frozenset()) -> Fault:
    """Count a call, and say what goes wrong with it. The first rule that covers it decides.

    Args:
        phone: Whose rules.
        kinds: Names that the call goes by, the most particular first.
        operations: Types of operations in the model that the call is about.
    """
    with phone.locked():
        record = _read(phone)
        counts = record["counts"]
        counts.update({kind: counts.get(kind, 0) + 1 for kind in kinds})
        fault = Fault(call=counts[kinds[0]])
        for item in record["rules"]:
            if Rule(**item).covers(counts, kinds, operations):
                item["times"] = None if item["times"] is None else item["times"] - 1
                fault = Fault(item["fault"], counts[kinds[0]], item["options"])
                break
        write_json(phone.path / "faults.json", record)
    return fault


def _read(phone: PhoneFolder) -> Record:
    path = phone.path / "faults.json"
    return read_json(path) if path.exists() else {"rules": [], "counts": {}}
