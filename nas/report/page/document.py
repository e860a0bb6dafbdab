"""The content of an interactive report as plain data, which the page shows and embeds as JSON.

Everything that a reader sees stands in a `Report`. What is not known is `None` or empty, and the page leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nas.formatting import Cell
from nas.latency.prediction.breakdown import Breakdown


@dataclass(frozen=True)
class Slot:
    """A slot of the space.

    Args:
        name: Its stage, and its place if the stage has several.
        candidates: What it may hold; in a report without a search space, what scored architectures hold.
    """

    name: str
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """The latency of one clip.

    Args:
        ms: Milliseconds.
        low_ms: Lower end of the interval; `None` if it is unknown.
        high_ms: Upper end.
        source: Where it comes from: `measured`, `estimated`, `extrapolated` or `published`, or that it is predicted
            from blocks with such latencies.
        device: The device.
        interval_percent: Share of networks that the interval is for; `None` if it is unknown.
    """

    ms: float
    low_ms: float | None
    high_ms: float | None
    source: str
    device: str
    interval_percent: int | None = None


@dataclass(frozen=True)
class Score:
    """A score with its standard errors, which are `None` if they are unknown.

    Args:
        value: The score.
        standard_error: Of the score, as a prediction of that on all possible data.
        own_error: Without the noise that all architectures share: what counts in a comparison.
    """

    value: float
    standard_error: float | None
    own_error: float | None


@dataclass(frozen=True)
class Point:
    """One scored architecture.

    Args:
        id: Its identifier.
        choices: What each slot holds.
        second: The second objective: milliseconds, or a share of a budget.
        second_low: Lower end of its interval; `None` if it is unknown.
        second_high: Upper end.
        latency: Latency of one clip, on the device that decides.
        on_devices: Latencies on all of several devices.
        parameters: Weights of the denoising network.
        search: Score of the search.
        again: Score of the second scoring.
        within_budgets: Whether it meets the budgets.
        leads_search: Whether it is on the front of the search.
        leads_again: Whether it is on the front of the second scoring.
        measured_ms: Latency of one clip with the denoising network measured as a whole.
    """

    id: str
    choices: tuple[str, ...]
    second: float
    second_low: float | None
    second_high: float | None
    latency: Latency
    on_devices: tuple[Latency, ...]
    parameters: int | None
    search: Score
    again: Score | None
    within_budgets: bool
    leads_search: bool
    leads_again: bool
    measured_ms: float | None


@dataclass(frozen=True)
class Line:
    """A budget: a value of the second objective, with its name."""

    value: float
    label: str


@dataclass(frozen=True)
class Front:
    """All scored architectures.

    Args:
        quality: Name of the metric of the search.
        quality_again: Name of the metric of the second scoring; empty if there was none.
        better: `lower` or `higher`: the better scores.
        second: What the second objective is, with its unit.
        slots: The slots of the space.
        colours: Colour of each candidate.
        points: The architectures, in the order in which they were scored.
        budgets: Budgets of the second objective.
        remarks: Sentences on the noise of the scores, and on what is missing.
        of_shares: Whether the second objective is a share of a budget.
        intervals: What the intervals of the second objective are, for a legend; empty if none is known.
    """

    quality: str
    quality_again: str
    better: str
    second: str
    slots: tuple[Slot, ...]
    colours: Mapping[str, str]
    points: tuple[Point, ...]
    budgets: tuple[Line, ...] = ()
    remarks: tuple[str, ...] = ()
    of_shares: bool = False
    intervals: str = ""


@dataclass(frozen=True)
class Importance:
    """How much each slot decides; the values of one objective add up to 1.

    Args:
        slots: Names of the slots.
        quality: Importance for the score.
        latency: Importance for the latency.
        architectures: Number of architectures it was computed from.
    """

    slots: tuple[str, ...]
    quality: tuple[float, ...]
    latency: tuple[float, ...]
    architectures: int


@dataclass(frozen=True)
class Rival:
    """A simple design beside the chosen one.

    Args:
        design: What it is, in words.
        id: Identifier of its architecture.
        latency: Its latency.
        slower_percent: How much longer it takes than the chosen one; `None` where shares of budgets are compared.
        points_more: By how many points, hundredths of a budget, its largest share is above that of the chosen one;
            `None` where latencies are compared.
        score: Its score, in the scoring that both have.
        chosen_better_by: By how much the chosen one's score is better; negative if it is worse.
        standard_error: Of that difference; `None` if it is unknown.
        beyond_noise: Whether the difference is larger than the noise; `None` if that is unknown.
    """

    design: str
    id: str
    latency: Latency
    slower_percent: float | None
    points_more: float | None
    score: Score
    chosen_better_by: float
    standard_error: float | None
    beyond_noise: bool | None

    @property
    def costs_more(self) -> float:
        """What it costs more than the chosen one: percent of a latency, or points of a budget."""
        return next(cost for cost in (self.points_more, self.slower_percent, 0.0) if cost is not None)


@dataclass(frozen=True)
class Verdict:
    """The chosen architecture.

    Args:
        id: Its identifier.
        why: How it was chosen, a sentence.
        rivals: Simple designs beside it.
        sentences: What the comparison says.
        size_bytes: Size of the exported networks, by the name of their format.
    """

    id: str
    why: str
    rivals: tuple[Rival, ...] = ()
    sentences: tuple[str, ...] = ()
    size_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """A clip: who made it, and the file as a data URI."""

    label: str
    source: str


@dataclass(frozen=True)
class ClipRow:
    """Clips of one caption, made from the same noise.

    Args:
        caption: The caption.
        kind: Where the caption comes from.
        clips: The clips.
    """

    caption: str
    kind: str
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Curve:
    """A line of a figure.

    Args:
        title: What the figure shows.
        x_label: What is counted.
        x: The counts.
        series: Values by name, as long as `x`; `None` where there is none.
    """

    title: str
    x_label: str
    x: tuple[float, ...]
    series: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class CheckedNetwork:
    """A network of the front that was measured as a whole, in milliseconds of one call.

    Args:
        id: Identifier of the architecture.
        predicted_ms: The prediction.
        low_ms: Lower end of its 90% prediction interval; `None` without one.
        high_ms: Upper end.
        measured_ms: What was measured.
    """

    id: str
    predicted_ms: float
    low_ms: float | None
    high_ms: float | None
    measured_ms: float

    @property
    def error_percent(self) -> float:
        """How far the prediction is off; positive if it is too high."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True)
