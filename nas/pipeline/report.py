"""The interactive report of a run, read from its folder: what a stage has not left is left out."""

from __future__ import annotations

import base64
import csv
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from nas.errors import NasError
from nas.files import read_json, read_text
from nas.formatting import counted
from nas.latency import LatencyPredictor, LatencyTable, usable_space
from nas.latency.prediction.breakdown import Breakdown, breakdown
from nas.pipeline.runner import require_search, stage_begun, stage_values
from nas.pipeline.samples import LABELS, MADE_BY
from nas.pipeline.tables import bundle_rows, bundle_sizes, flicker_rows
from nas.report.page.document import CheckedNetwork, Clip, ClipRow, Curve, Report, Table, Verdict
from nas.report.page.front import study_front
from nas.report.page.importance import slot_importance
from nas.report.page.study import study_facts
from nas.report.page.verdict import verdict
from nas.search import StudyRecord, load_study
from nas.search.results.intervals import with_intervals
from nas.space import SearchSpace

logger = logging.getLogger("nas")

T = TypeVar("T")
DAMAGED = (NasError, OSError, KeyError, TypeError, ValueError)
"""What reading the folder of a run raises if a file is missing, damaged, or of an earlier version."""

CONFIG, STUDY = "config.yaml", "search"


def run_report(root: Path, space: SearchSpace | None = None) -> Report:
    """The report of a run, finished or not.

    Args:
        root: The run's folder.
        space: Its search space; that of the distilled model when left out.

    Raises:
        StorageError: The folder is not that of a run, or the run has not begun to search.
    """
    require_search(root)
    return _RunReport(root, space).report()


