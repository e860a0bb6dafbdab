"""A search space of plain choices, for architectures of any kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from nas.errors import ArchitectureError, ConfigError
from nas.files import fingerprint
from nas.space import Architecture
from nas.space.product import Product

Choices = tuple[str, ...]
"""One candidate per slot, in the order of the slots."""

Canonical = Callable[[Choices], Sequence[str]]
"""Maps choices to the choices that represent all equal ones."""

COUNTED = 20_000
"""Spaces of up to this many combinations are enumerated to count the distinct architectures."""

MUTATIONS = 20
"""Mutations tried until one differs from the original architecture."""


@dataclass(frozen=True)
class ChoiceSlot:
    """A slot and its candidates.

    Args:
        id: Name of the slot, unique in its space.
        candidates: What the slot may hold.
    """

    id: str
    candidates: tuple[str, ...]


class ChoiceSpace:
    """All ways to choose one candidate per slot; implements `nas.search.Space`.

    If different choices can describe the same architecture, as with isomorphic graphs, `canonical` maps them to one
    representative. It returns equal choices for equal architectures, and returns its own results unchanged. Every
    architecture of the space is canonical, so a search scores each once.

    Args:
        choices: For each slot, in order, its candidates as texts. `smallest` takes the first of each.
        name: The space's name, which its architectures carry.
        canonical: Returns the representative; without it, different choices are different architectures.

    Raises:
        ConfigError: There are no slots, or a slot has no candidates, a repeated one, or one that is not a plain text.
    """

    def __init__(self, choices: Mapping[str, Sequence[str]], *, name: str, canonical: Canonical | None = None) -> None:
        self.name = name
        self.slots = tuple(_slot(slot, candidates, name) for slot, candidates in choices.items())
        if not self.slots:
            raise ConfigError("a space needs at least one slot", where=f"space {name}")
        self._product = Product(slot.candidates for slot in self.slots)
        self.canonical = canonical
        self._representative = lru_cache(maxsize=2**16)(self._canonicalise)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of name, slots and candidates, and of the canonical forms of a fixed sample."""
        rng = random.Random(0)
        forms = [self._representative(self._product.sample(rng)) for _ in range(32)] if self.canonical else []
        return fingerprint([self.name, [[slot.id, *slot.candidates] for slot in self.slots], forms])

    def architecture(self, choices: Sequence[str]) -> Architecture:
        """The architecture that choices, one per slot, describe.

        Raises:
            ArchitectureError: The number of choices is wrong, or one is not a candidate of its slot.
        """
        chosen = self._representative(self._checked(choices))
        pairs = zip(self.slots, chosen, strict=True)
        return Architecture(self.name, tuple((slot.id, (choice,)) for slot, choice in pairs))

    def check(self, architecture: Architecture) -> Architecture:
        """Return an architecture of this space, read from a file for instance, in canonical form.

        Raises:
            ArchitectureError: It belongs to another space, or does not fit this one.
        """
        where = f"architecture {architecture.id}"
        given = {slot: names[0] for slot, names in architecture.layers if len(names) == 1}
        expected = [slot.id for slot in self.slots]
        if architecture.space != self.name:
            raise ArchitectureError(f"space: expected {self.name!r}, got {architecture.space!r}", where=where)
        if sorted(given) != sorted(expected) or len(given) != len(architecture.layers):
            raise ArchitectureError(f"expected one choice for each of {', '.join(expected)}; got {architecture}",
                                    where=where)  # fmt: skip
        return self.architecture([given[slot] for slot in expected])

    @cached_property
    def combinations(self) -> int:
        """Number of combinations; equal architectures count separately."""
        return self._product.count()

    def count(self) -> int:
        """Number of architectures.

        With a canonical form and more than `COUNTED` combinations, it is the number of combinations, an upper bound.
        """
        return self._distinct if self.canonical and self.combinations <= COUNTED else self.combinations

    def smallest(self) -> Architecture:
        """The first candidate in every slot."""
        return self.architecture([slot.candidates[0] for slot in self.slots])

    def sample(self, rng: random.Random) -> Architecture:
        """A random architecture. All combinations are equally likely, so one with many forms is drawn more often."""
        return self.architecture(self._product.sample(rng))

    def mutate(self, architecture: Architecture, rng: random.Random, *, slots: int = 1) -> Architecture:
        """A copy with `slots` random choices replaced, in canonical form.

        It differs from the original, unless `MUTATIONS` attempts all give the same architecture. Slots with one
        candidate cannot change. If fewer than `slots` can change, all of them do.
        """
        before = self.check(architecture)
        for _ in range(MUTATIONS):
            after = self.architecture(self._product.mutate(before.choices, rng, slots))
            if after != before:
                return after
        return before

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture once, in a fixed order. All `combinations` are visited, so check their number first."""
        for choices in self._product.rows():
            # Each class of equal architectures holds its representative, once.
            if self.canonical is None or self._representative(choices) == choices:
                yield self.architecture(choices)

    @cached_property
    def _distinct(self) -> int:
        return sum(1 for _ in self.enumerate())

    def _checked(self, choices: Sequence[str]) -> Choices:
        if len(choices) != len(self.slots):
            raise ArchitectureError(f"{len(choices)} choices for {len(self.slots)} slots", where=f"space {self.name}")
        for slot, choice in zip(self.slots, choices, strict=True):
            if choice not in slot.candidates:
                known = ", ".join(slot.candidates)
                raise ArchitectureError(f"slot {slot.id} cannot hold {choice!r} (known: {known})",
                                        where=f"space {self.name}")  # fmt: skip
        return tuple(choices)

    def _canonicalise(self, choices: Choices) -> Choices:
        """The representative of choices, checked to be its own representative."""
        if self.canonical is None:
            return choices
        form = self._checked(tuple(self.canonical(choices)))
        again = tuple(self.canonical(form))
        if again != form:
            raise ArchitectureError(
                f"canonical turns {choices} into {form}, and that into {again}",
                where=f"space {self.name}",
                hint="canonical must return its own results unchanged",
            )
        return form


def _slot(name: Any, candidates: Sequence[Any], space: str) -> ChoiceSlot:
    where = f"space {space}: slot {name}"
    if isinstance(candidates, str) or not candidates:
        raise ConfigError(f"expected a list of candidates, got {candidates!r}", where=where)
    for text in (name, *candidates):
        # A semicolon separates the slots in the text of an architecture, from which its id is made.
        if not isinstance(text, str) or not text or ";" in text:
            raise ConfigError(f"expected a text without a semicolon, got {text!r}", where=where,
                              hint="write numbers as texts, e.g. '16'")  # fmt: skip
    if len(set(candidates)) < len(candidates):
        raise ConfigError(f"a candidate is repeated: {', '.join(candidates)}", where=where)
    return ChoiceSlot(name, tuple(candidates))