class Table:
    """A table with text above it.

    Args:
        title: Heading.
        text: A paragraph.
        rows: Rows of equal keys, which head the columns.
    """

    title: str
    text: str = ""
    rows: Sequence[Mapping[str, Cell]] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Heads of the columns of which a row at least knows something."""
        names = self.rows[0] if self.rows else ()
        return tuple(name for name in names if any(row.get(name) is not None for row in self.rows))

    @property
    def numeric(self) -> frozenset[str]:
        """Heads of the columns of numbers, which are aligned right."""
        known = {name: [row[name] for row in self.rows if row.get(name) is not None] for name in self.columns}
        return frozenset(
            name
            for name, values in known.items()
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        )


@dataclass(frozen=True)
class Report:
    """A whole report.

    Args:
        title: Heading.
        facts: What was searched and where, as names and values.
        front: All scored architectures.
        verdict: The chosen one; `None` if there is no front.
        importance: Which slot matters; `None` with too few architectures.
        breakdown: Where the time goes; `None` without the latencies of blocks.
        clips: Generated clips.
        clips_text: How they were made.
        curves: Losses and checks of the trainings.
        checks: Networks that were measured as a whole.
        checks_text: What the check says.
        tables: Everything else.
        settings: The settings of the run, as YAML; empty if they are unknown.
        missing: Parts that could not be read, a sentence each.
    """

    title: str
    facts: Mapping[str, str]
    front: Front
    verdict: Verdict | None = None
    importance: Importance | None = None
    breakdown: Breakdown | None = None
    clips: tuple[ClipRow, ...] = ()
    clips_text: str = ""
    curves: tuple[Curve, ...] = ()
    checks: tuple[CheckedNetwork, ...] = ()
    checks_text: str = ""
    tables: tuple[Table, ...] = ()
    settings: str = ""
    missing: tuple[str, ...] = ()
