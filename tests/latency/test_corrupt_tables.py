"""Damaged latency tables: whatever happened to the files, they are refused by name and place, or nothing changed."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import TableError
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.latency.tables.rows import COLUMNS
from tests.latency.strategies import measured, rows

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
CONV = "conv3d(heads=4,width=64)[x:1x8x64x4x8 -> 1x8x64x4x8]"
LINEAR = "linear[x:1x16 -> 1x64]"
METADATA = TableMetadata(device="a phone", runtime="torch", threads=1, complete=True, memory_budget_bytes=4096)
ROWS = (
    measured(CONV, 1.5, MOMENT, kind="conv3d", memory_bytes=2048),
    measured(LINEAR, 0.25, MOMENT, kind="linear", stopped="time"),
    LatencyRow(key="resnet[y]", kind="resnet", latency_ms=7.5, provenance="published"),
    LatencyRow(key="big[z]", kind="big", status="out_of_memory", provenance="measured", measured_at=MOMENT),
    LatencyRow(key="wide[z]", kind="wide", status="over_memory_budget", memory_bytes=8192, provenance="measured"),
)
CONV_LINE, LINEAR_LINE, PUBLISHED_LINE, OUT_OF_MEMORY_LINE, OVER_BUDGET_LINE = range(2, 7)

Damage = Callable[[Path], None]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A complete table of five rows, one for each kind of row there is."""
    path = tmp_path / "table.csv"
    LatencyTable(METADATA).add(ROWS).save(path)
    return path


def cells(line: int, **values: str) -> Damage:
    """Change values of one line, as a spreadsheet would."""

    def damage(path: Path) -> None:
        lines = list(csv.reader(path.read_text().splitlines()))
        for column, value in values.items():
            at = COLUMNS.index(column)
            assert lines[line - 1][at] != value
            lines[line - 1][at] = value
        _write(path, lines)

    return damage


def swapped(first: str, second: str, lines: slice) -> Damage:
    """Exchange two columns on some of the lines."""

    def damage(path: Path) -> None:
        found = list(csv.reader(path.read_text().splitlines()))
        one, other = COLUMNS.index(first), COLUMNS.index(second)
        for fields in found[lines]:
            fields[one], fields[other] = fields[other], fields[one]
        _write(path, found)

    return damage


def header(change: Callable[[list[str]], list[str]]) -> Damage:
    def damage(path: Path) -> None:
        lines = list(csv.reader(path.read_text().splitlines()))
        _write(path, [change(lines[0]), *lines[1:]])

    return damage


def renamed(old: str, new: str) -> Damage:
    return header(lambda names: [new if name == old else name for name in names])


def fields(line: int, change: Callable[[list[str]], list[str]]) -> Damage:
    def damage(path: Path) -> None:
        lines = list(csv.reader(path.read_text().splitlines()))
        lines[line - 1] = change(lines[line - 1])
        _write(path, lines)

    return damage


def content(change: Callable[[bytes], bytes]) -> Damage:
    """Change the bytes of the CSV."""

    def damage(path: Path) -> None:
        before = path.read_bytes()
        path.write_bytes(change(before))
        assert path.read_bytes() != before

    return damage


def metadata(**values: object) -> Damage:
    """Change the JSON."""

    def damage(path: Path) -> None:
        file = path.with_suffix(".json")
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return damage


def foreign_row(path: Path) -> None:
    """A row of the same block, as it stands in the table of another device."""
    other = path.with_name("other.csv")
    faster = measured(LINEAR, 0.125, MOMENT, kind="linear")
    LatencyTable(METADATA.model_copy(update={"device": "another phone"})).add([faster]).save(other)
    lines = path.read_text().splitlines()
    lines[LINEAR_LINE - 1] = other.read_text().splitlines()[1]
    path.write_text("\n".join([*lines, ""]))


def scaled(path: Path) -> None:
    """All times in microseconds, as if that were the unit."""
    lines = list(csv.reader(path.read_text().splitlines()))
    times = [at for at, name in enumerate(COLUMNS) if name.endswith("_ms")]
    for line in lines[1:]:
        for at in times:
            line[at] = line[at] and str(1000 * float(line[at]))
    _write(path, lines)


