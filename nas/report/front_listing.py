"""The text below the front's figure: the numbered members, and the origin of the latencies."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes

from nas.report.style import GREEN, INK, MUTED
from nas.search import FrontMember, StudyRecord
from nas.space import NONE, Architecture

LINE_HEIGHT_IN = 0.17
EXTRA_LINES = 5
COLUMNS_PER_IN = 14
CAPTION_COLUMNS_PER_IN = 14.4
BARS = "Bars are one standard error up and down, without the noise that all members share; SE includes it."


class Listing:
    """The text below a figure of a front.

    Args:
        record: The study.
        members: The members to describe, in the order of their numbers.
        chosen: The architecture that was picked; its lines are highlighted.
        width_in: Width of the figure.
    """

    def __init__(
        self, record: StudyRecord, members: Sequence[FrontMember], chosen: Architecture | None, width_in: float
    ) -> None:
        self.record, self.members, self.chosen, self.width_in = record, list(members), chosen, width_in
        self.noisy = any(len(member.quality_parts) > 1 for member in record.final.front)
        # The caption has a line for each of several devices.
        self.extra_lines = EXTRA_LINES + len(record.devices)
        self.entries = [self._entry(number, member) for number, member in enumerate(self.members, start=1)]

    @property
    def lines(self) -> int:
        """Number of lines of the members."""
        return sum(map(len, self.entries))

    def write(self, axes: Axes, caption: str) -> None:
        """Write the members, then a caption and remarks."""
        axes.axis("off")
        lines = [(self._head(), MUTED)] if self.entries else []
        for member, entry in zip(self.members, self.entries, strict=True):
            colour = GREEN if member.architecture == self.chosen else INK
            lines += [(line, colour) for line in entry]
        total = len(lines) + self.extra_lines - 1
        for row, (line, colour) in enumerate(lines):
            weight = "bold" if colour == GREEN else "normal"
            axes.text(
                0, 1 - row / total, line, fontsize=7.6, family="monospace", va="top", color=colour, fontweight=weight
            )
        text = " ".join([caption, *self._remarks()])
        wrapped = "\n".join(textwrap.wrap(text, int(CAPTION_COLUMNS_PER_IN * self.width_in)))
        axes.text(0, 1 - (len(lines) + 0.7) / total, wrapped, fontsize=8, color=MUTED, va="top")

    def _remarks(self) -> list[str]:
        """Remarks that prevent misreading of the figure."""
        final, again = self.record.final, self.record.final_scores
        remarks = []
        if len(self.members) < len(final.front):
            remarks.append(f"Listed are {len(self.members)} of the {len(final.front)} on the front.")
        if self.noisy:
            remarks.append(BARS)
        if again is not None:
            fallen, led = len(self.record.fallen), len(self.record.front)
            remarks.append(f"Of the {led} on the front of the search, {fallen} left it when scored again.")
            for count, what in ((final.failed, "failed"), (final.waiting, "are not scored again yet")):
                remarks += [f"{count} {what}."] if count else []
        return remarks

    def _head(self) -> str:
        searched = "" if self.record.final_scores is None else "in search"
        return self._row("", self._latency_heads(), "quality", "SE", searched, "parameters") + (
            "choices" if self.record.one_call else "layers"
        )

    def _choices(self, member: FrontMember) -> str:
        """The choices of a member; for a network with other parts, the layers without `none`."""
        return str(member.architecture) if self.record.one_call else layers_text(member.architecture)

    def _entry(self, number: int, member: FrontMember) -> list[str]:
        """The lines that describe a member."""
        size = "-" if member.parameters is None else f"{member.parameters / 1e6:.2f} M"
        searched = "" if member.search_quality is None else f"{member.search_quality:.4g}"
        error = "-" if member.standard_error is None else f"{member.standard_error:#.2g}"
        head = self._row(str(number), self._latencies(member), f"{member.quality:.4g}", error, searched, size)
        # Lines are broken between stages if possible: no-break spaces join the names of one stage.
        stages = [stage.replace(" ", "\xa0") for stage in self._choices(member).split("; ")]
        first, *others = textwrap.wrap("; ".join(stages), int(COLUMNS_PER_IN * self.width_in) - len(head))
        return [line.replace("\xa0", " ") for line in (head + first, *(" " * len(head) + line for line in others))]

    def _latency_heads(self) -> list[str]:
        """Heads of the columns of latency: one, or the share if there is one and one for each of several devices."""
        share = ["share"] if self.record.of_shares else []
        return [*share, *(f"{device}, ms" for device in self.record.devices)] or ["latency, ms"]

    def _latencies(self, member: FrontMember) -> list[str]:
        """The cells below them."""
        share = [] if member.share is None else [f"{member.share:.3f}"]
        on_devices = [_milliseconds(latency.latency_ms) for latency in member.devices.values()]
        return [*share, *on_devices] or [_milliseconds(member.latency_ms)]

    def _row(
        self, number: str, latencies: Sequence[str], quality: str, error: str, searched: str, parameters: str
    ) -> str:
        """One line up to the layers; standard errors, and with a second stage the search's scores, have a column."""
        noise = f"{error:>8} " if self.noisy else ""
        again = "" if self.record.final_scores is None else f"{searched:>10} "
        cells = zip(latencies, self._latency_heads(), strict=True)
        shown = " ".join(f"{cell:>{max(len(head), 11)}}" for cell, head in cells)
        return f"{number:>2} {shown} {quality:>10} {noise}{again}{parameters:>11}   "


def _milliseconds(latency_ms: float) -> str:
    return f"{latency_ms:,.2f}" if latency_ms >= 1 else f"{latency_ms:.3g}"


def layers_text(architecture: Architecture) -> str:
    """The layers of an architecture, leaving out stages that hold none."""
    stages = [
        f"{stage}: {' '.join('-' if name == NONE else name for name in names)}"
        for stage, names in architecture.layers
        if set(names) != {NONE}
    ]
    return "; ".join(stages) or "no temporal layer"
