"""`nas profile` and `nas latency` as a user types them."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import Image

from nas.cli import latency as latency_verbs
from nas.cli import main
from nas.cli import profile as profile_verb
from nas.latency import (
    FitMeasurementSettings,
    LatencyFit,
    LatencyPredictor,
    LatencyRow,
    LatencyTable,
    MeasurementSettings,
    space_blocks,
)
from nas.space import SearchSpace
from tests.latency.conftest import SMALL

QUICK = ("--rounds", 3, "--interval-percent", 1000, "--max-seconds", 0, "--min-seconds", 0)


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        """Everything printed, in one line, without the lines of tables."""
        return " ".join("".join(" " if "─" <= sign <= "╿" else sign for sign in self.out).split())

    @property
    def error(self) -> str:
        (line,) = (line for line in self.err.splitlines() if line.startswith("error: "))
        assert self.code == 2
        assert "Traceback" not in self.err
        return line


Nas = Callable[..., Result]


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Runs a command; one that ends well has exit code 0."""

    def run(*arguments: object, code: int = 0) -> Result:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        found = 0
        try:
            main()
        except SystemExit as end:
            found = int(end.code or 0)
        captured = capsys.readouterr()
        assert found == code, captured.err
        return Result(found, captured.out, captured.err)

    monkeypatch.setenv("COLUMNS", "250")
    return run


def saved(table: Path, *rows: LatencyRow, path: Path | None = None, **metadata: Any) -> LatencyTable:
    """Save a table with rows in place of its own of the same keys."""
    return LatencyTable.load(table).add(rows, **metadata).save(path or table)


def changed(row: LatencyRow, **values: Any) -> LatencyRow:
    return LatencyRow.model_validate(row.model_dump() | values)


def scaled(row: LatencyRow, factor: float, **values: Any) -> LatencyRow:
    times = ("latency_ms", "ci_low_ms", "ci_high_ms", "median_ms", "p90_ms")
    return changed(row, **{name: factor * getattr(row, name) for name in times}, **values)


def refused(row: LatencyRow, status: str, memory_bytes: int | None = None) -> LatencyRow:
    return LatencyRow.model_validate(
        {"key": row.key, "kind": row.kind, "status": status, "memory_bytes": memory_bytes, "provenance": "measured"}
    )


def row_of(table: Path, kind: str) -> LatencyRow:
    return next(row for row in LatencyTable.load(table).rows.values() if row.kind == kind)