def _write(path: Path, lines: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    path.write_text(text.getvalue(), newline="")


def _lines(number: int) -> Damage:
    return content(lambda data: b"".join(data.splitlines(keepends=True)[:number]))


def mismatch(line: int, key: str) -> str:
    return (
        f"table.csv: line {line}: row of {key} does not match its checksum: it was edited, or the metadata beside it "
        "is another table's; profile again, or write intended changes through nas.LatencyTable"
    )


CONV_MISMATCH = mismatch(CONV_LINE, CONV)
LINEAR_MISMATCH = mismatch(LINEAR_LINE, LINEAR)

DAMAGES: dict[str, tuple[Damage, str]] = {
    # The file as a whole.
    "empty": (content(lambda data: b""), "table.csv: line 1: not a latency table: there is no header"),
    "header only": (_lines(1), "table.csv: 0 rows where table.json says 5: it was cut short or edited; restore it"),
    "cut at a line end": (_lines(4), "table.csv: 3 rows where table.json says 5"),
    "cut in the last line": (content(lambda data: data[:-30]), "table.csv: line 6: 13 values instead of 26"),
    "cut in the last checksum": (content(lambda data: data[:-3]), mismatch(OVER_BUDGET_LINE, "wide[z]")),
    "cut before the last checksum": (content(lambda data: data[:-9]), "line 6, column checksum: empty"),
    "cut in a quoted key": (
        content(lambda data: data[: data.index(b"width")]), "table.csv: line 2: not CSV: unexpected end of data",
    ),
    "cut in the header": (
        content(lambda data: data[:20]), "line 1: not a latency table: unknown column 'late'; the columns are key,",
    ),
    "binary": (content(lambda data: bytes(range(256))), "table.csv: cannot be read as text"),
    "latin-1": (content(lambda data: data.replace(b"resnet[y]", b"r\xe9snet")), "table.csv: cannot be read as text"),
    "utf-16": (content(lambda data: data.decode().encode("utf-16")), "table.csv: cannot be read as text"),
    "NUL in a key": (content(lambda data: data.replace(b"linear[", b"lin\0ar[")), "table.csv: line 3, column key: "),
    "NUL in a number": (content(lambda data: data.replace(b",1.5,", b",1.\x005,")), "line 2, column latency_ms: "),
    "zeros in place of the end": (content(lambda data: data[:-40] + bytes(40)), "table.csv: line 6: 8 values"),
    "a block lost in the middle": (
        content(lambda data: data[: data.index(b"\n") + 10] + data[data.index(b"\n") + 90 :]),
        "table.csv: line 2: not CSV: ",
    ),
    "a line lost": (
        content(lambda data: b"".join(data.splitlines(keepends=True)[::2])), "table.csv: 2 rows where table.json says",
    ),
    "a blank line": (content(lambda data: data.replace(b"\nbig", b"\n\nbig")), "line 5: 0 values instead of 26"),
    "a line that is there twice": (
        content(lambda data: data + data.splitlines(keepends=True)[LINEAR_LINE - 1]),
        f"table.csv: line 7: key '{LINEAR}' is there twice; remove one of them",
    ),
    "semicolons": (content(lambda data: data.replace(b",", b";")), "line 1: not a latency table: unknown column 'key;"),
    "decimal commas": (content(lambda data: data.replace(b"7.5", b"7,5")), "line 4: 27 values instead of 26"),
    "a quote that is not closed": (
        content(lambda data: data.replace(b"\nlinear", b'\n"linear')), "table.csv: line 3: not CSV: ",
    ),
    "text after a quote": (content(lambda data: data.replace(b']",', b']"x,')), "table.csv: line 2: not CSV: "),
    # Columns.
    "an extra column": (
        header(lambda names: [*names, "energy_mj"]), "line 1: not a latency table: unknown column 'energy_mj'",
    ),
    "a missing column": (
        header(lambda names: names[1:]), "line 1: not a latency table: column 'key' is missing; the columns are key,",
    ),
    "no checksums": (header(lambda names: names[:-1]), "line 1: not a latency table: column 'checksum' is missing"),
    "swapped columns": (swapped("median_ms", "p90_ms", slice(0, None)), "line 1: not a latency table: columns are in"),
    "swapped headings": (swapped("median_ms", "p90_ms", slice(0, 1)), "line 1: not a latency table: columns are in"),
    "swapped values": (swapped("median_ms", "p90_ms", slice(1, None)), "line 2: latency_ms, median_ms and p90_ms are"),
    "other units": (
        renamed("latency_ms", "latency_us"),
        f"line 1: not a latency table: unknown column 'latency_us'; the columns are {','.join(COLUMNS)}; "
        "times are in milliseconds",
    ),
    "an extra value": (fields(LINEAR_LINE, lambda row: [*row, "7"]), "line 3: 27 values instead of 26"),
    "a missing value": (fields(LINEAR_LINE, lambda row: row[:-1]), "line 3: 25 values instead of 26"),
    # Impossible values.
    "NaN": (cells(CONV_LINE, latency_ms="nan"), "line 2, column latency_ms: Input should be a finite number, got"),
    "infinity": (cells(CONV_LINE, p90_ms="inf"), "line 2, column p90_ms: Input should be a finite number, got 'inf'"),
    "too large": (cells(CONV_LINE, p90_ms="1e999"), "line 2, column p90_ms: Input should be a finite number, got"),
    "full-width digits": (cells(CONV_LINE, latency_ms="\uff11.\uff15"), "line 2, column latency_ms: Input should be"),
    "a number without end": (cells(CONV_LINE, samples="9" * 5000), "line 2, column samples: "),
    "a heading twice": (header(lambda names: [*names[:-1], "key"]), "line 1: not a latency table: column"),
    "negative": (cells(CONV_LINE, latency_ms="-1.5"), "line 2, column latency_ms: Input should be greater than 0, got"),
    "zero": (cells(CONV_LINE, ci_low_ms="0"), "line 2, column ci_low_ms: Input should be greater than 0, got '0'"),
    "text": (cells(CONV_LINE, median_ms="fast"), "line 2, column median_ms: Input should be a valid number, got"),
    "a unit": (cells(CONV_LINE, latency_ms="1.5 ms"), "line 2, column latency_ms: Input should be a valid number"),
    "a formula": (cells(CONV_LINE, latency_ms="=1+1"), "line 2, column latency_ms: Input should be a valid number"),
    "no latency": (cells(CONV_LINE, latency_ms=""), "line 2: a measured row needs latency_ms"),
    "no interval": (cells(CONV_LINE, ci_low_ms="", ci_high_ms=""), "a measured row needs ci_low_ms and ci_high_ms"),
    "no reason to stop": (cells(CONV_LINE, stopped=""), "line 2: a measured row needs stopped"),
    "no date": (cells(CONV_LINE, measured_at=""), "line 2: a measured row needs measured_at"),
    "no key": (cells(CONV_LINE, key=""), "table.csv: line 2, column key: empty"),
    "no status": (cells(CONV_LINE, status=""), "table.csv: line 2, column status: empty"),
    "no provenance": (cells(CONV_LINE, provenance=""), "table.csv: line 2, column provenance: empty"),
    "no number of samples": (cells(CONV_LINE, samples=""), "table.csv: line 2, column samples: empty"),
    "no checksum": (cells(CONV_LINE, checksum=""), "table.csv: line 2, column checksum: empty"),
    "no sample": (cells(CONV_LINE, samples="0"), "line 2: a measured row needs samples"),
    "negative samples": (cells(CONV_LINE, samples="-30"), "column samples: Input should be greater than or equal to 0"),
    "half a sample": (cells(CONV_LINE, samples="30.5"), "line 2, column samples: Input should be a valid integer"),
    "interval reversed": (
        cells(CONV_LINE, ci_low_ms="1.6", ci_high_ms="1.4"), "ci_low_ms, latency_ms and ci_high_ms are not in rising",
    ),
    "latency below its interval": (cells(CONV_LINE, latency_ms="1.0"), "line 2: ci_low_ms, latency_ms and ci_high_ms"),
    "latency above its interval": (cells(CONV_LINE, latency_ms="2.0"), "line 2: ci_low_ms, latency_ms and ci_high_ms"),
    "median below the latency": (cells(CONV_LINE, median_ms="1.4"), "line 2: latency_ms, median_ms and p90_ms are not"),
    "negative drift": (cells(CONV_LINE, drift_percent="-1"), "column drift_percent: Input should be greater than or"),
    "negative memory": (cells(CONV_LINE, memory_bytes="-1"), "column memory_bytes: Input should be greater than or"),
    "unknown status": (cells(CONV_LINE, status="fine"), "line 2, column status: Input should be 'ok', 'out_of"),
    "unknown provenance": (cells(CONV_LINE, provenance="guessed"), "line 2, column provenance: Input should be"),
    "unknown reason to stop": (cells(CONV_LINE, stopped="bored"), "line 2, column stopped: Input should be"),
    "a date that is none": (cells(CONV_LINE, measured_at="yesterday"), "line 2, column measured_at: Input should be a"),
    "a date without zone": (cells(CONV_LINE, measured_at="2026-01-01T00:00:00"), "measured_at: Input should have time"),
    "ok without latency": (cells(OUT_OF_MEMORY_LINE, status="ok"), "line 5: a measured row needs latency_ms"),
    "published without latency": (
        cells(PUBLISHED_LINE, latency_ms=""), "line 4: a row of provenance published needs latency_ms",
    ),
    "published with samples": (
        cells(PUBLISHED_LINE, samples="30"), "line 4: a row of provenance published has no samples",
    ),
    "out of memory with a latency": (
        cells(OUT_OF_MEMORY_LINE, latency_ms="1.5"), "line 5: a row of status out_of_memory has no latency_ms",
    ),
    "out of memory with samples": (
        cells(OUT_OF_MEMORY_LINE, samples="3"), "line 5: a row of status out_of_memory has no samples",
    ),
    "failed without a reason": (
        cells(OUT_OF_MEMORY_LINE, status="failed"), "line 5: a row of status failed needs reason",
    ),
    "ok with a reason": (cells(CONV_LINE, reason="none"), "line 2: a measured row has no reason"),
    "out of memory with a place": (
        cells(OUT_OF_MEMORY_LINE, ops_on_cpu="1"), "line 5: a row of status out_of_memory has no ops_on_cpu",
    ),
    "published with a place": (
        cells(PUBLISHED_LINE, ops_on_cpu="1"), "line 4: a row of provenance published has no ops_on_cpu",
    ),
    "more than one whole": (
        cells(CONV_LINE, ops_on_neural_engine="0.5", ops_on_gpu="0.5", ops_on_cpu="0.5"),
        "line 2: ops_on_neural_engine, ops_on_gpu and ops_on_cpu do not make 1",
    ),
    "a part of a place": (cells(CONV_LINE, cost_on_gpu="1"), "cost_on_gpu and cost_on_cpu do not make 1"),
    "more than all": (cells(CONV_LINE, ops_on_cpu="1.5"), "column ops_on_cpu: Input should be less than or equal to 1"),
    "over the budget without memory": (
        cells(OVER_BUDGET_LINE, memory_bytes=""), "line 6: a row of status over_memory_budget needs memory_bytes",
    ),
    # Possible values that nobody measured.
    "edited latency": (cells(CONV_LINE, latency_ms="1.4"), CONV_MISMATCH),
    "edited interval": (cells(CONV_LINE, ci_high_ms="1.51"), CONV_MISMATCH),
    "edited median": (cells(CONV_LINE, median_ms="1.6"), CONV_MISMATCH),
    "edited samples": (cells(CONV_LINE, samples="31"), CONV_MISMATCH),
    "edited reason to stop": (cells(LINEAR_LINE, stopped="precise"), LINEAR_MISMATCH),
    "edited drift": (cells(CONV_LINE, drift_percent="0.1"), CONV_MISMATCH),
    "edited key": (cells(LINEAR_LINE, key="linear[x:1x16 -> 1x32]"), mismatch(LINEAR_LINE, "linear[x:1x16 -> 1x32]")),
    "edited kind": (cells(CONV_LINE, kind="conv2d"), CONV_MISMATCH),
    "edited memory": (cells(CONV_LINE, memory_bytes="1024"), CONV_MISMATCH),
    "memory removed": (cells(CONV_LINE, memory_bytes=""), CONV_MISMATCH),
    "edited date": (cells(CONV_LINE, measured_at="2027-01-01T00:00:00+00:00"), CONV_MISMATCH),
    "edited provenance": (cells(PUBLISHED_LINE, provenance="estimated"), mismatch(PUBLISHED_LINE, "resnet[y]")),
    "edited status": (
        cells(OVER_BUDGET_LINE, status="out_of_memory"), mismatch(OVER_BUDGET_LINE, "wide[z]"),
    ),
    "edited checksum": (cells(CONV_LINE, checksum="00000000"), CONV_MISMATCH),
    "exchanged latencies": (
        cells(PUBLISHED_LINE, latency_ms="1.5"), mismatch(PUBLISHED_LINE, "resnet[y]"),
    ),
    "exchanged checksums": (
        content(lambda data: _exchange_ends(data, CONV_LINE - 1, LINEAR_LINE - 1)), CONV_MISMATCH,
    ),
    "all times scaled": (scaled, CONV_MISMATCH),
    "a row of another table": (foreign_row, LINEAR_MISMATCH),
    # Metadata.
    "of another device": (metadata(device="a tablet"), CONV_MISMATCH),
    "of another runtime": (metadata(runtime="onnxruntime"), CONV_MISMATCH),
    "of other threads": (metadata(threads=2), CONV_MISMATCH),
    "of another precision": (metadata(precision="fp16"), CONV_MISMATCH),
    "of another unit": (metadata(compute_unit="gpu"), CONV_MISMATCH),
    "of another set of operations": (metadata(opset="17"), CONV_MISMATCH),
    "of another processor": (metadata(cpu="Z80"), CONV_MISMATCH),
    "of another statistic": (metadata(statistic="median"), CONV_MISMATCH),
    "of fewer rows": (metadata(rows=4), "table.csv: 5 rows where table.json says 4"),
    "of more rows": (metadata(rows=6), "table.csv: 5 rows where table.json says 6"),
    "of no number of rows": (metadata(rows=None), "table.json: rows: expected a whole number; got None"),
    "of rows without end": (
        lambda path: path.with_suffix(".json").write_text('{"schema_version": 3, "rows": ' + "9" * 5000 + "}"),
        "table.json: not JSON",
    ),
    "of a reference of NaN": (metadata(reference_ms=float("nan")), "table.json: not JSON: NaN"),
    "of the first version": (metadata(schema_version=1), "table.json: schema_version is 1, this version of nas"),
    "of a later version": (metadata(schema_version=4), "table.json: schema_version is 4, this version of nas"),
    "gone": (lambda path: path.with_suffix(".json").unlink(), "table.csv: table.json is missing"),
    "cut short": (lambda path: path.with_suffix(".json").write_text('{"device": '), "table.json: not JSON"),
}  # fmt: skip


def _exchange_ends(data: bytes, first: int, second: int) -> bytes:
    lines = data.decode().splitlines()
    one, other = lines[first], lines[second]
    lines[first], lines[second] = one[:-8] + other[-8:], other[:-8] + one[-8:]
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_table_is_refused_by_name_and_place(saved: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    damage(saved)
    with pytest.raises(TableError) as caught:
        LatencyTable.load(saved)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(saved.parent / "table."))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        content(lambda data: b"".join([(lines := data.splitlines(keepends=True))[0], *reversed(lines[1:])])),
        content(lambda data: data.replace(b"\n", b"\r\n")),
        content(lambda data: data.removesuffix(b"\n")),
        content(lambda data: data.replace(b",1.5,", b",01.50,").replace(b",30,", b",+30,")),
        content(lambda data: data.replace(b"\nresnet[y]", b'\n"resnet[y]"')),
        content(lambda data: data.replace(b"T00:00:00+00:00", b"T05:30:00+05:30")),
    ],
    ids=["other order", "other line ends", "no last line end", "other digits", "more quotes", "other time zone"],
)
def test_what_changes_no_value_is_read(saved: Path, damage: Damage) -> None:
    before = LatencyTable.load(saved)
    damage(saved)
    assert LatencyTable.load(saved) == before


