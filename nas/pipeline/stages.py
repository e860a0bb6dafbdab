"""The stages of a run: what each one does in its folder, and what it leaves for the next."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.export import export_bundle
from nas.files import fingerprint, write_json
from nas.latency import check_networks, fit_networks, profile, usable_space
from nas.latency.prediction.fit import fit_path
from nas.models import VideoModel, network_cost
from nas.models.parts import unloaded_codec
from nas.models.weights import folder_digest
from nas.pipeline.folder import STUDY, RunFolder
from nas.pipeline.runner import Stage, StageResult
from nas.pipeline.samples import SHEET, flicker_rows, plot_samples, shown_captions
from nas.pipeline.summary import run_sections
from nas.quality.clips.scoring import generated_clips
from nas.report import plot_front, plot_latency_check, write_summary
from nas.report.samples import BATCH, write_clips
from nas.search import StudyRecord, pick, rescore, run_search
from nas.space import Architecture
from nas.training import (
    SearchInputs,
    distill,
    finetune_model,
    inherit_model,
    train_model,
    train_supernet,
)


class Stages(RunFolder):
    """The stages of one run."""

    def all(self) -> list[Stage]:
        """The stages in order, each with the settings that decide its result."""
        config, space = self.config, self.space
        return [
            Stage("data", [config.data, config.validation_fraction, space.file.video], (), self.data, always=True),
            Stage("profile", [config.profile, space.fingerprint], (), self.profile),
            Stage("fit", [config.fit], ("profile",), self.fit),
            *self._trainings(),
            Stage("search", [config.search, config.quality], ("profile", "fit", "train"), self.search),
            *([] if config.rescore is None else [Stage("rescore", [config.rescore], ("search",), self.rescore)]),
            Stage("front", [config.pick], ("search",) if config.rescore is None else ("rescore",), self.front),
            Stage("check", [config.check], ("front",), self.check),
            Stage("distill", [config.distill], ("front",), self.distill),
            Stage("export", [config.export], ("front", "distill"), self.export),
            Stage("samples", [config.generate], ("distill",), self.samples),
            Stage("summary", [], ("search", "check", "export", "samples"), self.summary),
        ]

    def _trainings(self) -> list[Stage]:
        """The supernet, and before it the model of images that it starts from, where the run trains one."""
        begins: list[Any] = [self.space.fingerprint, self.space.outside_paths]
        if not self.trains_backbone:
            named = [] if self.backbone is None else [folder_digest(self.backbone)]
            return [Stage("train", [self.config.train, *begins, *named], ("data",), self.train)]
        return [
            Stage("backbone", [self.config.backbone, *begins], ("data",), self.train_backbone),
            Stage("train", [self.config.train, *begins], ("data", "backbone"), self.train),
        ]

    def data(self, folder: Path) -> StageResult:
        """Decode the clips into shards."""
        clips = self.clips
        counts = {"train": len(clips.train), "validation": len(clips.validation)}
        headline = f"{counts['train']} training clips, {counts['validation']} held out"
        token = fingerprint([clips.train.fingerprint, clips.validation.fingerprint])
        return StageResult(headline, values=counts, token=token)

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
        headline = f"{len(table)} blocks measured on {table.metadata.device}, {table.metadata.runtime}"
        if removed:
            headline += f"; left out: {'; '.join(map(str, removed))}"
        return StageResult(headline, ("table.csv", "table.json", "table.samples.jsonl"))

    def fit(self, folder: Path) -> StageResult:
        """Fit sums of blocks to whole networks."""
        settings = self.config.fit
        fit_path(self.table_path, self.space.name).unlink(missing_ok=True)
        if not settings.networks:
            return StageResult("no networks measured: predictions are sums of blocks, how far off is not known")
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
        headline = f"prediction = {fit.equation}, from {len(fit.networks)} networks"
        return StageResult(headline, ("fit.json",), {"scale": fit.scale, "interval_percent": fit.interval_percent})

    def train_backbone(self, folder: Path) -> StageResult:
        """Train the network without temporal layers."""
        assert self.config.backbone is not None
        assert self.config.backbone.training is not None
        alone, settings = self.space.without_layers(), self.config.backbone.training
        result = train_model(self.space, alone, self.clips.train, settings, folder)
        headline = f"network without temporal layers after {result.steps} steps, loss {result.final_loss:.4f}"
        values = {"steps": result.steps, "loss": result.final_loss, "elapsed_s": result.elapsed_s}
        return StageResult(headline, ("model/unet.safetensors",), values)

    def train(self, folder: Path) -> StageResult:
        """Train the supernet."""
        result = train_supernet(self.space, self.clips.train, self.config.train, folder, backbone=self.backbone)
        headline = f"supernet after {result.steps} steps, loss {result.final_loss:.4f}"
        values = {
            "steps": result.steps,
            "loss": result.final_loss,
            "elapsed_s": result.elapsed_s,
            "backbone": None if self.backbone is None else str(self.backbone),
            "freeze_backbone": self.config.train.freeze_backbone,
        }
        return StageResult(headline, ("supernet/supernet.safetensors",), values)

    def search(self, folder: Path) -> StageResult:
        """Search the front of quality against predicted latency."""
        result = run_search(
            self.usable,
            self.predictor,
            self.config.quality.make(self._inputs()),
            self.config.search,
            self.storage,
            STUDY,
            cost=lambda architecture: network_cost(self.space.lower(architecture)),
        )
        headline = f"{len(result.record.evaluations)} of {self.usable.count():,} architectures scored"
        return StageResult(headline, ("study.db",))

    def _inputs(self, seed: int = 0) -> SearchInputs:
        """What a quality metric may use."""
        train = self.root / "train"
        return SearchInputs(self.space, supernet=train, clips=lambda: self.clips, seed=seed, base=self.base)

    def rescore(self, folder: Path) -> StageResult:
        """Score the front again, usually with a more expensive metric."""
        settings = self.config.rescore
        assert settings is not None
        quality = settings.make(self._inputs(settings.seed))
        result = rescore(self.storage, STUDY, quality, members=settings.members)
        final = result.record.final
        write_json(folder / "rescored.json", [one.to_dict() for one in final.evaluations])
        headline = (
            f"{len(final.evaluations)} architectures scored again, {len(result.record.fallen)} fell off the front"
        )
        return StageResult(headline, ("rescored.json",))

    def front(self, folder: Path) -> StageResult:
        """Draw the front and pick the architecture that goes on."""
        record = self.record
        budget_ms = self.config.pick.latency_budget_ms
        chosen = pick(record, budget_ms)
        chosen.architecture.save(folder / "architecture.yaml")
        write_json(folder / "front.json", [member.to_dict() for member in record.final.front])
        for suffix in ("png", "svg"):
            plot_front(record, folder / f"front.{suffix}", latency_budget_ms=budget_ms, chosen=chosen.architecture)
        how = "summed" if self.predictor.fit is None else "summed and fitted"
        headline = (
            f"{len(record.final.front)} architectures on the front; picked {chosen.architecture.id}, "
            f"{chosen.latency_ms:.1f} ms per clip ({chosen.provenance} blocks, {how})"
        )
        values = {
            "members": [member.to_dict() for member in record.final.front],
            "metric": record.final.quality,
            "searched": _scoring(record.searched),
            "rescored": None if record.final_scores is None else _scoring(record.final),
            "unet_ms": chosen.unet_ms,
            **chosen.to_dict(),
        }
        return StageResult(headline, ("architecture.yaml", "front.json", "front.png", "front.svg"), values)

    def check(self, folder: Path) -> StageResult:
        """Measure members of the front as whole networks, against what the table predicts."""
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
            f"{len(chosen)} networks measured: predictions off by {100 * report.accuracy.mape:.1f}% on average, "
            f"{100 * report.accuracy.worst:.1f}% at worst"
        )
        return StageResult(headline, ("check.json", "check.png"), values)

    def distill(self, folder: Path) -> StageResult:
        """Train the chosen architecture on, alone, then distil it to a few steps."""
        settings = self.config.distill
        guidance = settings.distillation.guidance
        teacher = inherit_model(self.space, self.root / "train", self.chosen, guidance_scale=guidance)
        if settings.finetune is not None:
            finetune_model(teacher, self.clips.train, settings.finetune, folder / "teacher")
            teacher = VideoModel.load(folder / "teacher" / "model")
        result = distill(teacher, self.clips.train, settings.training, settings.distillation, folder)
        headline = (
            f"{settings.distillation.steps}-step model without guidance, of step {result.kept_step}, "
            f"loss {result.final_loss:.4f}"
        )
        values = {**dataclasses.asdict(result), "loss": result.final_loss}
        return StageResult(headline, ("model/unet.safetensors",), values)

    def export(self, folder: Path) -> StageResult:
        """Write the bundle: weights, architecture, ONNX and Core ML."""
        latency = self.predictor.predict(self.chosen).to_dict()
        report = export_bundle(self.student, folder / "bundle", self.config.export.formats, latency=latency)
        files = [
            {
                "file": file.path,
                "size_bytes": file.size_bytes,
                "parity": file.parity.status,
                "max_abs_error": file.parity.max_abs_error,
                "psnr_db": file.parity.psnr_db,
            }
            for file in report.converted
        ]
        headline = f"{len(report.files)} files and {len(files)} converted networks in one folder"
        return StageResult(headline, ("bundle/report.json",), {"files": files})

    def samples(self, folder: Path) -> StageResult:
        """Generate clips with the distilled model."""
        student, fps = self.student, self.space.file.video.fps
        shown = shown_captions(self.config.generate, self.clips, unloaded_codec(self.space))
        prompts = [each.caption for each in shown]
        made_BTCHW = generated_clips(student, prompts, seed=self.config.generate.seed, batch_size=BATCH)
        files = write_clips(made_BTCHW, prompts, folder, fps)
        sheet = plot_samples(shown, made_BTCHW, folder / SHEET)
        clips = [
            {"prompt": each.caption, "file": file.name, "captions": each.kind}
            for each, file in zip(shown, files, strict=True)
        ]
        steps, flicker = student.generation.steps, flicker_rows(shown, made_BTCHW)
        headline = f"{len(files)} clips in {steps} steps each{_flicker_words(flicker)}"
        values = {"clips": clips, "steps": steps, "flicker": flicker}
        return StageResult(headline, (*(file.name for file in files), sheet.name), values)

    def summary(self, folder: Path) -> StageResult:
        """Write what the run made and found as Markdown and as one HTML file."""
        trainings = [*(stage.name for stage in self._trainings()), "distill"]
        sections = run_sections(self.root, trainings)
        write_summary(folder / "summary", sections, title=f"{self.space.name}: from space to model")
        return StageResult("the report of this run, as Markdown and HTML", ("summary.html", "summary.md"))


def _flicker_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Flicker of the clips of training captions as a multiple of that of the real ones, where it is known."""
    ratios = [row["ratio"] for row in rows if row["captions"] == "training" and row["ratio"] is not None]
    return f"; those of training captions flicker {ratios[0]:.2f} times as much as the real ones" if ratios else ""


def _scoring(record: StudyRecord) -> dict[str, Any]:
    """How many architectures were scored, and how far two halves of the held-out data agree on them; plain data."""
    agreement = record.agreement
    return {
        "architectures": len(record.evaluations),
        "agreement": None if agreement is None else dataclasses.asdict(agreement),
    }


def _spread(items: list[Architecture], count: int, wanted: Architecture) -> list[Architecture]:
    """`wanted` and at most `count - 1` other items, evenly spread."""
    others = [item for item in items if item != wanted]
    places = range(min(count - 1, len(others)))
    return [wanted, *(others[round(place * (len(others) - 1) / max(len(places) - 1, 1))] for place in places)]