@dataclass
class _RunReport:
    """Reads the parts of a report.

    Args:
        root: The run's folder.
        given: Its search space, if the caller has it.
        missing: A sentence for each part that could not be read.
    """

    root: Path
    given: SearchSpace | None
    missing: list[str] = field(default_factory=list)

    def report(self) -> Report:
        """The whole report."""
        record = self.record
        unmeasured: dict[str, float] = {}
        measured_ms = self._known("measured latencies", self._measured_ms, unmeasured)
        front = study_front(record, space=self.space, measured_ms=measured_ms)
        samples = stage_values(self.root, "samples")
        report = Report(
            title=f"{record.space}: from space to model",
            facts=study_facts(record),
            front=front,
            verdict=self._known("the verdict", lambda: self._verdict(front.slots), None),
            importance=self._known("importance of slots", lambda: slot_importance(record, front.slots), None),
            breakdown=self._known("where the time goes", self._breakdown, None),
            clips=self._known("clips", lambda: tuple(self._clips(samples)), ()),
            clips_text=_clips_text(samples),
            curves=self._known("curves of the trainings", lambda: tuple(self._curves()), ()),
            checks=self._known("check of latencies", self._checks, ()),
            checks_text=self._known("what the check of latencies says", self._checks_text, ""),
            tables=self._known("tables", lambda: tuple(self._tables(samples)), ()),
            settings=self._known("settings", lambda: _settings(self.root), ""),
        )
        return replace(report, missing=tuple(self.missing))

    @cached_property
    def record(self) -> StudyRecord:
        """The study with the intervals of its latencies, if they are known."""
        return self._known("intervals of latencies", self._with_intervals, self.stored)

    @cached_property
    def stored(self) -> StudyRecord:
        """The study; without second scores if the run did not pick by them."""
        record = load_study(self.root / "search" / "study.db", STUDY)
        picked = stage_values(self.root, "front")
        again = picked["rescored"] is not None if "rescored" in picked else stage_begun(self.root, "rescore")
        return record if again else record.searched

    @cached_property
    def space(self) -> SearchSpace | None:
        """The search space, if it is at hand."""
        path = self.root / "distill" / "model" / "space.yaml"
        if self.given is not None or not path.is_file():
            return self.given
        return self._known("the search space", lambda: SearchSpace.load(path), None)

    @cached_property
    def predictor(self) -> LatencyPredictor | None:
        """The latencies of the run's blocks on its own machine."""
        table = self.root / "profile" / "table.csv"
        if self.space is None or not table.is_file():
            return None
        usable, _ = usable_space(self.space, LatencyTable.load(table))
        return LatencyPredictor.open(usable, table, self.stored.steps)

    def _with_intervals(self) -> StudyRecord:
        latency = self.predictor
        return self.stored if latency is None else with_intervals(self.stored, latency, latency.space)

    def _known(self, what: str, make: Callable[[], T], otherwise: T) -> T:
        """A part of the report; a run does not end in an error because a part cannot be shown."""
        try:
            return make()
        except DAMAGED as error:
            logger.info("the report lacks a part: %s", what, exc_info=True)
            self.missing.append(f"Not shown: {what} ({type(error).__name__}: {error}).")
            return otherwise

    def _verdict(self, slots: Any) -> Verdict | None:
        picked = stage_values(self.root, "front")
        if not picked:
            return None
        files = stage_values(self.root, "export").get("files", ())
        reason = f"{picked['reason']}." if picked.get("reason") else ""
        why = f"Picked from {counted(len(picked['members']), 'architecture')} on the front. {reason}".strip()
        return verdict(self.record, picked["id"], slots, why=why, size_bytes=bundle_sizes(files))

    def _breakdown(self) -> Breakdown | None:
        return None if self.predictor is None else breakdown(self.predictor)

    def _measured_ms(self) -> dict[str, float]:
        """One clip with the network as it was measured, at the speed that the machine had during the profile."""
        values = stage_values(self.root, "check")
        if self.record.devices or not values:
            return {}
        scored = {each.architecture.id: each for each in self.record.evaluations}
        slowdown, steps = values.get("slowdown") or 1.0, self.record.steps
        return {
            row["architecture"]: (each := scored[row["architecture"]]).latency_ms
            + steps * (row["measured_unet_ms"] / slowdown - each.unet_ms)
            for row in values["networks"]
            if row["architecture"] in scored
        }

    def _checks(self) -> tuple[CheckedNetwork, ...]:
        rows = stage_values(self.root, "check").get("networks", ())
        names = ("predicted_unet_ms", "low_ms", "high_ms", "measured_unet_ms")
        return tuple(CheckedNetwork(row["architecture"], *(row.get(name) for name in names)) for row in rows)

    def _checks_text(self) -> str:
        values = stage_values(self.root, "check")
        if not values:
            return ""
        count = len(values["networks"])
        return (
            f"{counted(count, 'network')} of the front {'was' if count == 1 else 'were'} measured as a whole. "
            f"Predictions are off by {values['mape_percent']:.1f}% on average and by {values['worst_percent']:.1f}% at "
            "worst. Bars are 90% prediction intervals. The predictions are corrected to the speed of the machine "
            "during the check."
        )

    def _clips(self, samples: Any) -> Iterator[ClipRow]:
        label = f"student, {samples.get('steps')} steps"
        for clip in samples.get("clips", ()):
            files = {**clip.get("beside", {}), "student": clip["file"]}
            order = [*MADE_BY, *(name for name in files if name not in MADE_BY)]
            shown = [(name, self.root / "samples" / files[name]) for name in order if name in files]
            shown = [(name, path) for name, path in shown if path.is_file()]
            made = [Clip(label if name == "student" else MADE_BY.get(name, name), _data(path)) for name, path in shown]
            if made:
                yield ClipRow(clip["prompt"], LABELS[clip["captions"]], tuple(made))

    def _curves(self) -> Iterator[Curve]:
        stages = {
            "backbone": ("Backbone", "backbone"),
            "train": ("Supernet", "train"),
            "teacher": ("The chosen architecture alone (teacher)", "distill/teacher"),
            "distill": ("Distillation (student)", "distill"),
        }
        for title, folder in stages.values():
            path = self.root / folder / "metrics.csv"
            if path.is_file():
                yield from _losses(path, title)
        checks = self.root / "distill" / "checks.json"
        if checks.is_file():
            rows = read_json(checks)["checks"]
            series = {
                "Fréchet distance to what it learns from": tuple(row["distance"] for row in rows),
                "diversity, share of the teacher's": tuple(row.get("diversity", row.get("variety")) for row in rows),
            }
            for name, values in series.items():
                yield Curve(f"Checks of the student: {name}", "training steps", tuple(row["step"] for row in rows),
                            {name: values})  # fmt: skip

    def _tables(self, samples: Any) -> Iterator[Table]:
        files = stage_values(self.root, "export").get("files", ())
        text = "Each converted network was compared with torch, if its runtime can execute on this machine."
        yield Table("The bundle", text if files else "", bundle_rows(files))
        text = "Mean absolute difference of consecutive frames, from 0 to 1. It includes motion."
        flicker = flicker_rows(samples.get("flicker", ()))
        yield Table("Flicker of the clips", text if flicker else "", flicker)
        table = self.root / "profile" / "table.csv"
        if table.is_file():
            metadata = LatencyTable.load(table).metadata
            versions = [{"package": name, "version": version} for name, version in metadata.versions.items()]
            yield Table("Versions", "What measured the latencies of the blocks.", versions)


def _losses(path: Path, title: str) -> Iterator[Curve]:
    """The losses of a training; a mean of parts is left out if it is the only part."""
    rows = list(csv.DictReader(read_text(path).splitlines()))
    names = [name for name in (rows[0] if rows else ()) if name.endswith("loss")]
    series = {name.replace("_", " "): tuple(_number(row[name]) for row in rows) for name in names}
    kept = {name: values for name, values in series.items() if any(value is not None for value in values)}
    if len(kept) == 2 and len(set(kept.values())) == 1:
        kept.popitem()
    if kept:
        yield Curve(title, "training steps", tuple(float(row["step"]) for row in rows), kept)


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _data(path: Path) -> str:
    """A clip as a data URI."""
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _clips_text(samples: Any) -> str:
    """How the clips were made; empty if there are none."""
    if not samples:
        return ""
    beside = any(clip.get("beside") for clip in samples.get("clips", ()))
    same = " It starts from the same noise as its teacher." if beside else ""
    return f"The student takes {samples['steps']} denoising steps, without guidance.{same} All clips play in step."


def _settings(root: Path) -> str:
    path = root / CONFIG
    return read_text(path) if path.is_file() else ""