def test_no_beginning_of_a_complete_table_is_a_table(saved: Path) -> None:
    """Cut at every byte; only the last line end may be missing."""
    data = saved.read_bytes()
    for length in range(len(data) - 1):
        saved.write_bytes(data[:length])
        with pytest.raises(TableError, match=r"table\.csv"):
            LatencyTable.load(saved)


def test_the_rows_before_a_kill_are_read_from_a_table_that_is_not_complete(saved: Path) -> None:
    whole = LatencyTable.load(saved)
    whole.add((), complete=False).save(saved)
    _lines(4)(saved)
    assert LatencyTable.load(saved).rows == {row.key: row for row in ROWS[:3]}


def test_intended_changes_go_through_the_table(saved: Path) -> None:
    """What the message about a checksum recommends."""
    published = ROWS[2].model_copy(update={"latency_ms": 8.5})
    LatencyTable.load(saved).add([published]).save(saved)
    assert LatencyTable.load(saved).rows["resnet[y]"].latency_ms == 8.5


CHARACTERS = '05.,-e "\nx'


def single_edits(text: str, start: int) -> Iterator[str]:
    """Every deletion, and every replacement by and insertion of a number of telling characters."""
    for at in range(start, len(text)):
        yield text[:at] + text[at + 1 :]
        for character in CHARACTERS:
            yield text[:at] + character + text[at + 1 :]
            yield text[:at] + character + text[at:]


