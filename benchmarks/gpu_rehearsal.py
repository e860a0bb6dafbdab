"""Tests the project on one large graphics card in some minutes, without internet access.

    python benchmarks/gpu_rehearsal.py --minutes 8 --out OUT [--device cpu|cuda] [--parts machine,tests,...]

machine     the card's properties, and its speed in a matrix product and a copy;
tests       the tests marked `gpu`; at the same time, a classifier is trained, and clips are drawn for later parts;
step        a step of the full-size supernet in bf16: clips per second, memory, share of the peak, compiled blocks;
teacher     a model of 16 frames of 64x64 on moving_shapes, in the remaining time, three minutes of eight;
student     a student of four steps, distilled from the teacher;
quality     a contact sheet, prompt accuracy and Frechet distance of both.

Each part is a process with its own time limit. If one fails or takes too long, the end of its output is recorded, and
the next part runs. OUT gets a few small files, which are updated as soon as something is known, so that nothing is lost
when the command is killed. Without a card everything runs in miniature.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.gpu_rehearsal_parts import Job, run_part
from nas.files import read_json, write_json

STAGES = (("machine",), ("tests", "classifier", "clips"), ("step",), ("teacher",), ("student",), ("quality",))
"""Stages, one after the other; the parts of a stage run at the same time."""

SECONDS = {"machine": 25, "tests": 95, "classifier": 95, "clips": 95, "step": 100, "student": 80, "quality": 60}
"""Time limits of parts, of eight minutes; the teacher gets the remaining time."""

LEAST_TEACHER_S = 60
REPORTS = {
    "machine.json": ("machine",),
    "tests.json": ("tests",),
    "step.json": ("step",),
    "shapes.json": ("clips", "classifier", "teacher", "student", "quality"),
}
"""Files of OUT, and the parts in each."""

TAIL_LINES = 30
POLL_S = 0.3


@dataclass
class Part:
    """A part of the rehearsal, and its state.

    Args:
        job: What it is told.
        state: `waiting`, `running`, `done`, `failed` or `overran`.
        took_s: Seconds it took, or has taken so far.
    """

    job: Job
    state: str = "waiting"
    took_s: float = 0.0
    began: float = 0.0
    process: BaseProcess | None = field(default=None, repr=False)

    def start(self, context: Any) -> None:
        """Start the part as the first process of a new group."""
        self.state, self.began = "running", time.monotonic()
        self.process = context.Process(target=run_part, args=(self.job,))
        self.process.start()

    def look(self, deadline: float) -> bool:
        """Whether it still runs. A part that exceeds its time is killed, with all processes that it has started."""
        if self.process is None or self.state != "running":
            return False
        self.took_s = time.monotonic() - self.began
        late = time.monotonic() >= deadline
        if self.process.is_alive() and not late:
            return True
        self.end()
        # A process that was freeing its memory has ended by itself: its exit code counts, not the time.
        ended = late and self.process.exitcode in {None, -signal.SIGKILL}
        self.state = "overran" if ended else "done" if self.process.exitcode == 0 else "failed"
        return False

    def end(self) -> None:
        """Kill what is left of its process group."""
        assert self.process is not None
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its group has its number
        if self.process.is_alive():
            self.process.kill()
        self.process.join(10)

    def report(self) -> dict[str, Any]:
        """State and results of the part."""
        known: dict[str, Any] = {"state": self.state, "seconds": round(self.took_s, 1), "may_take_s": self.job.seconds}
        if self.job.found_file.is_file():
            known["found"] = read_json(self.job.found_file)
        if self.state in {"failed", "overran"}:
            exitcode = self.process.exitcode if self.process is not None else None
            known |= {"exitcode": exitcode, "error": self.said()[-TAIL_LINES:]}
        return known

    def said(self) -> list[str]:
        """Lines that it has printed."""
        if not self.job.log_file.is_file():
            return []
        return self.job.log_file.read_text(encoding="utf-8", errors="replace").splitlines()


def main() -> None:
    """Run the rehearsal."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="nas-rehearsal-") as work:
        states = rehearse(options.out, Path(work), options.device, options.minutes, options.parts)
    sys.exit(0 if set(states.values()) == {"done"} else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for stage in STAGES for name in stage]
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit of the whole command")
    parser.add_argument("--device", choices=["cpu", "cuda"], default=found)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=known, help=f"some of {','.join(known)}")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in known]:
        parser.error(f"--parts: no part {unknown[0]!r} (there are {', '.join(known)})")
    if options.device == "cuda" and found == "cpu":
        parser.error("--device cuda: PyTorch sees no graphics card")
    if options.minutes <= 0:
        parser.error("--minutes: more than 0")
    return options