def test_profiling_says_what_it_measured_and_resumes(nas: Nas, small_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    arguments = ("profile", small_file, "--runtime", "torch", "--table", path, "--device", "bench", *QUICK)

    first = nas(*arguments).out.splitlines()

    table, blocks = LatencyTable.load(path), space_blocks(SearchSpace.load(small_file))
    assert first[0] == f"bench, torch, fp32, cpu, 1 thread: {len(blocks)} blocks measured"
    assert "complete" in first[-1]
    assert table.rows.keys() == {block.key for block in blocks}
    assert table.metadata.measurement["rounds"] == 3

    again = nas(*arguments, "--json").json
    assert LatencyTable.load(path).rows == table.rows
    assert {row["key"]: row["latency_ms"] for row in again["blocks"]} == {
        row.key: row.latency_ms for row in table.rows.values()
    }
    assert again["elapsed_s"] >= 0


def test_blocks_over_the_memory_budget_are_named(nas: Nas, here: Path) -> None:
    needed = {key: row.memory_bytes or 0 for key, row in LatencyTable.load(here / "here.csv").rows.items()}
    budget = sorted(needed.values())[-2]
    (largest,) = (key for key, memory_bytes in needed.items() if memory_bytes > budget)

    options = ("--runtime", "torch", "--table", here / "here.csv", "--memory-budget-bytes", budget, *QUICK)
    lines = nas("profile", here / "tiny.yaml", *options).out.splitlines()

    assert f"{len(needed) - 1} blocks measured, 1 refused" in lines[0]
    assert any(line.startswith("over the memory budget of") and line.endswith(f": {largest}") for line in lines)
    assert LatencyTable.load(here / "here.csv").rows[largest].status == "over_memory_budget"


def test_blocks_stopped_for_time_are_counted(nas: Nas, small_file: Path, tmp_path: Path) -> None:
    options = ("--rounds", 2, "--interval-percent", 1e-9, "--max-seconds", 0, "--min-seconds", 0)
    arguments = ("--runtime", "torch", "--table", tmp_path / "new.csv", *options)
    lines = nas("profile", small_file, *arguments).out.splitlines()
    rows = LatencyTable.load(tmp_path / "new.csv").rows.values()
    late = sum(row.stopped == "time" for row in rows)
    assert late > 0
    assert f"{late} of them reached the time limit" in lines[1]


def test_defaults_of_the_protocol_are_those_of_the_library() -> None:
    verbs = {
        profile_verb.profile: MeasurementSettings(),
        latency_verbs.fit: FitMeasurementSettings(),
        latency_verbs.check: MeasurementSettings(),
    }
    for verb, expected in verbs.items():
        defaults = {name: each.default for name, each in inspect.signature(verb).parameters.items()}
        assert {name: defaults[name] for name in MeasurementSettings.model_fields} == expected.model_dump()


def test_a_job_shows_how_far_each_block_has_come(nas: Nas, here: Path) -> None:
    key = row_of(here / "here.csv", "conv3d").key
    out_of_memory = refused(row_of(here / "here.csv", "upsample"), "out_of_memory")
    table = saved(here / "here.csv", out_of_memory)
    (here / "here.samples.jsonl").unlink()
    LatencyTable(table.metadata.model_copy(update={"complete": False}),
                 {name: row for name, row in table.rows.items() if name != key}).save(here / "here.csv")  # fmt: skip

    arguments = ("latency", "job", here / "tiny.yaml", "--table", here / "here.csv", "--runtime", "torch")
    report, text = nas(*arguments, "--json").json, nas(*arguments).text

    states = {each["key"]: each["state"] for each in report["blocks"]}
    assert states[key] == "waiting"
    assert states[out_of_memory.key] == "out_of_memory"
    assert report["counts"] == {"measured": len(table) - 2, "waiting": 1, "out_of_memory": 1}
    assert f"{len(table) - 2} measured" in text
    assert "1 out of memory" in text
    assert key in text


def test_a_table_is_shown_with_its_conditions_the_slowest_first(nas: Nas, here: Path) -> None:
    large = changed(row_of(here / "here.csv", "conv"), memory_bytes=3 * 2**20)
    over = refused(row_of(here / "here.csv", "conv3d"), "over_memory_budget", 2**30)
    saved(here / "here.csv", large, over, memory_budget_bytes=2**29)

    report, text = (
        nas("latency", "show", here / "here.csv", "--json").json,
        nas("latency", "show", here / "here.csv").text,
    )

    latencies = [row["latency_ms"] for row in report["blocks"]]
    assert latencies == [*sorted(latencies[:-1], reverse=True), None]
    assert report["metadata"]["threads"] == 1
    for row in report["blocks"][:-1]:
        half = (row["ci_high_ms"] - row["ci_low_ms"]) / 2
        assert row["interval_percent"] == pytest.approx(100 * half / row["latency_ms"])
    assert "torch, fp32, cpu, 1 thread" in text
    assert f"{len(latencies) - 1} blocks measured, 1 refused" in text
    assert "over the memory budget of 512 MiB" in text
    assert "3 MiB" in text
    assert over.key in text
    assert "here.samples.jsonl" in text
    (here / "here.samples.jsonl").unlink()
    assert "none beside the table" in nas("latency", "show", here / "here.csv").text


def test_shown_for_a_space_a_table_is_those_blocks_and_what_it_lacks(nas: Nas, here: Path) -> None:
    space, table = SearchSpace.load(here / "tiny.yaml"), LatencyTable.load(here / "here.csv")
    gone, foreign = row_of(here / "here.csv", "conv3d").key, changed(row_of(here / "here.csv", "conv"), key="other()")
    rows = {key: row for key, row in table.rows.items() if key != gone} | {"other()": foreign}
    LatencyTable(table.metadata, rows).save(here / "here.csv")

    report = nas("latency", "show", here / "here.csv", "--space", here / "tiny.yaml", "--json").json

    assert report["missing"] == [gone]
    assert {row["key"] for row in report["blocks"]} == {block.key for block in space_blocks(space)} - {gone}
    assert "not in the table" in nas("latency", "show", here / "here.csv", "--space", here / "tiny.yaml").text


def test_the_heat_map_needs_a_space(nas: Nas, here: Path) -> None:
    figure = here / "heat.png"
    assert "--space" in nas("latency", "show", here / "here.csv", "--figure", figure, code=2).error
    assert not figure.exists()
    nas("latency", "show", here / "here.csv", "--space", here / "tiny.yaml", "--figure", figure)
    assert Image.open(figure).size[0] > 500


def test_two_tables_side_by_side(nas: Nas, here: Path) -> None:
    table = LatencyTable.load(here / "here.csv")
    rows = {key: scaled(row, 4) for key, row in table.rows.items()}
    lost = rows.pop(row_of(here / "here.csv", "conv3d").key)
    LatencyTable(table.metadata.model_copy(update={"device": "a phone", "runtime": "coreml"}), rows).save(
        here / "b.csv"
    )

    report = nas("latency", "diff", here / "here.csv", here / "b.csv", "--json").json
    text = nas("latency", "diff", here / "here.csv", here / "b.csv").text

    assert report["median_ratio"] == pytest.approx(4)
    assert report["compared"] == len(rows)
    by_key = {each["key"]: each for each in report["blocks"]}
    assert by_key[lost.key]["second_ms"] is None
    expected = sum(4 * row.ci_low_ms > row.ci_high_ms for key, row in table.rows.items() if key in rows)
    assert report["apart"] == expected > 0
    assert f"first: {here / 'here.csv'}, {table.metadata.device}, torch" in text
    assert f"second: {here / 'b.csv'}, a phone, coreml" in text
    assert f"median ratio 4 over {len(rows)} blocks" in text
    assert lost.key in text


def test_a_merge_says_what_gave_way(nas: Nas, here: Path) -> None:
    old = row_of(here / "here.csv", "conv3d")
    assert old.measured_at is not None
    later = old.measured_at + timedelta(days=1)
    new = scaled(old, 2, measured_at=later)
    saved(here / "here.csv", new, path=here / "later.csv")

    arguments = ("latency", "merge", here / "here.csv", here / "later.csv", "--out")
    lines = nas(*arguments, here / "both.csv").out.splitlines()

    assert LatencyTable.load(here / "both.csv").rows[old.key] == new
    assert len(lines) == 2
    assert f"{later:%Y-%m-%d %H:%M:%S} UTC in {here / 'later.csv'}" in lines[0]
    assert f"{old.measured_at:%Y-%m-%d %H:%M:%S} UTC in {here / 'here.csv'}" in lines[0]
    assert lines[0].startswith("kept ")
    assert lines[0].endswith(old.key)

    assert "both.csv: exists already" in nas(*arguments, here / "both.csv", code=2).error
    (entry,) = nas(*arguments, here / "again.csv", "--json").json["superseded"]
    assert (entry["kept_ms"], entry["dropped_ms"]) == (new.latency_ms, old.latency_ms)


def test_a_fit_is_used_by_predict_and_check(nas: Nas, here: Path) -> None:
    space, table = here / "tiny.yaml", here / "here.csv"
    before = nas("latency", "predict", space, "--table", table)
    assert "without a fit" in before.text
    assert "nas latency fit" in before.text

    printed = nas("latency", "fit", space, "--table", table, "--networks", 4, "--seed", 1, *QUICK).text

    fit = LatencyFit.load(table, "tiny")
    assert f"prediction = {fit.equation}" in printed
    assert all(each.architecture in printed for each in fit.networks)
    assert len(fit.networks) == 4

    predicted = nas("latency", "predict", space, "--table", table, "--json").json
    predictor = LatencyPredictor.open(SearchSpace.load(space), table)
    by_name = {row["name"]: row for row in predicted["architectures"]}
    assert predicted["fitted_networks"] == 4
    for name, expected in zip(("fastest", "slowest"), predictor.bounds(), strict=True):
        assert by_name[name]["pipeline_ms"] == expected
        assert by_name[name]["low_ms"] < expected < by_name[name]["high_ms"]
    assert by_name["smallest"]["blocks"] == "measured"
    assert "fitted to 4 whole networks" in nas("latency", "predict", space, "--table", table).text

    figures = (here / "check.svg", here / "errors.png")
    options = ("--networks", 3, "--times", 2, "--figure", figures[0], "--errors-figure", figures[1], *QUICK)
    report = nas("latency", "check", space, "--table", table, *options, "--json").json
    checked = {row["architecture"] for row in report["networks"]}
    assert len(checked) == 3
    assert checked.isdisjoint(each.architecture for each in fit.networks)
    assert all(len(row["measurements_ms"]) == 2 for row in report["networks"])
    errors = [abs(row["predicted_unet_ms"] / row["measured_unet_ms"] - 1) for row in report["networks"]]
    assert report["mape_percent"] == pytest.approx(100 * sum(errors) / 3)
    assert 0 <= report["coverage"] <= 1
    assert report["noise_floor_percent"] >= 0
    assert report["slowdown"] > 0
    assert all(figure.stat().st_size > 5000 for figure in figures)


def test_a_check_says_what_predictions_are_made_of(nas: Nas, here: Path) -> None:
    shown = nas("latency", "check", here / "tiny.yaml", "--table", here / "here.csv", "--networks", 1, *QUICK)
    assert "without a fit" in shown.text
    assert "mape_percent" in shown.text
    nas("latency", "fit", here / "tiny.yaml", "--table", here / "here.csv", "--networks", 3, *QUICK)
    shown = nas("latency", "check", here / "tiny.yaml", "--table", here / "here.csv", "--networks", 1, *QUICK)
    assert "without a fit" not in shown.text
    assert "predictions are multiplied by" in shown.text


def test_a_given_architecture_is_predicted(nas: Nas, here: Path) -> None:
    space = SearchSpace.load(here / "tiny.yaml")
    chosen = space.architecture([slot.candidates[-1] for slot in space.slots])
    chosen.save(here / "chosen.yaml")

    options = ("--table", here / "here.csv", "--architecture", here / "chosen.yaml", "--steps", 8, "--json")
    (row,) = nas("latency", "predict", here / "tiny.yaml", *options).json["architectures"]

    assert row["architecture"] == chosen.id
    expected = LatencyPredictor(space, LatencyTable.load(here / "here.csv"), 8).predict(chosen).pipeline_ms
    assert row["pipeline_ms"] == expected


def test_layers_that_could_not_run_are_left_out_and_named(nas: Nas, here: Path) -> None:
    space, gone = SearchSpace.load(here / "tiny.yaml"), row_of(here / "here.csv", "conv3d")
    saved(here / "here.csv", refused(gone, "out_of_memory"))

    for verb in (("predict",), ("fit", "--networks", 3, *QUICK), ("check", "--networks", 1, *QUICK)):
        shown = nas("latency", verb[0], here / "tiny.yaml", "--table", here / "here.csv", *verb[1:])
        assert f"left out: mid/0 cannot hold conv3d: block {gone.key} ran out of memory" in shown.out
    report = nas(
        "latency", "check", here / "tiny.yaml", "--table", here / "here.csv", "--networks", 50, *QUICK, "--json"
    )
    fit = LatencyFit.load(here / "here.csv", "tiny")
    without = {one.id for one in space.enumerate() if "conv3d" not in one.choices}
    checked = {row["architecture"] for row in report.json["networks"]}
    assert checked == without - {each.architecture for each in fit.networks}
    assert [each["candidate"] for each in report.json["removed"]] == ["conv3d"]


def test_only_the_fastest_implementation_of_a_layer_is_fitted_and_checked(nas: Nas, tmp_path: Path) -> None:
    layers = {"as_conv3d": {"kind": "conv1d", "form": "conv3d"}}
    slots = [{"stage": stage, "candidates": ["none", "conv1d", "as_conv3d"]} for stage in ("down.0", "up.0")]
    file, table = tmp_path / "formed.yaml", tmp_path / "here.csv"
    file.write_text(yaml.safe_dump(SMALL | {"name": "formed", "layers": layers, "slots": slots}), encoding="utf-8")
    nas("profile", file, "--runtime", "torch", "--table", table, *QUICK)
    for key, row in LatencyTable.load(table).rows.items():
        saved(table, scaled(row, 0.01 if "form=conv3d" in key else 1))

    command = (file, "--table", table)
    fitted = nas("latency", "fit", *command, "--networks", 3, *QUICK, "--json").json
    assert [each["candidate"] for each in fitted["removed"]] == ["conv1d"] * 3
    assert {each["instead"] for each in fitted["removed"]} == {"as_conv3d"}
    checked = nas("latency", "check", *command, "--networks", 2, *QUICK, "--json").json
    assert checked["removed"] == fitted["removed"]
    space = SearchSpace.load(file)
    left = {one.id for one in space.enumerate() if "conv1d" not in one.choices}
    found = {row["architecture"] for row in (*fitted["networks"], *checked["networks"])}
    assert found <= left
    assert len(found) == 5
    predicted = nas("latency", "predict", *command, "--json").json
    assert predicted["fitted_networks"] == 3
    assert {"all none", "all as_conv3d"} < {row["name"] for row in predicted["architectures"]}


WRONG = {
    "unknown runtime": (("profile", "{space}", "--runtime", "tvm", "--table", "{new}"), "unknown runtime 'tvm'"),
    "no rounds": (("profile", "{space}", "--runtime", "torch", "--table", "{new}", "--rounds", "0"), "rounds"),
    "negative interval": (
        ("profile", "{space}", "--runtime", "torch", "--table", "{new}", "--interval-percent", "-1"),
        "interval_percent",
    ),
    "another device": (
        ("profile", "{space}", "--runtime", "torch", "--table", "{table}", "--device", "a phone"),
        "device",
    ),
    "no such table": (("latency", "show", "{new}"), "no such latency table"),
    "not a table": (("latency", "show", "{space}"), "is not a latency table"),
    "unknown figure": (
        ("latency", "show", "{table}", "--space", "{space}", "--figure", "heat.bmp"),
        "cannot write .bmp",
    ),
    "no such space": (("latency", "job", "nowhere.yaml", "--table", "{table}", "--runtime", "torch"), "no such file"),
    "job of another device": (
        ("latency", "job", "{space}", "--table", "{table}", "--runtime", "torch", "--threads", "2"),
        "threads",
    ),
    "nothing to compare with": (("latency", "diff", "{table}", "{new}"), "no such latency table"),
    "nothing to merge": (("latency", "merge", "{new}", "--out", "other.csv"), "no such latency table"),
    "too few networks": (
        ("latency", "fit", "{space}", "--table", "{table}", "--networks", "2"),
        "at least 3 networks, got 2",
    ),
    "check figure": (
        ("latency", "check", "{space}", "--table", "{table}", "--figure", "check.bmp"),
        "cannot write .bmp",
    ),
    "phone's option here": (
        ("profile", "{space}", "--table", "{new}", "--pairs", "9"),
        "--pairs has no meaning on this machine",
    ),
    "predict without table": (("latency", "predict", "{space}", "--table", "{new}"), "no such latency table"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line(nas: Nas, here: Path, name: str) -> None:
    command, complaint = WRONG[name]
    names = {"space": here / "tiny.yaml", "table": here / "here.csv", "new": here / "new.csv"}
    before = {file: file.read_bytes() for file in here.iterdir() if file.is_file()}

    assert complaint in nas(*(part.format(**names) for part in command), code=2).error

    assert {file: file.read_bytes() for file in here.iterdir() if file.is_file()} == before


def test_an_edited_table_is_refused_by_every_verb_that_reads_one(nas: Nas, here: Path) -> None:
    table = here / "here.csv"
    row = row_of(table, "conv3d")
    table.write_text(table.read_text().replace(str(row.p90_ms), str((row.p90_ms or 0) * 2)))
    space = here / "tiny.yaml"
    verbs: list[tuple[object, ...]] = [
        ("show", table),
        ("job", space, "--table", table, "--runtime", "torch"),
        ("diff", table, table),
        ("merge", table, "--out", here / "merged.csv"),
        ("estimate", space, "--device", "iphone-12", "--table", table),
        *((verb, space, "--table", table) for verb in ("predict", "fit", "check")),
    ]
    assert {str(verb[0]) for verb in verbs} == {command.name or command.callback.__name__
                                                for command in latency_verbs.app.registered_commands}  # fmt: skip
    for verb in verbs:
        assert "checksum" in nas("latency", *verb, code=2).error
    assert not (here / "merged.csv").exists()
