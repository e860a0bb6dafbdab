"""The page of a report: one HTML file that works without a network, with plotly.js inside."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.files import write_text
from nas.formatting import bytes_text, cell_text, finite_or_null
from nas.report.page.document import Latency, Point, Report, Score


def write_report(report: Report, path: str | Path) -> Path:
    """Write a report as one HTML file.

    Args:
        report: The report.
        path: The file.

    Raises:
        StorageError: The file cannot be written.
    """
    write_text(path, report_html(report))
    return Path(path)


def report_html(report: Report) -> str:
    """The page of a report; the report itself stands in it as JSON, in the element `report-data`."""
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(report=report, data=report_json(report), plotly=_plotly(), chosen=_chosen(report))
    )


def report_json(report: Report) -> dict[str, Any]:
    """A report as plain data; a number that is not finite is `None`."""
    plain: dict[str, Any] = finite_or_null(dataclasses.asdict(report))
    return plain


def latency_text(latency: Latency) -> str:
    """A latency with its interval, if it is known."""
    if latency.low_ms is None or latency.high_ms is None:
        return f"{_milliseconds(latency.ms)} ms"
    share = "" if latency.interval_percent is None else f"{latency.interval_percent}%: "
    return f"{_milliseconds(latency.ms)} ms ({share}{_span(latency.low_ms, latency.high_ms)})"


def share_text(point: Point) -> str:
    """The largest share of a budget with its interval, if it is known."""
    known = point.second_low is not None and point.second_high is not None
    return f"{point.second:.4g}" + (f" ({point.second_low:.4g} to {point.second_high:.4g})" if known else "")


def score_text(score: Score) -> str:
    """A score with its standard error, if it is known."""
    error = "" if score.standard_error is None else f" ± {score.standard_error:.1g}"
    return f"{score.value:.4g}{error}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _span(low: float, high: float) -> str:
    return f"{_milliseconds(low)} to {_milliseconds(high)}"


def _chosen(report: Report) -> Any:
    """The point of the chosen architecture."""
    points = report.front.points
    return None if report.verdict is None else next(each for each in points if each.id == report.verdict.id)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nas.report.page", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "cell": cell_text,
        "bytes": bytes_text,
        "latency": latency_text,
        "score": score_text,
        "share": share_text,
        "embed": _embedded,
        "signed": _signed,
    }
    environment.globals["file"] = _file
    return environment


def _embedded(value: Any) -> Markup:
    """Plain data as JSON within a script element, which no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 (what ends an element is escaped)


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{cell_text(abs(float(f'{value:.2g}')))}"


def _file(name: str) -> Markup:
    """A style sheet or script of this package."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))  # noqa: S704 (a file of this package)


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())  # noqa: S704 (a file of plotly)
