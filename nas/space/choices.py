"""The set of architectures that slots span: counting, sampling, mutating, enumerating."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nas.errors import ArchitectureError, ConfigError
from nas.space.architecture import Architecture
from nas.space.encoding import candidate_indices, encode_canonical
from nas.space.layers import NONE
from nas.space.product import Product
from nas.space.slots import Slot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ArchitectureSet:
    """All ways to fill the slots.

    Args:
        name: Name of the space, which its architectures carry.
        slots: The slots in the order of the network.
        where: What the slots come from, for messages.
    """

    def __init__(self, name: str, slots: tuple[Slot, ...], where: str | Path) -> None:
        self.name = name
        self.slots = slots
        self.where = Path(where)
        self.removed: dict[str, tuple[str, ...]] = {}
        """Candidates that `without` took out, by slot."""

    def without(self, removed: Mapping[str, Collection[str]]) -> Self:
        """A copy whose slots have fewer candidates; everything else is shared with the original.

        Its architectures are architectures of the original, with equal ids. An architecture that holds a removed
        candidate does not fit the copy. A supernet that was trained for the original serves both.

        Args:
            removed: Candidates to remove, by slot id.

        Raises:
            ConfigError: A slot or a candidate does not exist, or a slot would have no candidate left.
        """
        known = {slot.id: slot for slot in self.slots}
        for name, lost in removed.items():
            if name not in known:
                raise ConfigError(f"no slot {name!r} (known: {', '.join(known) or 'none'})", where=self.where)
            self._check_removal(known[name], lost)
        smaller = copy.copy(self)
        smaller.slots = tuple(_without(slot, removed.get(slot.id, ())) for slot in self.slots)
        smaller.removed = dict(self.removed)
        for name in (name for name, lost in removed.items() if lost):
            gone = [candidate for candidate in known[name].candidates if candidate in removed[name]]
            smaller.removed[name] = (*self.removed.get(name, ()), *gone)
        return smaller

    def architecture(self, choices: Sequence[str]) -> Architecture:
        """The architecture with these choices, one per slot in the order of the network.

        Raises:
            ArchitectureError: The number of choices is wrong, or a choice is not a candidate of its slot.
        """
        if len(choices) != len(self.slots):
            raise ArchitectureError(f"{len(choices)} choices for {len(self.slots)} slots", where=self.where)
        layers: dict[str, tuple[str, ...]] = {}
        for slot, choice in zip(self.slots, choices, strict=True):
            if choice not in slot.candidates:
                what = f"slot {slot.id} cannot hold {choice!r} (known: {', '.join(slot.candidates)})"
                raise ArchitectureError(what, where=self.where, hint=self._hint(slot, choice))
            layers[slot.stage] = (*layers.get(slot.stage, ()), choice)
        return Architecture(self.name, tuple(layers.items()))

    def without_layers(self) -> Architecture:
        """The architecture without temporal layers: the network of an image model.

        Raises:
            ArchitectureError: A slot does not offer `none`.
        """
        return self.architecture([NONE] * len(self.slots))

    def check(self, architecture: Architecture, *, where: str | Path | None = None) -> Architecture:
        """Return the architecture in canonical order.

        Args:
            architecture: The architecture.
            where: The file it came from, for messages.

        Raises:
            ArchitectureError: It belongs to another space, or does not fit this one.
        """
        place = where or f"architecture {architecture.id}"
        if architecture.space != self.name:
            raise ArchitectureError(f"space: expected {self.name!r}, got {architecture.space!r}", where=place)
        given = dict(architecture.layers)
        stages = {stage: [slot for slot in self.slots if slot.stage == stage] for stage in self._stages()}
        if given.keys() != stages.keys():
            expected, got = ", ".join(stages) or "none", ", ".join(given) or "none"
            raise ArchitectureError(f"layers: expected the stages {expected}; got {got}", where=place)
        for stage, slots in stages.items():
            self._check_stage(stage, slots, given[stage], place)
        return self.architecture([name for stage in stages for name in given[stage]])

    def encode(self, architectures: Sequence[Architecture]) -> NDArray[np.int64]:
        """Architectures as numbers: for each choice, its place among the candidates of its slot.

        Fast for many architectures: equal stages are looked up once. The places are those in this set; `without`
        moves up the candidates after a removed one.

        Args:
            architectures: Any number of them, each checked as by `check`.

        Returns:
            Array of shape (architectures, slots), slots in the order of the network.

        Raises:
            ArchitectureError: As `check`, for the first architecture that does not fit.
        """
        indices, fits = encode_canonical(self.name, self.slots, architectures)
        for row in (~fits).nonzero()[0].tolist():
            indices[row] = candidate_indices(self.slots, self.check(architectures[row]).choices)
        return indices

    def decode(self, indices: Sequence[int] | NDArray[np.int64]) -> Architecture:
        """The architecture that `encode` turns into these indices, one per slot.

        Raises:
            ArchitectureError: The number of indices is wrong, or one is not the place of a candidate.
        """
        if len(indices) != len(self.slots):
            raise ArchitectureError(f"{len(indices)} indices for {len(self.slots)} slots", where=self.where)
        for slot, index in zip(self.slots, indices, strict=True):
            if not 0 <= index < len(slot.candidates):
                what = f"slot {slot.id} has {len(slot.candidates)} candidates, none at index {index}"
                raise ArchitectureError(what, where=self.where)
        return self.architecture([slot.candidates[index] for slot, index in zip(self.slots, indices, strict=True)])

    def load_architecture(self, path: str | Path) -> Architecture:
        """Read an architecture of this space from YAML; raises as `check` and `Architecture.load` do."""
        return self.check(Architecture.load(path), where=path)

    def count(self) -> int:
        """Number of architectures."""
        return self._product().count()

    def smallest(self) -> Architecture:
        """The architecture with `none` in each slot that offers it, and the first candidate in the others."""
        return self.architecture([NONE if NONE in slot.candidates else slot.candidates[0] for slot in self.slots])

    def uniform(self, candidate: str) -> Architecture | None:
        """The architecture with this candidate in every slot; `None` if a slot does not offer it."""
        if all(candidate in slot.candidates for slot in self.slots):
            return self.architecture([candidate] * len(self.slots))
        return None

    def sample(self, rng: random.Random) -> Architecture:
        """A random architecture, every one equally likely."""
        return self.architecture(self._product().sample(rng))

    def sample_distinct(self, rng: random.Random, count: int) -> tuple[Architecture, ...]:
        """Random architectures that all differ, every set of them equally likely.

        Raises:
            ArchitectureError: The space does not have that many.
        """
        if count > self.count():
            raise ArchitectureError(
                f"{count} different architectures asked for, {self.count()} exist", where=self.where
            )
        if count > self.count() // 2:
            return tuple(rng.sample(list(self.enumerate()), count))
        drawn: dict[Architecture, None] = {}
        while len(drawn) < count:
            drawn.setdefault(self.sample(rng))
        return tuple(drawn)

    def mutate(self, architecture: Architecture, rng: random.Random, *, slots: int = 1) -> Architecture:
        """A copy with the choice of `slots` random slots replaced by another candidate.

        Slots with one candidate cannot change. If fewer than `slots` can change, all of them do.
        """
        return self.architecture(self._product().mutate(self.check(architecture).choices, rng, slots))

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture once, in a fixed order; look at `count` first."""
        return map(self.architecture, self._product().rows())

    def covering(self) -> tuple[Architecture, ...]:
        """A few architectures that together hold every candidate of every slot."""
        return tuple(dict.fromkeys(map(self.architecture, self._product().covering())))

    def _product(self) -> Product[str]:
        return Product(slot.candidates for slot in self.slots)

    def _stages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(slot.stage for slot in self.slots))

    def _check_stage(self, stage: str, slots: Sequence[Slot], names: Sequence[str], where: str | Path) -> None:
        if len(names) != len(slots):
            positions = ", ".join(str(slot.position) for slot in slots)
            raise ArchitectureError(
                f"layers.{stage}: expected {len(slots)} names, for positions {positions}; got {len(names)}", where=where
            )
        for index, (slot, name) in enumerate(zip(slots, names, strict=True)):
            if name not in slot.candidates:
                what = f"layers.{stage}[{index}]: expected one of {', '.join(slot.candidates)}; got {name!r}"
                raise ArchitectureError(what, where=where, hint=self._hint(slot, name))

    def _hint(self, slot: Slot, name: str) -> str | None:
        """A hint for a refused choice that `without` has removed."""
        return f"{name} was removed from {slot.id}" if name in self.removed.get(slot.id, ()) else None

    def _check_removal(self, slot: Slot, lost: Collection[str]) -> None:
        for name in lost:
            if name not in slot.candidates:
                known = ", ".join(slot.candidates)
                raise ConfigError(f"slot {slot.id} has no candidate {name!r} (known: {known})", where=self.where)
        if not set(slot.candidates) - set(lost):
            raise ConfigError(f"slot {slot.id} is left without candidates", where=self.where,
                              hint=f"keep one of {', '.join(slot.candidates)}")  # fmt: skip


def _without(slot: Slot, lost: Collection[str]) -> Slot:
    return dataclasses.replace(slot, candidates=tuple(name for name in slot.candidates if name not in lost))
