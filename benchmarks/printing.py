"""Results of benchmarks on the standard output."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows of equal keys: as JSON for scripts, or as CSV for people and spreadsheets."""
    if as_json:
        print(json.dumps(rows))
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
