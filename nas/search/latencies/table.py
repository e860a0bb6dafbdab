"""Latencies from a table: one value per architecture, or one per choice."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from nas.errors import ArchitectureError, ConfigError, TableError
from nas.files import fingerprint
from nas.latency.tables.rows import Provenance
from nas.search.protocols import Space
from nas.space import Architecture

if TYPE_CHECKING:
    import pandas as pd

LATENCY_COLUMN = "latency_ms"


@dataclass(frozen=True)
class KnownLatency:
    """The latency of one architecture in a table; implements `nas.search.LatencyFigure`.

    Args:
        pipeline_ms: Milliseconds of one result.
        provenance: `measured`, `estimated` or `published`.
        device: The device.
        runtime: How the architecture is executed there.
    """

    pipeline_ms: float
    provenance: Provenance
    device: str
    runtime: str

    @property
    def unet_ms(self) -> float:
        """Equal to `pipeline_ms`: one result is one call of the searched network."""
        return self.pipeline_ms


class _Known(ABC):
    """Base of both kinds of tables: it knows where their values come from."""

    def __init__(self, space: Space, *, provenance: Provenance, device: str, runtime: str) -> None:
        if provenance not in get_args(Provenance):
            known = ", ".join(get_args(Provenance))
            raise ConfigError(f"provenance {provenance!r} is unknown (known: {known})", where="latency table")
        self.space, self.provenance, self.device, self.runtime = space, provenance, device, runtime

    def predict(self, architecture: Architecture) -> KnownLatency:
        """The latency of one architecture.

        Raises:
            TableError: The table has no latency for the architecture; the message names it.
            ArchitectureError: The architecture does not fit the space.
        """
        known = self.space.architecture(architecture.choices)
        return KnownLatency(self._latency_ms(known), self.provenance, self.device, self.runtime)

    @abstractmethod
    def _latency_ms(self, architecture: Architecture) -> float:
        """Milliseconds of one architecture."""


class TableLatency(_Known):
    """One latency per architecture; implements `nas.search.LatencyModel`.

    Args:
        space: The space that the choices belong to.
        latencies_ms: Milliseconds by choices (one candidate per slot, in the order of the slots), or a frame with
            one column per slot and the column `latency_ms`.
        provenance: `measured`, `estimated` or `published`.
        device: The device.
        runtime: How architectures are executed there.

    Raises:
        TableError: There are no rows, choices do not fit the space, a latency is not a positive number, or one
            architecture has two latencies.
        ConfigError: The provenance is unknown.
    """

    def __init__(
        self,
        space: Space,
        latencies_ms: Mapping[Sequence[str], float] | pd.DataFrame,
        *,
        provenance: Provenance,
        device: str,
        runtime: str,
    ) -> None:
        super().__init__(space, provenance=provenance, device=device, runtime=runtime)
        self._known: dict[Architecture, float] = {}
        rows = latencies_ms.items() if isinstance(latencies_ms, Mapping) else _frame_rows(space, latencies_ms)
        for choices, latency_ms in rows:
            self._add(choices, latency_ms)
        if not self._known:
            raise TableError("has no rows", where="latency table")

    def __len__(self) -> int:
        return len(self._known)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all rows: a study is resumed only with an equal table."""
        rows = ((*architecture.choices, repr(latency_ms)) for architecture, latency_ms in self._known.items())
        return fingerprint(sorted(rows))

    def fastest(self) -> Architecture:
        """The architecture of least latency."""
        return min(self._known, key=self._known.__getitem__)

    def _latency_ms(self, architecture: Architecture) -> float:
        if architecture not in self._known:
            raise TableError(f"no latency of {architecture.id} ({architecture})", where="latency table",
                             hint=f"add it; {len(self):,} architectures are known")  # fmt: skip
        return self._known[architecture]

    def _add(self, choices: Sequence[str], value: Any) -> None:
        where = f"latency table, row {' '.join(map(str, choices))}"
        try:
            architecture = self.space.architecture(choices)
        except ArchitectureError as error:
            raise TableError(error.what, where=where) from error
        latency_ms = _positive(value, where)
        known_ms = self._known.setdefault(architecture, latency_ms)
        if known_ms != latency_ms:
            raise TableError(f"{known_ms:g} ms and {latency_ms:g} ms for one architecture, {architecture.id}",
                             where=where, hint="give one of them, or their mean")  # fmt: skip


