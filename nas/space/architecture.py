"""One architecture: which temporal layer fills each slot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import ArchitectureError
from nas.files import StrictModel, load_yaml, parse, write_yaml


class _ArchitectureFile(StrictModel):
    space: str
    layers: dict[str, tuple[str, ...]]
    id: str | None = None


@dataclass(frozen=True)
class Architecture:
    """A frozen, hashable choice of layers.

    Args:
        space: Name of the search space it belongs to.
        layers: For each stage, in the order of the network, the names chosen for its slots in order.
    """

    space: str
    layers: tuple[tuple[str, tuple[str, ...]], ...]

    @cached_property
    def id(self) -> str:
        """Canonical identifier: equal choices in equal spaces have equal ids, on any machine."""
        return hashlib.sha256(f"{self.space}|{self}".encode()).hexdigest()[:12]

    @property
    def choices(self) -> tuple[str, ...]:
        """The chosen names, one per slot, in the order of the network."""
        return tuple(name for _, names in self.layers for name in names)

    def __str__(self) -> str:
        return "; ".join(f"{stage}: {' '.join(names)}" for stage, names in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for YAML and JSON."""
        return {"space": self.space, "id": self.id, "layers": {stage: list(names) for stage, names in self.layers}}

    @classmethod
    def from_dict(cls, value: Any, *, where: str | Path = "architecture") -> Architecture:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: A key is missing, unknown or of the wrong type.
            ArchitectureError: The stored id does not fit the stored layers.
        """
        return cls._from_file(parse(value, _ArchitectureFile, where=where), where)

    def save(self, path: str | Path) -> None:
        """Write the architecture as human-readable YAML."""
        write_yaml(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Architecture:
        """Read an architecture from YAML; raises as `from_dict` does."""
        return cls._from_file(load_yaml(path, _ArchitectureFile), path)

    @classmethod
    def _from_file(cls, file: _ArchitectureFile, where: str | Path) -> Architecture:
        # A space without a network has another order of stages, which is the order in the file.
        written = cls(file.space, tuple(file.layers.items()))
        if file.id == written.id:
            return written
        architecture = cls(file.space, tuple(sorted(file.layers.items(), key=_network_order)))
        if file.id is not None and file.id != architecture.id:
            raise ArchitectureError(
                f"id: expected {architecture.id}, the id of these layers in space {file.space!r}; got {file.id}",
                where=where,
                hint="remove the id, or restore the layers it was written for",
            )
        return architecture


def _network_order(item: tuple[str, object]) -> tuple[str, int, str]:
    """Sort key of a stage; `down`, `mid`, `up` are in alphabetical order."""
    part, _, number = item[0].partition(".")
    return (part, int(number) if number.isdecimal() else -1, number)
