"""Pareto dominance in numpy: the front, its hypervolume and its knee.

Points are rows, objectives are columns, and each objective has a direction, `minimize` or `maximize`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.quality.base import Direction

Floats = NDArray[np.float64]


def pareto_front(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    A point dominates another when it is no worse in every objective and better in at least one. Hence equal
    points do not dominate each other: either all or none of them are marked. A point with a NaN is unknown
    and is never marked.

    Args:
        points: Shape (points, objectives).
        directions: One per objective.

    Returns:
        A mask of shape (points,).
    """
    losses = _losses(points, directions)
    known = ~np.isnan(losses).any(axis=1)
    mask = np.zeros(len(losses), dtype=bool)
    # Sorted by the first objective, then the second, ...: no later row can dominate an earlier one.
    distinct, where = np.unique(losses[known], axis=0, return_inverse=True)
    mask[known] = _front_of_sorted(distinct)[where.reshape(-1)]
    return mask


def pareto_ranks(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.int64]:
    """Ranks of non-dominated sorting: 0 for the front, 1 for the front of what is left without it, and so on.

    Args:
        points: Shape (points, objectives).
        directions: One per objective.

    Returns:
        Shape (points,); -1 for a point with a NaN.
    """
    values = np.asarray(points, dtype=np.float64).reshape(-1, len(directions))
    ranks = np.full(len(values), -1, dtype=np.int64)
    left = np.flatnonzero(~np.isnan(values).any(axis=1))
    rank = 0
    while len(left):
        leads = pareto_front(values[left], directions)
        ranks[left[leads]] = rank
        left, rank = left[~leads], rank + 1
    return ranks


def hypervolume(points: ArrayLike, reference: ArrayLike, directions: Sequence[Direction]) -> float:
    """Area between the front of two objectives and a reference point; exact.

    Args:
        points: Shape (points, 2). They need not be a front. What is no better than the reference in both
            objectives adds nothing.
        reference: Shape (2,): the worst values that count.
        directions: One per objective.

    Returns:
        The area; 0 when there are no points.
    """
    losses = _losses(points, directions)
    if losses.shape[1] != 2:
        raise ValueError(f"the hypervolume is computed for 2 objectives, got {losses.shape[1]}")
    corner = _losses(reference, directions)[0]
    losses = np.unique(losses[(losses < corner).all(axis=1)], axis=0)
    front = losses[_front_of_sorted(losses)]
    # One rectangle per member: as wide as its lead over the reference, as high as its lead over its
    # predecessor, which is the next faster one.
    above = np.concatenate([corner[1:], front[:-1, 1]])
    return float(np.sum((corner[0] - front[:, 0]) * (above - front[:, 1])))


def knee(points: ArrayLike, directions: Sequence[Direction]) -> int:
    """Index of the front member that bends away furthest from the line between the front's two ends.

    Objectives are scaled to the front's own range first (Das, "On characterizing the knee of the Pareto
    curve", 1999, for two objectives). Where members tie, the one that is better in the last objective wins.

    Args:
        points: Shape (points, 2); at least one point without NaN.
        directions: One per objective.
    """
    losses = _losses(points, directions)
    members = np.flatnonzero(pareto_front(points, directions))
    if not len(members):
        raise ValueError("a front without members has no knee")
    front = losses[members]
    span = np.ptp(front, axis=0)
    scaled = (front - front.min(axis=0)) / np.where(span > 0, span, 1.0)
    order = np.lexsort((front[:, -1], scaled.sum(axis=1).round(12)))
    return int(members[order[0]])


def _front_of_sorted(rows: Floats) -> NDArray[np.bool_]:
    """The front among distinct rows in lexicographic order, all objectives to be minimised."""
    if rows.shape[1] == 2:
        best_before = np.minimum.accumulate(np.concatenate([[np.inf], rows[:-1, 1]])) if len(rows) else np.empty(0)
        # The first row leads in the first objective, even where its second one is infinite.
        leads: NDArray[np.bool_] = (rows[:, 1] < best_before) | (np.arange(len(rows)) == 0)
        return leads
    mask = np.ones(len(rows), dtype=bool)
    for index in range(len(rows)):
        if mask[index]:
            mask[index + 1 :] &= (rows[index + 1 :] < rows[index]).any(axis=1)
    return mask


def _losses(points: ArrayLike, directions: Sequence[Direction]) -> Floats:
    values = np.asarray(points, dtype=np.float64).reshape(-1, len(directions))
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    losses: Floats = values * signs
    return losses