class SumLatency(_Known):
    """The sum of one latency per choice, for spaces too large for a table; implements `nas.search.LatencyModel`.

    Args:
        space: The space.
        latencies_ms: For each slot, by its id, milliseconds by candidate.
        constant_ms: Milliseconds that every architecture takes in addition.
        provenance: `measured`, `estimated` or `published`.
        device: The device.
        runtime: How architectures are executed there.

    Raises:
        TableError: A choice has no latency, a latency is negative or not a number, or the table has a choice that
            the space does not have.
        ConfigError: The provenance is unknown.
    """

    def __init__(
        self,
        space: Space,
        latencies_ms: Mapping[str, Mapping[str, float]],
        *,
        constant_ms: float = 0.0,
        provenance: Provenance,
        device: str,
        runtime: str,
    ) -> None:
        super().__init__(space, provenance=provenance, device=device, runtime=runtime)
        self.constant_ms = _at_least_zero(constant_ms, "constant_ms")
        wanted = {slot.id: list(slot.candidates) for slot in space.slots}
        _same("slots", wanted, latencies_ms, "latency table")
        for slot, candidates in wanted.items():
            _same("candidates", candidates, latencies_ms[slot], f"latency table: slot {slot}")
        self._known = [
            {
                name: _at_least_zero(value, f"latency table, {slot}, {name}")
                for name, value in latencies_ms[slot].items()
            }
            for slot in wanted
        ]

    def fastest(self) -> Architecture:
        """The architecture of least latency, found slot by slot.

        Raises:
            TableError: The space declares two architectures with different sums equal.
        """
        return self._fastest

    @cached_property
    def _fastest(self) -> Architecture:
        choices = [min(known, key=known.__getitem__) for known in self._known]
        architecture = self.space.architecture(choices)
        if not math.isclose(self._latency_ms(architecture), self._sum(choices)):
            raise TableError(f"{' '.join(choices)} and {' '.join(architecture.choices)} are one architecture, and "
                             "their sums differ", where="latency table")  # fmt: skip
        return architecture

    def _latency_ms(self, architecture: Architecture) -> float:
        return self._sum(architecture.choices)

    def _sum(self, choices: Sequence[str]) -> float:
        return self.constant_ms + sum(known[choice] for known, choice in zip(self._known, choices, strict=True))


def _frame_rows(space: Space, frame: pd.DataFrame) -> Iterable[tuple[tuple[str, ...], Any]]:
    columns = [slot.id for slot in space.slots]
    missing = [name for name in (*columns, LATENCY_COLUMN) if name not in frame.columns]
    if missing:
        raise TableError(f"has no column {', '.join(missing)}", where="latency table",
                         hint=f"one column per slot, and {LATENCY_COLUMN}")  # fmt: skip
    rows = frame[columns].itertuples(index=False, name=None)
    return zip(rows, frame[LATENCY_COLUMN].tolist(), strict=True)


def _same(what: str, wanted: Iterable[str], given: Iterable[str], where: str) -> None:
    missing, foreign = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or foreign:
        parts = [f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("adds", foreign)) if names]
        raise TableError(f"does not have the {what} of the space: {'; '.join(parts)}", where=where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool | str) or not hasattr(value, "__float__") or not math.isfinite(float(value)):
        raise TableError(f"expected milliseconds, got {value!r}", where=where)
    return float(value)


def _positive(value: Any, where: str) -> float:
    number = _number(value, where)
    if number <= 0:
        raise TableError(f"expected milliseconds above zero, got {number:g}", where=where)
    return number


def _at_least_zero(value: Any, where: str) -> float:
    number = _number(value, where)
    if number < 0:
        raise TableError(f"expected milliseconds, zero or more, got {number:g}", where=where)
    return number
