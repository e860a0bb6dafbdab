"""A table of another search space is refused by name, and what is advised leaves that table as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas.errors import TableError
from nas.latency import LatencyPredictor
from nas.space import SearchSpace

SPACE = Path("search_spaces/quickstart.yaml")
ESTIMATED = Path("latency_tables/moving_shapes-iphone-15-pro-cpu_and_ne.csv")
MEASURED = Path("latency_tables/quickstart-amd_epyc-onnxruntime.csv")


@pytest.mark.parametrize(
    ("space", "table", "made_for", "command"),
    [
        (
            SPACE,
            ESTIMATED,
            "moving_shapes",
            f'nas latency estimate {SPACE} --device "iPhone 15 Pro" --compute-unit cpu_and_ne',
        ),
        (
            Path("examples/smallest/space.yaml"),
            MEASURED,
            "quickstart",
            "nas profile examples/smallest/space.yaml --runtime onnxruntime --table latency_tables/smallest.csv",
        ),
    ],
)
def test_a_table_of_another_space_is_left_alone(space: Path, table: Path, made_for: str, command: str) -> None:
    with pytest.raises(TableError) as refused:
        LatencyPredictor.open(SearchSpace.load(space), table)
    said = str(refused.value)
    assert said.startswith(f"{table}: holds ")
    assert f"it was made for {made_for}; name another table, or make one: {command}" in said
    assert str(table) not in command


def test_a_space_of_another_name_may_use_a_table_that_has_its_blocks(tmp_path: Path) -> None:
    shutil.copy(SPACE, tmp_path / "mine.yaml")
    mine = tmp_path / "mine.yaml"
    mine.write_text(mine.read_text().replace("name: quickstart", "name: mine"))
    space = SearchSpace.load(mine)
    plain = LatencyPredictor.open(SearchSpace.load(SPACE), ESTIMATED.with_name(f"quickstart-{ESTIMATED.name[14:]}"))
    same = LatencyPredictor.open(space, plain.table.where or "")
    assert same.bounds() == plain.bounds()