@pytest.mark.slow
def test_no_single_character_of_a_row_can_be_edited(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    LatencyTable(METADATA).add(ROWS[i] for i in (0, 2, 4)).save(path)
    whole, text = LatencyTable.load(path), path.read_text()
    # Every third: nineteen edits at each place, so that every place and every character is among them.
    edits = [edited for edited in single_edits(text, text.index("\n") + 1) if edited != text][::3]
    refused = 0
    for edited in edits:
        path.write_text(edited)
        refused += _refused(path, whole)
    # The others are as `1.50` for `1.5`.
    assert refused / len(edits) > 0.95


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(rows(), min_size=1, max_size=3, unique_by=lambda row: row.key), st.data())
def test_a_single_edit_anywhere_is_refused_or_changes_nothing(rows: list[LatencyRow], data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "table.csv"
        LatencyTable(METADATA).add(rows).save(path)
        whole, text = LatencyTable.load(path), path.read_text(encoding="utf-8")
        at = data.draw(st.integers(0, len(text) - 1))
        kept = data.draw(st.sampled_from([at, at + 1]))
        new = data.draw(st.characters(codec="utf-8") | st.sampled_from(CHARACTERS) | st.just(""))
        path.write_text(text[:at] + new + text[kept:], encoding="utf-8", newline="")
        _refused(path, whole)
    finally:
        shutil.rmtree(folder)


def _refused(path: Path, whole: LatencyTable) -> bool:
    """Whether the table is refused by name and place; otherwise it must be what it was."""
    try:
        found = LatencyTable.load(path)
    except TableError as error:
        message = str(error)
    else:
        assert found == whole
        return False
    assert re.search(r"table\.csv: (line \d|\d+ rows where|cannot be read)", message)
    return True


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_table(saved: Path) -> None:
    before = LatencyTable.load(saved).rows
    saved.write_bytes(b"\xef\xbb\xbf" + saved.read_bytes())
    assert LatencyTable.load(saved).rows == before


@pytest.mark.parametrize("name", ["table.csv", "table.json"])
def test_a_file_of_the_user_is_not_replaced_by_a_table(saved: Path, tmp_path: Path, name: str) -> None:
    table, mine = LatencyTable.load(saved), tmp_path / "mine"
    mine.mkdir()
    (mine / name).write_text('{"a": 1}')
    with pytest.raises(TableError, match=r"table\.json"):
        table.save(mine / "table.csv")
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [(name, '{"a": 1}')]
