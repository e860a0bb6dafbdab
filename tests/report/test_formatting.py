from __future__ import annotations

import pytest

from nas.formatting import Cell, cell_text, counted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (12345, "12,345"),
        (0.123456, "0.1235"),
        (999.96, "1,000"),
        (1234.5, "1,234"),
        (-98765.4, "-98,765"),
        (10591.0, "10,591"),
        (2.5e-7, "2.5e-07"),
        (1e20, "1e+20"),
    ],
)
def test_a_cell_reads_as_a_number(value: Cell, text: str) -> None:
    assert cell_text(value) == text


def test_one_thing_is_singular() -> None:
    assert [counted(count, "clip") for count in (0, 1, 2, 1000)] == ["0 clips", "1 clip", "2 clips", "1,000 clips"]
    assert [counted(count, "batch", "batches") for count in (1, 3)] == ["1 batch", "3 batches"]
