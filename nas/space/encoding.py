"""Architectures as numbers, many at once: what a regression or a sum over slots reads."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.space.architecture import Architecture
from nas.space.slots import Slot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def candidate_indices(slots: Sequence[Slot], names: Sequence[str]) -> list[int]:
    """The place of each name among the candidates of its slot.

    Raises:
        ValueError: The number of names is not that of the slots, or a name is not a candidate of its slot.
    """
    return [slot.candidates.index(name) for slot, name in zip(slots, names, strict=True)]


def encode_canonical(
    space: str, slots: Sequence[Slot], architectures: Sequence[Architecture]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The candidate indices of those architectures that fit the slots, stages in the order of the network.

    A stage has few different fillings, however many architectures there are. So each filling is encoded once, and an
    architecture costs one look-up per stage.

    Args:
        space: Name of the space that the architectures must carry.
        slots: The slots in the order of the network.
        architectures: Any number of them.

    Returns:
        Indices of shape (architectures, slots), and for each architecture whether it fits; the indices of one
        that does not fit are -1.
    """
    import numpy as np  # heavy

    stages = [list(group) for _, group in itertools.groupby(slots, key=lambda slot: slot.stage)]
    rows = [
        row
        for row, architecture in enumerate(architectures)
        if architecture.space == space and len(architecture.layers) == len(stages)
    ]
    layers = [architectures[row].layers for row in rows]
    columns = [_stage_indices(stage, [given[number] for given in layers]) for number, stage in enumerate(stages)]
    encoded = np.hstack([np.empty((len(rows), 0), dtype=np.int64), *columns])
    whole = (encoded >= 0).all(axis=1)
    fitting = np.array(rows, dtype=np.intp)[whole]
    indices = np.full((len(architectures), len(slots)), -1, dtype=np.int64)
    indices[fitting] = encoded[whole]
    fits = np.zeros(len(architectures), dtype=np.bool_)
    fits[fitting] = True
    return indices, fits


def _stage_indices(slots: Sequence[Slot], fillings: Sequence[tuple[str, tuple[str, ...]]]) -> NDArray[np.int64]:
    """Indices of shape (fillings, slots) of one stage; -1 for a filling of another stage, or one that does not fit."""
    import numpy as np  # heavy

    numbers = defaultdict[tuple[str, tuple[str, ...]], int](itertools.count().__next__)
    which = np.array([numbers[filling] for filling in fillings], dtype=np.intp)
    distinct = np.full((len(numbers), len(slots)), -1, dtype=np.int64)
    for (stage, names), number in numbers.items():
        if stage == slots[0].stage and _fit(slots, names):
            distinct[number] = candidate_indices(slots, names)
    return distinct[which]


def _fit(slots: Sequence[Slot], names: Sequence[str]) -> bool:
    return len(names) == len(slots) and all(name in slot.candidates for slot, name in zip(slots, names, strict=True))
