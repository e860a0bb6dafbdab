"""The stages that prepare clips, train models, and export them.

Each stage works in its folder, and returns what it leaves for the next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.export import HeldOutLoss, Manifest, export_bundle, stored_kind
from nas.files import fingerprint
from nas.formatting import counted
from nas.models import VideoModel
from nas.models.parts import unloaded_codec
from nas.pipeline.folder import RunFolder
from nas.pipeline.runner import StageResult
from nas.pipeline.samples import SHEET, clips_beside, flicker_rows, plot_samples, shown_captions
from nas.quality import compressed_loss
from nas.quality.clips.scoring import generated_clips
from nas.report.compression import compression_sentence
from nas.report.samples import BATCH, write_clips
from nas.training import distill, finetune_model, inherit_model, train_model, train_supernet


class ModelStages(RunFolder):
    """Data, backbone, train, distill, export and samples."""

    def data(self, folder: Path) -> StageResult:
        """Decode the clips into shards."""
        clips = self.clips
        counts = {"train": len(clips.train), "validation": len(clips.validation)}
        headline = f"{counts['train']} training clips, {counts['validation']} held out"
        token = fingerprint([clips.train.fingerprint, clips.validation.fingerprint])
        return StageResult(headline, values=counts, token=token)

    def train_backbone(self, folder: Path) -> StageResult:
        """Train the backbone: the network without temporal layers."""
        assert self.config.backbone is not None
        assert self.config.backbone.training is not None
        alone, settings = self.space.without_layers(), self.config.backbone.training
        result = train_model(self.space, alone, self.clips.train, settings, folder)
        headline = (
            f"network without temporal layers after {counted(result.steps, 'step')}, loss {result.final_loss:.4f}"
        )
        values = {"steps": result.steps, "loss": result.final_loss, "elapsed_s": result.elapsed_s}
        return StageResult(headline, ("model/unet.safetensors",), values)

    def train(self, folder: Path) -> StageResult:
        """Train the supernet."""
        result = train_supernet(self.space, self.clips.train, self.config.train, folder, backbone=self.backbone)
        headline = f"supernet after {counted(result.steps, 'step')}, loss {result.final_loss:.4f}"
        values = {
            "steps": result.steps,
            "loss": result.final_loss,
            "elapsed_s": result.elapsed_s,
            "backbone": None if self.backbone is None else str(self.backbone),
            "freeze_backbone": self.config.train.freeze_backbone,
        }
        return StageResult(headline, ("supernet/supernet.safetensors",), values)

    def distill(self, folder: Path) -> StageResult:
        """Train the picked architecture further, alone, and then distil it to a few steps."""
        settings = self.config.distill
        if settings.finetune is not None:
            finetune_model(self._inherited, self.clips.train, settings.finetune, folder / "teacher")
        result = distill(self.teacher, self.clips.train, settings.training, settings.distillation, folder)
        headline = (
            f"{settings.distillation.steps}-step model without guidance, from training step {result.kept_step}, "
            f"loss {result.final_loss:.4f}"
        )
        values = {**dataclasses.asdict(result), "loss": result.final_loss}
        return StageResult(headline, ("model/unet.safetensors",), values)

    @property
    def teacher(self) -> VideoModel:
        """What the student is distilled from: the picked architecture, trained alone if the run does that."""
        if self.config.distill.finetune is None:
            return self._inherited
        return VideoModel.load(self.root / "distill" / "teacher" / "model")

    @property
    def _inherited(self) -> VideoModel:
        """The picked architecture with the weights of the supernet."""
        guidance = self.config.distill.distillation.guidance
        return inherit_model(self.space, self.root / "train", self.chosen, guidance_scale=guidance)

    def export(self, folder: Path) -> StageResult:
        """Write the bundle: weights, architecture, ONNX and Core ML."""
        latency = self.predictor.predict(self.chosen).to_dict()
        student, formats = self.student, self.config.export.formats
        known = (caption for caption in self.clips.train.captions if student.text_encoder.reads_all(caption))
        prompt = next((caption for caption in known if caption.strip()), None)
        kind = stored_kind(self.config.weights, formats)
        costs = None if kind is None else compressed_loss(student, kind, self.clips.validation)
        manifest = export_bundle(
            student,
            folder / "bundle",
            formats,
            latency=latency,
            options=self.config.export.options | ({} if kind is None else {"weights": kind}),
            prompt=prompt,
            chunks=self.config.export.chunks,
            held_out=None if costs is None else HeldOutLoss.model_validate(costs._asdict()),
        )
        return _exported(manifest)

    def samples(self, folder: Path) -> StageResult:
        """Generate clips with the distilled model."""
        student, fps = self.student, self.space.file.video.fps
        shown = shown_captions(self.config.generate, self.clips, unloaded_codec(self.space))
        prompts = [row.caption for row in shown]
        generated_BTCHW = generated_clips(student, prompts, seed=self.config.generate.seed, batch_size=BATCH)
        files = write_clips(generated_BTCHW, prompts, folder, fps)
        sheet = plot_samples(shown, generated_BTCHW, folder / SHEET)
        beside = clips_beside(shown, self.teacher, student, folder, files, self.config.generate.seed)
        clips = [
            {"prompt": row.caption, "file": file.name, "captions": row.kind, "beside": others}
            for row, file, others in zip(shown, files, beside, strict=True)
        ]
        steps, flicker = student.generation.steps, flicker_rows(shown, generated_BTCHW)
        headline = f"{counted(len(files), 'clip')} in {counted(steps, 'step')} each{_flicker_words(flicker)}"
        values = {"clips": clips, "steps": steps, "flicker": flicker}
        return StageResult(headline, (*(file.name for file in files), sheet.name), values)


def _flicker_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Flicker of the clips of training captions, as a multiple of that of real clips; empty if it is unknown."""
    ratios = [row["ratio"] for row in rows if row["captions"] == "training" and row["ratio"] is not None]
    return f"; clips of training captions flicker {ratios[0]:.2f} times as much as real ones" if ratios else ""


def _exported(manifest: Manifest) -> StageResult:
    """The result of the stage that wrote a bundle: its converted networks, and how far they are from torch."""
    files = [
        {
            "file": file.path,
            "size_bytes": file.size_bytes,
            "weights": file.weights,
            "parity": file.parity.status,
            "max_abs_error": file.parity.max_abs_error,
            "psnr_db": file.parity.psnr_db,
        }
        for file in manifest.networks
    ]
    written = counted(len(manifest.other_files), "file")
    headline = f"{written} and {counted(len(files), 'converted network')} in one folder"
    if manifest.compression is not None:
        headline += f"; {compression_sentence(manifest.compression)}"
    return StageResult(headline, ("bundle/manifest.json",), {"files": files})
