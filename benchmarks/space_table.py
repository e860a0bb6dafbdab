"""The table of a whole space: the loss and the latency of every architecture, from a study that has scored them all.

    nas search search_spaces/quickstart.yaml --table TABLE --supernet FOLDER --data CLIPS \
        --batches 8 --first-batches 8 --sampler exhaustive --evaluations 6400 --study exhaustive --storage exhaustive.db
    python benchmarks/space_table.py --space search_spaces/quickstart.yaml --study exhaustive --storage exhaustive.db \
        --out benchmarks/data/quickstart_scores.csv

The search takes about an hour on one core, and resumes where it was interrupted. `search_efficiency.py --space` reads
the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.tabular import DataError, TabularProblem
from nas.errors import NasError
from nas.search import load_study
from nas.space import SearchSpace

COLUMNS = ["id", "latency_ms", "loss"]
PART = "loss_"
"""Prefix of the columns with losses on parts of the held-out data; the loss is their mean."""


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        table = scores(SearchSpace.load(options.space), options.storage, options.study)
    except (DataError, NasError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    table.to_csv(options.out, index=False, float_format="%.6g")
    sys.stdout.write(f"{len(table):,} architectures in {options.out}\n")


def scores(space: SearchSpace, storage: str, study: str) -> pd.DataFrame:
    """The scores of all architectures, in the order of the space.

    Raises:
        DataError: An architecture is not scored.
        NasError: The study cannot be read.
    """
    scored = {evaluation.architecture.id: evaluation for evaluation in load_study(storage, study).evaluations}
    rows = []
    for architecture in space.enumerate():
        if (evaluation := scored.get(architecture.id)) is None:
            raise DataError(f"study {study}: {len(scored):,} of {space.count():,} architectures are scored; "
                            "resume the search")  # fmt: skip
        rows.append((architecture.id, evaluation.latency_ms, evaluation.quality, *evaluation.quality_parts))
    parts = [f"{PART}{number}" for number in range(len(rows[0]) - len(COLUMNS))]
    return pd.DataFrame(rows, columns=[*COLUMNS, *parts])


def read_parts(table_file: Path) -> NDArray[np.float64]:
    """The losses on parts of the held-out data in a table that `main` wrote, shape (architectures, parts).

    Raises:
        DataError: It has fewer than two parts.
    """
    parts = pd.read_csv(table_file).filter(regex=f"^{PART}[0-9]+$").to_numpy(dtype=np.float64)
    if parts.shape[1] < 2:
        raise DataError(f"{table_file}: no losses on two or more parts; make the table again")
    return parts


def load_space_problem(space_file: Path, table_file: Path, reference: str) -> TabularProblem:
    """The search problem of a space and its table.

    Args:
        space_file: The space.
        table_file: CSV file that `main` wrote.
        reference: `worst` puts the reference point at the largest loss and latency, `median` at the median loss and the
            largest latency.

    Raises:
        DataError: The table belongs to another space, or is not complete.
        NasError: The space cannot be read.
    """
    space = SearchSpace.load(space_file)
    try:
        table = pd.read_csv(table_file)
    except (OSError, ValueError) as error:
        raise DataError(f"{table_file}: {str(error).splitlines()[0]}") from error
    if missing := [column for column in COLUMNS if column not in table]:
        raise DataError(f"{table_file}: no column {missing[0]!r}")
    architectures = list(space.enumerate())
    if table["id"].tolist() != [architecture.id for architecture in architectures]:
        raise DataError(f"{table_file}: its architectures are not those of {space_file}; make the table again")
    loss, latency_ms = (table[column].to_numpy(dtype=np.float64) for column in ("loss", "latency_ms"))
    if not (np.isfinite(loss).all() and (latency_ms > 0).all()):
        raise DataError(f"{table_file}: a loss is not a number, or a latency is not positive")
    corner = (float(latency_ms.max()), float(loss.max() if reference == "worst" else np.median(loss)))
    return TabularProblem(
        f"{space.name}, reference at the {reference} loss",
        {slot.id: tuple(slot.candidates) for slot in space.slots},
        {architecture.choices: row for row, architecture in enumerate(architectures)},
        loss,
        latency_ms,
        corner,
        space,
    )


if __name__ == "__main__":
    main()
