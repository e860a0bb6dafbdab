"""What `distillation.py` trains and scores for one seed: a teacher, and a student by each method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.ranking_runs import clips_of
from nas.data import prompts
from nas.errors import TrainingError
from nas.files import fingerprint, read_json, write_json
from nas.models import VideoModel
from nas.models.weights import weights_digest
from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier, TemporalFlicker
from nas.quality.clips.scoring import Score, score_clips
from nas.space import SearchSpace
from nas.training import LoopConfig, TrainingConfig, distill, train_model
from nas.training.distillation import AdversarialConfig, DistillationConfig

TEACHER_GUIDANCE, TEACHER_STEPS, STUDENT_STEPS = 3.0, 25, 4

_ENDLESS = 10**6


@dataclass(frozen=True)
class Method:
    """A way to distil.

    Args:
        config: What to distil to.
        images: Whether single frames are trained along.
        learning_rate: Peak learning rate of the student.
    """

    config: DistillationConfig
    images: bool = True
    learning_rate: float = 3e-4


def _with_discriminator(target: DistillationConfig | str, images: bool = True, **settings: Any) -> Method:
    config = DistillationConfig(target=target) if isinstance(target, str) else target
    return Method(config.model_copy(update={"adversarial": AdversarialConfig(**settings)}), images)


_OWN_SAMPLES = DistillationConfig(target="trajectory", target_options={"own_samples": True})

_MATCHING = DistillationConfig(target="distribution_matching", target_options={"fake_learning_rate": 1e-3})

METHODS: dict[str, Method] = {
    "fine-tuning": Method(DistillationConfig(target="data")),
    "consistency": Method(DistillationConfig(target="consistency")),
    "trajectory": Method(DistillationConfig(target="trajectory")),
    "trajectory, fast": Method(DistillationConfig(target="trajectory"), learning_rate=1e-3),
    "trajectory, own samples": Method(_OWN_SAMPLES),
    "trajectory, own samples, fast": Method(_OWN_SAMPLES, learning_rate=1e-3),
    "adversarial": _with_discriminator("data"),
    "consistency + adversarial": _with_discriminator("consistency"),
    "trajectory + adversarial": _with_discriminator("trajectory"),
    "trajectory, own samples + adversarial": _with_discriminator(_OWN_SAMPLES),
    "distribution matching": Method(_MATCHING),
    "distribution matching + adversarial": _with_discriminator(_MATCHING),
}
ABLATIONS: dict[str, Method] = {
    f"{name}, {what}": _with_discriminator(target, **settings)
    for name, target in (("trajectory + adversarial", "trajectory"), ("adversarial", "data"))
    for what, settings in {
        "video only": {"images": False},
        "heads on frames": {"sees": "frames"},
        "heads along time": {"sees": "time"},
        "no re-noising": {"renoise": None},
        "fast discriminator": {"learning_rate": 1e-2},
        "little weight": {"weight": 0.05},
    }.items()
}
"""Settings of the discriminator that differ in one thing from the default."""


@dataclass(frozen=True)
class SeedRun:
    """Everything of one seed.

    Args:
        space: File of the search space.
        architecture: File of the architecture.
        classifier: Folder of the classifier.
        teacher_steps: Optimiser steps of the teacher.
        steps: Optimiser steps of each student.
        minutes: Minutes of training of each student, instead of `steps`.
        methods: Names out of `METHODS` and `ABLATIONS`.
        prompts: How many clips each is judged by.
        seed: Of all trainings.
    """

    space: Path
    architecture: Path
    classifier: Path
    teacher_steps: int
    steps: int
    minutes: float | None
    methods: tuple[str, ...]
    prompts: int
    seed: int

    def run(self, out: Path) -> dict[str, Any]:
        """Train and score, or read what an earlier run has left; rows by name."""
        torch.set_num_threads(1)
        root = out / f"seed-{self.seed}"
        teacher = self.teacher(root / "teacher")
        rows = {
            "teacher": self._scored(teacher, root / "teacher", TEACHER_STEPS, TEACHER_GUIDANCE),
            "teacher in 4 steps, no guidance": self._scored(teacher, root / "teacher-short", STUDENT_STEPS, 1.0),
        }
        for name in self.methods:
            rows[name] = self.student(name, root / self.students / name)
        return rows

    @property
    def students(self) -> str:
        """Name of the folder of all students that were trained for as long."""
        return f"{self.steps}-steps" if self.minutes is None else f"{self.minutes:g}-minutes"

    def teacher(self, folder: Path) -> VideoModel:
        """The teacher, trained from scratch."""
        space = SearchSpace.load(self.space)
        config = TrainingConfig(
            steps=self.teacher_steps, batch_size=32, image_batch_size=8, learning_rate=3e-3, anneal_share=0.25,
            timestep_shift=3.0, checkpoint_every=500, seed=self.seed,
        )  # fmt: skip
        train_model(space, space.load_architecture(self.architecture), clips_of(space).train, config, folder,
                    steps=TEACHER_STEPS, guidance_scale=TEACHER_GUIDANCE)  # fmt: skip
        return VideoModel.load(folder / "model")

    def student(self, name: str, folder: Path) -> dict[str, Any]:
        """A student by one method, scored; or the reason why its training ended."""
        method = (METHODS | ABLATIONS)[name]
        teacher = VideoModel.load(folder.parents[1] / "teacher" / "model")
        loop = LoopConfig(
            steps=self.steps if self.minutes is None else _ENDLESS, max_minutes=self.minutes, batch_size=16,
            image_batch_size=4 if method.images else 0, learning_rate=method.learning_rate, ema_decay=0.99,
            checkpoint_every=100, seed=self.seed,
        )  # fmt: skip
        ended: dict[str, Any]
        try:
            result = distill(teacher, clips_of(teacher.space).train, loop, method.config, folder)
            ended = {"steps": result.steps, "minutes": result.elapsed_s / 60}
        except TrainingError as error:
            ended = {"ended": error.what}
        if not (folder / "model").is_dir():
            return ended
        return self._scored(VideoModel.load(folder / "model"), folder, STUDENT_STEPS, 1.0) | ended

    def _scored(self, model: VideoModel, folder: Path, steps: int, guidance_scale: float) -> dict[str, Any]:
        reader = ShapeClassifier.load(self.classifier)
        weights = [weights_digest(each) for each in (model.unet, model.text_encoder, reader)]
        identity = fingerprint([weights, steps, guidance_scale, self.prompts, self.seed])
        file = folder / f"score-{steps}.json"
        if file.is_file() and (saved := read_json(file))["identity"] == identity:
            return dict(saved["row"])
        metrics = [FrechetVideoDistance(reader.extract), ReadAccuracy(reader), TemporalFlicker()]
        scores = score_clips(
            model,
            metrics,
            prompts(self.prompts, seed=self.seed),
            seed=self.seed,
            steps=steps,
            guidance_scale=guidance_scale,
        )
        row = dict(zip(("distance", "accuracy", "flicker"), map(_row, scores), strict=True))
        write_json(file, {"identity": identity, "row": row})
        return row


def _row(score: Score) -> dict[str, Any]:
    made, real = score.generated, score.real
    return {"value": made.value, "interval": [made.low, made.high], "real": real.value}
