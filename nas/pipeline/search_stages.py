"""The stages that measure latency and search architectures.

Each stage works in its folder, and returns what it leaves for the next.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from nas.files import write_json
from nas.formatting import counted
from nas.latency import LatencyTable, check_networks, fit_networks, profile, usable_space
from nas.latency.prediction.fit import fit_path
from nas.latency.prediction.memory import program_forms
from nas.models.memory import program_costs
from nas.pipeline.folder import STUDY, RunFolder
from nas.pipeline.latencies import latency_text
from nas.pipeline.runner import StageResult
from nas.report import plot_front, plot_latency_check
from nas.search import StudyRecord, choose, choose_by_score, rescore, run_search
from nas.search.rescoring.selecting import parts_sentence
from nas.search.results.intervals import with_intervals
from nas.search.results.neighbours import front_rows, steps_sentence
from nas.space import Architecture
from nas.training import SearchInputs


class SearchStages(RunFolder):
    """Profile, fit, search, rescore, front and check."""

    def profile(self, folder: Path) -> StageResult:
        """Measure the blocks of the whole space on this machine."""
        settings = self.config.profile
        table = profile(
            self.space,
            self.runtime,
            folder / "table.csv",
            measurement=settings.measurement,
            memory_budget_bytes=settings.memory_budget_bytes,
        )
        _, removed = usable_space(self.space, table)
        headline = f"{counted(len(table), 'block')} measured on {table.metadata.device}, {table.metadata.runtime}"
        if removed:
            headline += f"; left out: {'; '.join(map(str, removed))}"
        return StageResult(headline, ("table.csv", "table.json", "table.samples.jsonl"))

    def fit(self, folder: Path) -> StageResult:
        """Fit sums of blocks to whole networks."""
        settings = self.config.fit
        fit_path(self.table_path, self.space.name).unlink(missing_ok=True)
        if not settings.networks:
            return StageResult("no networks measured: predictions are sums of blocks, with an unknown error")
        fit = fit_networks(
            self.usable,
            self.table,
            self.runtime,
            networks=settings.networks,
            measurement=settings.measurement,
            folder=self.converted_networks,
        )
        fit.save(self.table_path)
        write_json(folder / "fit.json", fit.model_dump(mode="json"))
        headline = f"prediction = {fit.equation}, from {counted(len(fit.networks), 'network')}"
        return StageResult(headline, ("fit.json",), {"scale": fit.scale, "interval_percent": fit.interval_percent})

    def search(self, folder: Path) -> StageResult:
        """Search the front of quality against predicted latency."""
        space, latency, removed = self.on_devices if self.config.search.tables else (self.usable, self.predictor, ())
        tables = [LatencyTable.load(path) for path in (self.table_path, *self.other_tables)]
        result = run_search(
            space,
            latency,
            self.config.quality.make(self._inputs()),
            self.config.search,
            self.storage,
            STUDY,
            cost=program_costs(self.space, program_forms(tables)),
        )
        headline = f"{len(result.record.evaluations)} of {space.count():,} architectures scored"
        if removed:
            headline += f"; left out: {'; '.join(map(str, removed))}"
        return StageResult(headline, ("study.db",))

    def _inputs(self, seed: int = 0) -> SearchInputs:
        """What a quality metric may use of this run."""
        train = self.root / "train"
        return SearchInputs(
            self.space,
            supernet=train,
            clips=lambda: self.clips,
            seed=seed,
            base=self.base,
            weights=self.config.weights,
        )

    def rescore(self, folder: Path) -> StageResult:
        """Score the front again, usually with a more expensive metric."""
        settings = self.config.rescore
        assert settings is not None
        quality = settings.make(self._inputs(settings.seed))
        result = rescore(self.storage, STUDY, quality, members=settings.members)
        final = result.record.final
        write_json(folder / "rescored.json", [evaluation.to_dict() for evaluation in final.evaluations])
        again = counted(len(final.evaluations), "architecture")
        headline = f"{again} scored again, {len(result.record.fallen)} fell off the front"
        if quality.part_count > 1:
            headline += f"; {parts_sentence(result.record)}"
        return StageResult(headline, ("rescored.json",))

    def front(self, folder: Path) -> StageResult:
        """Draw the front and pick the architecture that is trained further."""
        latency = self.predictor
        record = with_intervals(self.record, latency, latency.space)
        budget_ms = self.config.pick.latency_budget_ms
        choice = (choose_by_score if self.config.pick.exact else choose)(record, budget_ms)
        chosen, members = choice.member, front_rows(record.final)
        chosen.architecture.save(folder / "architecture.yaml")
        write_json(folder / "front.json", members)
        for suffix in ("png", "svg"):
            plot_front(record, folder / f"front.{suffix}", latency_budget_ms=budget_ms, chosen=chosen.architecture)
        how = "summed" if latency.fit is None else "summed and fitted"
        text = latency_text(chosen.to_dict(), how)
        headline = f"{counted(len(members), 'architecture')} on the front; picked {chosen.architecture.id}, {text}"
        values = {
            "members": members,
            "noise": steps_sentence(record.final),
            "reason": choice.sentence(),
            "metric": record.final.quality,
            "searched": _scoring(record.searched),
            "rescored": None if record.final_scores is None else _scoring(record.final),
            "unet_ms": chosen.unet_ms,
            **chosen.to_dict(),
        }
        return StageResult(headline, ("architecture.yaml", "front.json", "front.png", "front.svg"), values)

    def check(self, folder: Path) -> StageResult:
        """Measure members of the front as whole networks, and compare with their predictions."""
        front = self.record.final.front
        settings = self.config.check
        chosen = _spread([member.architecture for member in front], settings.networks, self.chosen)
        report = check_networks(
            self.space,
            self.table,
            self.runtime,
            chosen,
            fit=self.predictor.fit,
            measurement=settings.measurement,
            folder=self.converted_networks,
        )
        shutil.rmtree(self.converted_networks, ignore_errors=True)
        values = {"networks": report.rows(), **report.summary()}
        write_json(folder / "check.json", values)
        measured_on = f"{self.table.metadata.device}, {self.table.metadata.runtime}"
        plot_latency_check(report, folder / "check.png", measured_on=measured_on)
        headline = (
            f"{counted(len(chosen), 'network')} measured: predictions off by {100 * report.accuracy.mape:.1f}% on "
            f"average, {100 * report.accuracy.worst:.1f}% at worst"
        )
        return StageResult(headline, ("check.json", "check.png"), values)


def _scoring(record: StudyRecord) -> dict[str, Any]:
    """How many architectures were scored, and how well two halves of the held-out data agree on them."""
    agreement = record.agreement
    return {
        "architectures": len(record.evaluations),
        "agreement": None if agreement is None else dataclasses.asdict(agreement),
    }


def _spread(items: list[Architecture], count: int, first: Architecture) -> list[Architecture]:
    """`first` and at most `count - 1` of the other items, evenly spread."""
    others = [item for item in items if item != first]
    places = range(min(count - 1, len(others)))
    return [first, *(others[round(place * (len(others) - 1) / max(len(places) - 1, 1))] for place in places)]