def rehearse(out: Path, work: Path, device: str, minutes: float, names: Sequence[str]) -> dict[str, str]:
    """Run parts, stage by stage.

    Args:
        out: Where reports, log and sheet go.
        work: Folder for files that parts exchange.
        device: `cuda` or `cpu`.
        minutes: For all of it.
        names: The parts to run.

    Returns:
        How each part ended.
    """
    out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * minutes
    # A fork of a process that has used the card could not use it. Without a card, forks save the time of imports.
    context = multiprocessing.get_context("spawn" if device == "cuda" else "forkserver")
    if device == "cpu":
        context.set_forkserver_preload(["benchmarks.gpu_rehearsal_parts"])
    parts: dict[str, Part] = {}
    for number, stage in enumerate(STAGES):
        later = [name for other in STAGES[number + 1 :] for name in other if name in names]
        together = {}
        for name in (name for name in stage if name in names):
            seconds = _seconds(name, later, minutes, ends)
            job = Job(name, device, seconds, time.monotonic() + seconds, work.resolve(), out.resolve())
            together[name] = Part(job)
        parts |= together
        _run_together(list(together.values()), parts, context, ends)
    _say(parts)
    return {name: part.state for name, part in parts.items()}


def _seconds(name: str, later: Sequence[str], minutes: float, ends: float) -> float:
    scale, left = minutes / 8, ends - time.monotonic()
    if name == "teacher":
        kept = sum(scale * SECONDS[each] for each in later)
        return round(max(left - kept, scale * LEAST_TEACHER_S), 1)
    return round(min(scale * SECONDS[name], max(left, 1.0)), 1)


def _run_together(stage: Sequence[Part], parts: dict[str, Part], context: Any, ends: float) -> None:
    for part in stage:
        part.start(context)
    written: dict[str, Any] = {}
    running = list(stage)
    try:
        while running:
            running = [part for part in stage if part.look(min(part.job.ends, ends))]
            written = _write(parts, written)
            time.sleep(POLL_S if running else 0)
    finally:
        for part in stage:
            part.end()
            with (part.job.out / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"\n== {part.job.name}: {part.state} after {part.took_s:.0f} s\n")
                log.writelines(f"{line[:1000]}\n" for line in part.said()[-2000:])


def _write(parts: dict[str, Part], written: dict[str, Any]) -> dict[str, Any]:
    """Write the reports in which more than the seconds has changed."""
    for file, names in REPORTS.items():
        known = {name: parts[name].report() for name in names if name in parts}
        without_seconds = {
            name: {key: value for key, value in report.items() if key != "seconds"} for name, report in known.items()
        }
        if known and written.get(file) != without_seconds:
            write_json(next(iter(parts.values())).job.out / file, known)
            written[file] = without_seconds
    return written


def _say(parts: dict[str, Part]) -> None:
    for name, part in parts.items():
        sys.stdout.write(f"{name:>10}: {part.state} after {part.took_s:.0f} of {part.job.seconds:.0f} s\n")
        for line in part.report().get("error", [])[-12:]:
            sys.stdout.write(f"            {line[:300]}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
