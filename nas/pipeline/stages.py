"""The stages of a run: their order, and the settings that decide the result of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.files import file_digest, fingerprint
from nas.models.weights import folder_digest
from nas.pipeline.contents import digest_of_layouts, digest_of_paths, digest_of_tables
from nas.pipeline.model_stages import ModelStages
from nas.pipeline.report import run_report
from nas.pipeline.runner import Stage, StageResult
from nas.pipeline.search_stages import SearchStages
from nas.pipeline.summary import run_sections
from nas.report import write_report, write_summary


class Stages(SearchStages, ModelStages):
    """The stages of one run."""

    def all(self) -> list[Stage]:
        """The stages in order, each with the settings that decide its result."""
        config, space = self.config, self.space
        weights = [] if config.weights is None else [config.weights]
        searched = [config.search, config.quality, *self._other_devices(), *weights]
        return [
            Stage("data", [config.data, config.validation_fraction, space.file.video], (), self.data, always=True),
            Stage("profile", [config.profile, space.fingerprint], (), self.profile, contents=digest_of_layouts(space)),
            Stage("fit", [config.fit], ("profile",), self.fit),
            *self._trainings(),
            Stage("search", searched, ("profile", "fit", "train"), self.search, contents=self._read_by_search()),
            *self._second_scoring(weights),
            Stage("front", [config.pick], ("search",) if config.rescore is None else ("rescore",), self.front),
            Stage("check", [config.check], ("front",), self.check),
            Stage("distill", [config.distill], ("front",), self.distill),
            Stage("export", [config.export, *weights], ("front", "distill"), self.export),
            Stage("samples", [config.generate], ("distill",), self.samples),
            Stage("summary", [], ("search", "check", "export", "samples"), self.summary),
        ]

    def _second_scoring(self, weights: Sequence[Any]) -> list[Stage]:
        settings = self.config.rescore
        if settings is None:
            return []
        contents = digest_of_paths(settings.outside_paths(self.base))
        return [Stage("rescore", [settings, *weights], ("search",), self.rescore, contents=contents)]

    def _read_by_search(self) -> str:
        """Digest of what the search reads from outside the run; the rows of tables are among its settings."""
        metric = digest_of_paths(self.config.quality.outside_paths(self.base))
        parts = [part for part in (metric, digest_of_tables(self.other_tables, self.space)) if part]
        return fingerprint(parts) if parts else ""

    def _other_devices(self) -> list[str]:
        """What the tables of other devices hold, which a search depends on as on its settings."""
        return [file_digest(table) for table in self.other_tables]

    def _trainings(self) -> list[Stage]:
        """The training of the supernet, after that of its backbone if the run trains one."""
        start: list[Any] = [self.space.fingerprint, self.space.outside_paths]
        contents = digest_of_paths(self.space.outside_paths)
        if not self.trains_backbone:
            backbone = [] if self.backbone is None else [folder_digest(self.backbone)]
            return [Stage("train", [self.config.train, *start, *backbone], ("data",), self.train, contents=contents)]
        return [
            Stage("backbone", [self.config.backbone, *start], ("data",), self.train_backbone, contents=contents),
            Stage("train", [self.config.train, *start], ("data", "backbone"), self.train, contents=contents),
        ]

    def summary(self, folder: Path) -> StageResult:
        """Write the report of the run, as Markdown and as an interactive page."""
        trainings = [*(stage.name for stage in self._trainings()), "distill"]
        sections = run_sections(self.root, trainings)
        write_summary(folder / "summary.md", sections, title=f"{self.space.name}: from space to model")
        write_report(run_report(self.root, self.space), folder / "summary.html")
        return StageResult("the report of this run: an interactive page, and Markdown", ("summary.html", "summary.md"))
