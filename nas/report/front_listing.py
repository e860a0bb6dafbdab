"""The text below the front's figure: the chosen architecture, the origin of the latencies, and remarks."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes

from nas.report.front_range import intervals_fit
from nas.report.style import GREEN, MUTED
from nas.search import FrontMember, StudyRecord
from nas.search.latencies.devices import DeviceLatency
from nas.search.results.second_intervals import second_interval
from nas.space import Architecture
from nas.space.layers import layers_text

__all__ = ["Caption", "layers_text"]

LINE_HEIGHT_IN = 0.17
EXTRA_LINES = 2
CAPTION_COLUMNS_PER_IN = 14.4
BOLD = 0.8
"""Columns of bold text, as a share of the others."""

BARS = "Bars up and down are one standard error, without the noise that all members share."
HIDDEN = "Intervals of latencies are not drawn where they are much wider than the front."
OF_SHARES = (
    "An end of a share's bar is the largest share with the latencies on all devices at that end of their intervals."
)
TOGETHER = "Estimates for one family of networks are off in the same direction."


class Caption:
    """The text below a figure of a front.

    Args:
        record: The study.
        chosen: The architecture that was picked.
        source: Where the latencies come from, a sentence.
        outside: Architectures that the axes leave out.
        width_in: Width of the figure.
    """

    def __init__(
        self, record: StudyRecord, chosen: Architecture | None, source: str, outside: int, width_in: float
    ) -> None:
        self.record, self.outside = record, outside
        columns = int(CAPTION_COLUMNS_PER_IN * width_in)
        picked = next((member for member in record.final.evaluations if member.architecture == chosen), None)
        self.head = [] if picked is None else textwrap.wrap(self._chosen(picked), int(BOLD * columns))
        self.text = textwrap.wrap(" ".join([source, *self._remarks()]), columns)

    @property
    def height_in(self) -> float:
        """Height of the text."""
        return LINE_HEIGHT_IN * (len(self.head) + len(self.text) + EXTRA_LINES)

    def write(self, axes: Axes) -> None:
        """Write the chosen architecture, then the rest."""
        axes.axis("off")
        total = len(self.head) + len(self.text) + EXTRA_LINES - 1
        if self.head:
            axes.text(0, 1, "\n".join(self.head), fontsize=8.5, color=GREEN, fontweight="bold", va="top")
        below = 1 - (len(self.head) + 0.4) / total if self.head else 1
        axes.text(0, below, "\n".join(self.text), fontsize=8, color=MUTED, va="top")

    def _chosen(self, member: FrontMember) -> str:
        """The chosen architecture with its figures."""
        layers = str(member.architecture) if self.record.one_call else layers_text(member.architecture)
        error = "" if member.standard_error is None else f" ± {member.standard_error:.1g}"
        return f"Chosen: {layers}; {_latency(member)}, {self.record.final.quality} {member.quality:.4g}{error}"

    def _remarks(self) -> list[str]:
        """Remarks that prevent misreading of the figure."""
        final, again = self.record.final, self.record.final_scores
        remarks = [f"Triangles: beyond the axes ({self.outside})."] if self.outside else []
        if any(len(member.quality_parts) > 1 for member in final.front):
            remarks.append(BARS)
        remarks += self._on_intervals()
        if again is not None:
            fallen, led = len(self.record.fallen), len(self.record.front)
            remarks.append(f"Of the {led} on the front of the search, {fallen} left it when scored again.")
            for count, what in ((final.failed, "failed"), (final.waiting, "are not scored again yet")):
                remarks += [f"{count} {what}."] if count else []
        return remarks

    def _on_intervals(self) -> list[str]:
        """What the bars of latencies do not tell."""
        stages = (self.record, self.record.final)
        known = [one for stage in stages for one in stage.front if second_interval(one, stage) is not None]
        if not known:
            return []
        together = any("estimated" in _provenance(member, self.record) for member in known)
        fit = [intervals_fit(stage) for stage in stages]
        remarks = [OF_SHARES] if self.record.of_shares and any(fit) else []
        return remarks + ([] if all(fit) else [HIDDEN]) + ([TOGETHER] if together else [])


def _provenance(member: FrontMember, record: StudyRecord) -> set[str]:
    """Where the latencies of a member's interval come from: a share has one on every device."""
    return {each.provenance for each in member.devices.values()} if record.of_shares else {member.provenance}


def _latency(member: FrontMember) -> str:
    """The latency of a member with its interval, on each of several devices."""
    if not member.devices:
        return _with_interval(member)
    return ", ".join(f"{_with_interval(each)} on {name}" for name, each in member.devices.items())


def _with_interval(latency: FrontMember | DeviceLatency) -> str:
    text = _milliseconds(latency.latency_ms)
    if latency.low_ms is None or latency.high_ms is None:
        return text
    ends = [_milliseconds(end).removesuffix(" ms") for end in (latency.low_ms, latency.high_ms)]
    return f"{text} ({latency.interval_percent}%: {ends[0]} to {ends[1]})"


def _milliseconds(latency_ms: float) -> str:
    return f"{latency_ms:,.2f} ms" if latency_ms >= 1 else f"{latency_ms:.3g} ms"
