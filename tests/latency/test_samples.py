"""Raw samples on disk: nothing that was measured is lost, and nothing foreign is taken in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nas.errors import TableError
from nas.latency.tables.samples import SampleLog, SampleRecord, samples_path


def record(conditions: str = "here", **samples_ms: tuple[float, ...]) -> SampleRecord:
    return SampleRecord(
        measured_at=datetime(2026, 1, 1, tzinfo=UTC), conditions=conditions, reference="r", reference_ms=(0.1, 0.3),
        samples_ms=samples_ms, order=in_blocks(2, *map(len, samples_ms.values())),
    )  # fmt: skip


def in_blocks(*lengths: int) -> tuple[int, ...]:
    return tuple(turn for turn, length in enumerate(lengths) for _ in range(length))


@pytest.fixture
def log(tmp_path: Path) -> SampleLog:
    log = SampleLog(tmp_path / "table.samples.jsonl", "here")
    log.append(record(a=(1.0, 1.1), b=(2.0,)))
    log.append(record(a=(1.2,)))
    return log


def test_what_is_appended_reads_back_to_the_last_digit(log: SampleLog) -> None:
    odd = (0.1 + 0.2, 1e-7, 123456.789012345)
    log.append(record(c=odd))
    assert [each.samples_ms for each in log.read()] == [{"a": (1.0, 1.1), "b": (2.0,)}, {"a": (1.2,)}, {"c": odd}]
    assert log.read()[0].window.level_ms == pytest.approx(0.15)


def test_no_file_is_no_samples(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "none.samples.jsonl", "here")
    log.remove_torn_line()
    assert log.read() == []


def test_a_log_cut_anywhere_gives_the_whole_lines_before_the_cut(log: SampleLog) -> None:
    content, whole = log.path.read_bytes(), log.read()
    first_line = content.index(b"\n") + 1
    for cut in range(len(content)):
        log.path.write_bytes(content[:cut])
        assert log.read() == whole[: int(cut >= first_line)]
        log.remove_torn_line()
        log.append(whole[1])
        assert log.read() == [*whole[: int(cut >= first_line)], whole[1]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.1", "-1.1", "not a window"),
        ("1.1", "NaN", "not a window"),
        ("1.1", '"1.1 ms"', "not a window"),
        ("[1.0,1.1]", "[]", "not a window"),
        ("[1.0,1.1]", "[1.0]", "not a window"),
        ("[0,0,1,1,2]", "[0,0,1,1,3]", "not a window"),
        ("[0,0,1,1,2]", "[0,0,1,1,2,3]", "not a window"),
        ("reference_ms", "reference_us", "not a window"),
        ('"here"', '"there"', "other conditions"),
        ("{", "", "not a window"),
    ],
)
def test_a_damaged_line_is_named(log: SampleLog, old: str, new: str, message: str) -> None:
    content = log.path.read_text()
    assert old in content
    log.path.write_text(content.replace(old, new, 1))
    with pytest.raises(TableError, match=rf"samples\.jsonl: line 1: .*{message}"):
        log.read()


def test_kept_samples_are_those_of_the_keys_wanted(log: SampleLog, tmp_path: Path) -> None:
    out = SampleLog(tmp_path / "merged.samples.jsonl", "merged")
    out.keep(["b", "z"], [*log.read(), record("elsewhere", z=(7.0,))])
    assert [each.samples_ms for each in out.read()] == [{"b": (2.0,)}, {"z": (7.0,)}]


def test_a_window_with_fewer_blocks_keeps_the_order_of_the_rest() -> None:
    whole = record(a=(1.0, 1.1), b=(2.0, 2.1), c=(3.0,)).model_copy(update={"order": (0, 3, 2, 1, 0, 1, 2)})
    part = whole.only(["c", "b"])
    assert (part.samples_ms, part.order) == ({"b": (2.0, 2.1), "c": (3.0,)}, (0, 2, 1, 0, 1))
    assert list(part.window.sequence_ms) == [0.1, 3.0, 2.0, 0.3, 2.1]


def test_copies_in_chains_stay_with_their_block(log: SampleLog) -> None:
    whole = record(a=(1.0, 1.1), b=(2.0, 2.1)).model_copy(update={"copies": {"a": (1, 8), "b": (1, 16)}})
    log.append(whole)
    assert log.read()[-1] == whole
    assert whole.only(["b"]).copies == {"b": (1, 16)}


def test_the_file_stands_beside_the_table() -> None:
    assert samples_path("tables/phone.csv") == Path("tables/phone.samples.jsonl")
