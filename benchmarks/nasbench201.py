"""Tabular benchmarks whose architectures are cells in NAS-Bench-201 notation, one row each.

A cell is a graph of a few nodes, each of which adds up what operations make of all nodes before it. Its notation lists
the nodes after the first, separated by `+`, and for each its operations, as in
`|conv~0|+|none~0|skip~1|+|conv~0|pool~1|none~2|`: name of the operation, then number of the node it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.tabular import Choices, DataError, TabularProblem

ABSENT, IDENTITY = "none", "skip_connect"

Edge = tuple[int, int]


@dataclass(frozen=True)
class CellProblem(TabularProblem):
    """A problem whose slots are the edges of a cell, from a node to a later one; its loss is 100 minus the accuracy."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The slots, each as the numbers of the two nodes."""
        pairs = (slot.split("<-") for slot in self.candidates)
        return tuple((int(begin), int(end)) for end, begin in pairs)


def load_problem(
    path: Path, accuracy: str, latency: str, *, latency_percentile: float = 99, reference_accuracy: float | None = None
) -> CellProblem:
    """Read a parquet or CSV file.

    Args:
        path: The file, with a column `arch_str`.
        accuracy: Column of accuracies in percent.
        latency: Column of latencies in milliseconds.
        latency_percentile: Of the latencies, for the reference point.
        reference_accuracy: For the reference point; the median when left out.

    Raises:
        DataError: The file cannot be read, a column is missing, or a value is wrong.
    """
    table = _read(path, [accuracy, latency])
    cells = [_parse(text, path) for text in table["arch_str"]]
    edges = tuple(cells[0])
    if any(tuple(cell) != edges for cell in cells):
        raise DataError(f"{path}: arch_str: cells have different graphs; all must have the same nodes and edges")
    rows = {tuple(cell.values()): row for row, cell in enumerate(cells)}
    if len(rows) < len(cells):
        raise DataError(f"{path}: arch_str: {len(cells) - len(rows)} rows repeat a cell; leave one row of each")
    accuracies, latencies = _numbers(table, accuracy, path), _numbers(table, latency, path)
    if not 1 < accuracies.max() <= 100 or accuracies.min() < 0:
        raise DataError(
            f"{path}: {accuracy}: accuracies from {accuracies.min():g} to {accuracies.max():g} are no percent"
        )
    if latencies.min() <= 0:
        raise DataError(f"{path}: {latency}: a latency of {latencies.min():g} ms")
    worst = float(np.median(accuracies)) if reference_accuracy is None else reference_accuracy
    reference = (float(np.percentile(latencies, latency_percentile)), 100 - worst)
    operations = tuple(sorted({name for choices in rows for name in choices}))
    candidates = {f"{end}<-{begin}": operations for begin, end in edges}
    return CellProblem(f"{accuracy}, {latency}", candidates, rows, 100 - accuracies, latencies, reference)


class PathFeatures:
    """What a cell computes, in numbers: its paths from the first node to the last, and the operations on them.

    Of each set of operations, from a single one to all, the most, the fewest and the mean number on a path, and the
    share of paths that have one: how deep a cell is, whether it has a residual path, how much of it is pooling.
    (White et al., "BANANAS", 2021, describe cells by their paths one by one; summaries need fewer examples.) Paths
    through an absent edge are none, and identities are not counted. Edges that no path uses change nothing of what
    the cell computes; their number alone is seen.

    Args:
        problem: Whose cells they are.
    """

    def __init__(self, problem: CellProblem) -> None:
        self.edges = problem.edges
        self.operations = next(iter(problem.candidates.values()))
        self.paths = _paths(problem.edges)
        self.sets = _sets([name for name in self.operations if name not in {ABSENT, IDENTITY}])

    def __call__(self, choices: Choices) -> list[float]:
        """Four numbers for each set of operations, the number of paths, uses of each operation, and unused edges."""
        chosen = dict(zip(self.edges, choices, strict=True))
        open_paths = [path for path in self.paths if all(chosen[edge] != ABSENT for edge in path)]
        used = {edge for path in open_paths for edge in path}
        uses = Counter(chosen[edge] for edge in used)
        on_paths = [Counter(chosen[edge] for edge in path) for path in open_paths]
        described = [number for names in self.sets for number in _describe(names, on_paths)]
        unused = len(self.edges) - len(used)
        return [*described, float(len(open_paths)), *(float(uses[name]) for name in self.operations), float(unused)]


def _describe(names: tuple[str, ...], on_paths: Sequence[Counter[str]]) -> tuple[float, float, float, float]:
    """The most, the fewest and the mean number on a path, and the share of paths with one; -1 without any path."""
    counts = [sum(on_path[name] for name in names) for on_path in on_paths]
    if not counts:
        return -1.0, -1.0, -1.0, -1.0
    return float(max(counts)), float(min(counts)), float(np.mean(counts)), float(np.mean(np.sign(counts)))


def _sets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All sets of operations but the empty one."""
    return [each for size in range(1, len(names) + 1) for each in combinations(sorted(names), size)]


def _paths(edges: Sequence[Edge]) -> list[list[Edge]]:
    last = max(end for _, end in edges)

    def onward(node: int) -> Iterator[list[Edge]]:
        if node == last:
            yield []
        for edge in edges:
            if edge[0] == node:
                yield from ([edge, *rest] for rest in onward(edge[1]))

    return list(onward(0))


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error
    for column in ["arch_str", *columns]:
        if column not in table:
            raise DataError(f"{path}: no column {column!r} (there are {', '.join(map(str, table.columns))})")
    return table.reset_index(drop=True)


def _parse(text: str, path: Path) -> dict[Edge, str]:
    """By edge, the operation."""
    found: dict[Edge, str] = {}
    try:
        for end, node in enumerate(str(text).split("+"), start=1):
            for part in node.strip("|").split("|"):
                name, begin = part.split("~")
                found[int(begin), end] = name
    except ValueError as error:
        raise DataError(f"{path}: arch_str: {text!r} is not in NAS-Bench-201 notation") from error
    return dict(sorted(found.items(), key=lambda item: (item[0][1], item[0][0])))


def _numbers(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {column}: row {int(np.flatnonzero(~np.isfinite(values))[0])} is not a number")
    return values
