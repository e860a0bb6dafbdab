"""Teacher, student and their quality on moving_shapes, for `gpu_rehearsal.py`."""

from __future__ import annotations

import contextlib
import csv
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from nas.data import Clip, ClipDataset, ClipShape, MovingShapes, prompts
from nas.data.clips.dataset import checked_index
from nas.models import VideoModel
from nas.models.costs import network_cost
from nas.models.video_model import batches
from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier, TemporalFlicker
from nas.quality.clips.scoring import score_clips
from nas.report.comparison import plot_contact_sheet, sample_all, student_and_teacher
from nas.space import SearchSpace
from nas.training import LoopConfig, TrainingConfig, distill, train_classifier, train_model
from nas.training.distillation import DistillationConfig

if TYPE_CHECKING:
    from benchmarks.gpu_rehearsal_parts import Job

ROOT = Path(__file__).resolve().parents[1]
GUIDANCE, TEACHER_STEPS, STUDENT_STEPS = 3.0, 25, 4
CLIPS_SEED = 0
TEACHER_AFTER_S, STUDENT_AFTER_S = 20, 22
"""Seconds reserved after the last step; an H200 has taken less for each."""


@dataclass(frozen=True)
class Scale:
    """Sizes of the rehearsal.

    Args:
        space: File of the search space.
        layers: The architecture, slot by slot.
        clips: Clips that are trained on.
        classifier_steps: Steps of the classifier.
        steps: Most steps of teacher and student; on a card, time ends them.
        batch: Clips per step of the teacher.
        student_batch: Clips per step of the student.
        prompts: Number of clips that each model is judged by.
        sampling: Steps of the teacher's sampling.
        precision: Of training.
    """

    space: Path
    layers: tuple[str, ...]
    clips: int
    classifier_steps: int
    steps: int
    batch: int
    student_batch: int
    prompts: int
    sampling: int
    precision: str

    def shape(self) -> ClipShape:
        """The shape of the clips."""
        video = SearchSpace.load(self.space).file.video
        return ClipShape.of(video)


CARD = Scale(
    ROOT / "benchmarks" / "data" / "shapes_64.yaml",
    ("self_attention_1d", "self_attention_3d", "self_attention_3d", "self_attention_3d", "cross_attention_3d",
     "self_attention_3d", "self_attention_3d", "none", "conv3d", "self_attention_1d"),
    12_000, 600, 100_000, 64, 32, 216, TEACHER_STEPS, "bf16",
)  # fmt: skip
SMALL = Scale(
    ROOT / "search_spaces" / "moving_shapes.yaml",
    ("none", "self_attention_1d", "none", "none", "cross_attention_3d", "none", "none"),
    24, 2, 2, 2, 2, 4, 2, "no",
)  # fmt: skip


def scale_of(job: Job) -> Scale:
    """The sizes of a job."""
    return SMALL if job.small else CARD


class Drawn(ClipDataset):
    """Clips that were drawn in advance, so that a card does not wait for them.

    Args:
        source: The clips as they would be drawn.
        video_NTCHW: The clips as they were.
    """

    def __init__(self, source: MovingShapes, video_NTCHW: torch.Tensor) -> None:
        super().__init__(source.shape, source.names, source.captions, source.fingerprint)
        self.video_NTCHW = video_NTCHW

    def __getitem__(self, index: int) -> Clip:
        """The clip at `index`."""
        index = checked_index(index, len(self))
        return Clip(self.names[index], self.captions[index], self.video_NTCHW[index])

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, tuple[str, ...]]:
        """The clips at some indices, without drawing them again."""
        return self.video_NTCHW[list(indices)], tuple(self.captions[index] for index in indices)


