"""Rows and metadata of latency tables, drawn at random."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from nas.latency.measuring.windows import Window
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.rows import PLACEMENT, LatencyRow

text = st.text(st.characters(codec="utf-8"), min_size=1)
line = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
milliseconds = st.floats(1e-6, 1e9)
moments = st.datetimes(timezones=st.just(UTC))
memory = st.none() | st.integers(0, 2**40)


def measured(key: str, latency_ms: float, measured_at: datetime, **fields: Any) -> LatencyRow:
    """A measured row whose other figures follow from its latency."""
    return LatencyRow(
        **{
            "key": key, "kind": "conv", "latency_ms": latency_ms, "ci_low_ms": 0.75 * latency_ms,
            "ci_high_ms": 1.25 * latency_ms, "median_ms": 1.5 * latency_ms, "p90_ms": 2 * latency_ms, "samples": 30,
            "stopped": "precise", "drift_percent": 0.0, "provenance": "measured", "measured_at": measured_at,
        } | fields
    )  # fmt: skip


@st.composite
def measured_rows(draw: st.DrawFn, keys: st.SearchStrategy[str] = line) -> LatencyRow:
    low, latency, high = sorted(draw(st.tuples(milliseconds, milliseconds, milliseconds)))
    median, p90 = sorted(max(latency, draw(milliseconds)) for _ in range(2))
    return LatencyRow(
        key=draw(keys), kind=draw(line), latency_ms=latency, ci_low_ms=low, ci_high_ms=high, median_ms=median,
        p90_ms=p90, samples=draw(st.integers(1, 10**6)), stopped=draw(st.sampled_from(["precise", "time"])),
        drift_percent=draw(st.floats(0, 1e6)), memory_bytes=draw(memory), provenance="measured",
        measured_at=draw(moments), package_bytes=draw(st.none() | st.integers(1, 2**40)),
        load_ms=draw(st.none() | milliseconds), psnr_db=draw(st.none() | st.floats(-100, 200)),
        max_abs_error=draw(st.none() | st.floats(0, 1e6)), **draw(placements()),
    )  # fmt: skip


@st.composite
def placements(draw: st.DrawFn) -> dict[str, float]:
    """Shares by column: of operations, of their cost, of both, or of none."""
    found = {}
    for names in draw(st.sampled_from([(), (PLACEMENT[:3],), (PLACEMENT[3:],), (PLACEMENT[:3], PLACEMENT[3:])])):
        counts = draw(st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any))
        found |= {name: count / sum(counts) for name, count in zip(names, counts, strict=True)}
    return found


def rows(keys: st.SearchStrategy[str] = line) -> st.SearchStrategy[LatencyRow]:
    """Rows of every status and provenance."""
    estimated = st.builds(
        LatencyRow,
        key=keys,
        kind=line,
        latency_ms=milliseconds,
        memory_bytes=memory,
        provenance=st.sampled_from(["estimated", "published"]),
    )
    unusable = st.builds(
        LatencyRow,
        key=keys,
        kind=line,
        status=st.sampled_from(["out_of_memory", "over_memory_budget"]),
        memory_bytes=st.integers(0, 2**40),
        provenance=st.just("measured"),
        measured_at=st.none() | moments,
    )
    failed = st.builds(
        LatencyRow,
        key=keys,
        kind=line,
        status=st.just("failed"),
        reason=line,
        provenance=st.just("measured"),
        measured_at=moments,
    )
    return measured_rows(keys) | estimated | unusable | failed


metadata = st.builds(
    TableMetadata,
    device=text,
    runtime=text,
    threads=st.none() | st.integers(1, 64),
    opset=st.none() | text,
    cpu=text,
    versions=st.dictionaries(text, text, max_size=3),
    spaces=st.lists(text, max_size=3).map(tuple),
    complete=st.booleans(),
    processor_share=st.none() | st.floats(0, 2),
    affinity=st.none() | st.lists(st.integers(0, 255), max_size=4).map(tuple),
    load_average=st.none() | st.floats(0, 1e3),
    memory_budget_bytes=st.none() | st.integers(1, 2**40),
    reference=st.none() | line,
    measurement=st.dictionaries(
        text, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    ),
    began_at=st.none() | moments,
    ended_at=st.none() | moments,
)


@st.composite
def windows(draw: st.DrawFn) -> list[Window]:
    """Up to three windows of the same few blocks, called in any order."""
    latency = st.floats(1e-3, 1e3)
    made = []
    for _ in range(draw(st.integers(1, 3))):
        lengths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
        order = draw(st.permutations([turn for turn, length in enumerate(lengths) for _ in range(length)]))
        reference_ms, *others_ms = (
            tuple(draw(st.lists(latency, min_size=length, max_size=length))) for length in lengths
        )
        samples_ms = {f"block {place}": values for place, values in enumerate(others_ms)}
        made.append(Window("reference", reference_ms, samples_ms, tuple(order)))
    return made