def clips(job: Job) -> None:
    """Draw the training clips of teacher and student."""
    began, scale = time.monotonic(), scale_of(job)
    source = MovingShapes(scale.shape(), scale.clips, CLIPS_SEED)
    parts = list(batches(scale.clips, max(scale.clips // 24, 1)))
    if job.small:
        drawn = [source.batch(part)[0] for part in parts]
    else:
        with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
            drawn = list(pool.map(_draw, [scale] * len(parts), parts))
    save_file({"video": torch.cat(drawn)}, job.work / "clips.safetensors")
    job.tell({"clips": scale.clips, "seconds": time.monotonic() - began})


def _draw(scale: Scale, part: range) -> torch.Tensor:
    torch.set_num_threads(1)
    return MovingShapes(scale.shape(), scale.clips, CLIPS_SEED).batch(part)[0]


def _drawn(job: Job) -> Drawn:
    scale = scale_of(job)
    source = MovingShapes(scale.shape(), scale.clips, CLIPS_SEED)
    return Drawn(source, load_file(job.work / "clips.safetensors")["video"])


def classifier(job: Job) -> None:
    """Train the classifier that reads clips."""
    began, scale = time.monotonic(), scale_of(job)
    record = train_classifier(scale.shape(), job.work / "classifier", steps=scale.classifier_steps)
    job.tell({"steps": record.steps, "accuracy": record.accuracy, "seconds": time.monotonic() - began})


def teacher(job: Job) -> None:
    """Train the teacher in the available time."""
    scale = scale_of(job)
    space = SearchSpace.load(scale.space)
    architecture = space.architecture(list(scale.layers))
    cost = network_cost(space.lower(architecture))
    found: dict[str, Any] = {"space": space.name, "parameters": cost.parameters, "macs_of_a_clip": cost.macs}
    data = _drawn(job)
    # Loading is done. Still to come: writing a checkpoint and the model, and the end of the process.
    minutes = None if job.small else (job.left_s - TEACHER_AFTER_S) / 60
    config = TrainingConfig(
        steps=scale.steps, max_minutes=minutes, batch_size=scale.batch, image_batch_size=0, learning_rate=1e-3,
        warmup_steps=100, anneal_share=0.3, timestep_shift=3.0, checkpoint_every=scale.steps,
        mixed_precision=scale.precision,
    )  # fmt: skip
    found |= {"batch_size": scale.batch, "minutes": minutes}
    with _followed(job, job.work / "teacher" / "metrics.csv", found):
        result = train_model(
            space, architecture, data, config, job.work / "teacher", steps=scale.sampling, guidance_scale=GUIDANCE
        )
    job.tell(found | _done(result.steps, result.elapsed_s, result.final_loss, scale.batch, cost.macs))


def student(job: Job) -> None:
    """Distil the teacher to four steps in the available time."""
    scale = scale_of(job)
    model, data = VideoModel.load(job.work / "teacher" / "model"), _drawn(job)
    minutes = None if job.small else (job.left_s - STUDENT_AFTER_S) / 60
    training = LoopConfig(
        steps=scale.steps, max_minutes=minutes, batch_size=scale.student_batch, image_batch_size=0, learning_rate=3e-4,
        ema_decay=0.99, checkpoint_every=150, mixed_precision=scale.precision,
    )  # fmt: skip
    to = DistillationConfig(steps=STUDENT_STEPS, target="trajectory", teacher_substeps=4, guidance_scale=GUIDANCE)
    found: dict[str, Any] = {"batch_size": scale.student_batch, "minutes": minutes}
    with _followed(job, job.work / "student" / "metrics.csv", found):
        result = distill(model, data, training, to, job.work / "student")
    found |= {"kept_step": result.kept_step}
    job.tell(found | _done(result.steps, result.elapsed_s, result.final_loss, scale.student_batch, None))


def _done(steps: int, elapsed_s: float, loss: float, batch: int, macs: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"steps": steps, "training_s": elapsed_s, "final_loss": loss}
    found["clips_per_s"] = steps * batch / elapsed_s
    if macs is not None:
        found["tflops"] = 6 * macs * found["clips_per_s"] / 1e12
    if torch.cuda.is_available():
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
    return found


@contextlib.contextmanager
def _followed(job: Job, metrics: Path, found: dict[str, Any]) -> Iterator[None]:
    """Report the progress of a training every few seconds."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(4):
            if metrics.is_file():
                with metrics.open(newline="") as file:
                    rows = list(csv.DictReader(file))
                if rows:
                    found["curve"] = [row.get("loss") for row in rows[:: max(len(rows) // 20, 1)]]
                    found["last"] = rows[-1]
                    job.tell(found)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def quality(job: Job) -> None:
    """The contact sheet, and the classifier's results for teacher and student."""
    scale = scale_of(job)
    torch.set_float32_matmul_precision("high")
    models = {name: job.work / name / "model" for name in ("teacher", "student")}
    made = {name: VideoModel.load(folder).to(job.device) for name, folder in models.items() if folder.is_dir()}
    found: dict[str, Any] = {}
    if "student" in made:
        found["seconds_of_a_clip"] = _sheet(job, made["student"], made["teacher"])
        job.tell(found)
    reader = ShapeClassifier.load(job.work / "classifier" / "classifier").to(job.device)
    ways = [("teacher", "teacher", scale.sampling, GUIDANCE), ("teacher in 4 steps", "teacher", STUDENT_STEPS, 1.0)]
    ways.insert(0, ("student", "student", STUDENT_STEPS, 1.0))
    found["scores"] = {}
    for label, name, steps, guidance in ways:
        if name in made:
            began = time.monotonic()
            found["scores"][label] = _scored(made[name], reader, scale.prompts, steps, guidance)
            found["scores"][label]["seconds"] = time.monotonic() - began
            job.tell(found)


def _sheet(job: Job, student_model: VideoModel, teacher_model: VideoModel) -> dict[str, float]:
    asked = prompts(4, seed=3)
    ways = student_and_teacher(student_model, teacher_model)
    sample_all(ways, asked[:1])  # what only first calls take is nobody's time for a clip
    sampled = sample_all(ways, asked)
    plot_contact_sheet(sampled, asked, job.out / "sheet.png")
    return {each.sampling.label: each.seconds_per_clip for each in sampled}


def _scored(model: VideoModel, reader: ShapeClassifier, count: int, steps: int, guidance: float) -> dict[str, Any]:
    metrics = {"frechet_distance": FrechetVideoDistance(reader.extract), "prompt_accuracy": ReadAccuracy(reader)}
    metrics |= {f"{name}_accuracy": ReadAccuracy(reader, name) for name in ("colour", "shape", "direction")}
    metrics["flicker"] = TemporalFlicker()
    asked = prompts(count, seed=1)
    scores = score_clips(model, list(metrics.values()), asked, seed=1, steps=steps, guidance_scale=guidance)
    return {
        name: {"value": score.generated.value, "low": score.generated.low, "high": score.generated.high,
               "real": score.real.value}
        for name, score in zip(metrics, scores, strict=True)
    } | {"clips": count}  # fmt: skip
