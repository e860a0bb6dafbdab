"""Training of the classifier that metrics of moving-shapes clips use.

Shape suffixes as in `nas.quality.clips.classifier`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from nas.data import ClipDataset, ClipShape, MovingShapes
from nas.data.clips.pixels import to_pixels
from nas.data.clips.sampling import batch_indices
from nas.files import FOR_DIGEST, derive_seed, fingerprint, parse
from nas.models.video_model import batches
from nas.quality.clips.classifier import ATTRIBUTES, ClassifierRecord, ShapeClassifier, labels
from nas.training.engine.prefetch import prefetched
from nas.training.engine.processes import from_main, make_accelerator
from nas.training.engine.run_folder import run_folder
from nas.training.engine.settings import LoopConfig
from nas.training.engine.task import MODEL, Losses, TrainingTask
from nas.training.engine.trainer import Trainer
from nas.training.flow.rng import RNGKeys

TRAINING_CLIPS, HELD_OUT_CLIPS = 20_000, 600


@dataclass(frozen=True)
class LabelledBatch:
    """Clips with labels.

    Args:
        video_BTCHW: Pixels in [-1, 1].
        label_BA: Index of each attribute's value in `ATTRIBUTES`.
        keys: RNG keys of the noise on the pixels.
    """

    video_BTCHW: torch.Tensor
    label_BA: torch.Tensor
    keys: RNGKeys

    def to(self, device: torch.device) -> LabelledBatch:
        """The batch on another device."""
        return LabelledBatch(self.video_BTCHW.to(device), self.label_BA.to(device), self.keys)


class ClassifierTask(TrainingTask[LabelledBatch]):
    """Cross-entropy of every attribute.

    Args:
        classifier: The classifier to train.
    """

    def __init__(self, classifier: ShapeClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def uses_all_parameters(self) -> bool:
        """True: all attributes share the network, and each has a head."""
        return True

    def forward(self, batch: LabelledBatch, step: int, phase: str = MODEL) -> Losses:
        """Losses on noisy pixels. Without noise, the classifier could depend on their lowest bits."""
        noisy_BTCHW = batch.video_BTCHW + 0.1 * batch.keys.rng(phase).normal_like(batch.video_BTCHW)
        logits = self.classifier(noisy_BTCHW)
        losses = {
            f"{name}_loss": F.cross_entropy(logits[name].float(), batch.label_BA[:, place])
            for place, name in enumerate(ATTRIBUTES)
        }
        return {
            "loss": torch.stack(list(losses.values())).sum(),
            **{name: loss.detach() for name, loss in losses.items()},
        }


def train_classifier(
    shape: ClipShape, folder: str | Path, *, steps: int = 600, batch_size: int = 32, seed: int = 0
) -> ClassifierRecord:
    """Train a classifier of moving-shapes clips and write it to `folder/classifier`; resumes as `train_supernet`.

    Args:
        shape: Shape of the clips.
        folder: Folder for checkpoints, metrics and the classifier.
        steps: Optimiser steps.
        batch_size: Clips per step.
        seed: Seed of weights, clips and noise. The clips differ from those that models are trained on.

    Returns:
        Record of the classifier, with its accuracy on held-out clips.

    Raises:
        ConfigError: A number is out of range.
        StorageError: Another run is using `folder`, or it cannot be written.
    """
    with run_folder(Path(folder), "classifier"):
        return _train(shape, Path(folder), steps, batch_size, seed)


def _train(shape: ClipShape, root: Path, steps: int, batch_size: int, seed: int) -> ClassifierRecord:
    clips = MovingShapes(shape, TRAINING_CLIPS, derive_seed(seed, "classifier"))
    torch.manual_seed(derive_seed(seed, "weights"))
    classifier = ShapeClassifier(shape)
    settings = {"steps": steps, "batch_size": batch_size, "image_batch_size": 0, "learning_rate": 2e-3}
    config = parse(settings | {"ema_decay": 0.99, "seed": seed}, LoopConfig, where=None)

    def draw(step: int) -> LabelledBatch:
        video, captions = clips.batch(batch_indices(len(clips), batch_size, derive_seed(seed, "data"), step))
        keys = RNGKeys.of_process(derive_seed(seed, "noise"), batch_size, step, 0, 1)
        return LabelledBatch(to_pixels(video), labels(captions), keys)

    task = ClassifierTask(classifier)
    accelerator = make_accelerator(config, all_used=task.uses_all_parameters())
    with prefetched(draw, accelerator.device) as drawn:
        Trainer(
            task,
            drawn,
            config,
            root,
            fingerprint=fingerprint(["classifier", clips.fingerprint, config.model_dump(context=FOR_DIGEST)]),
            accelerator=accelerator,
            label="training classifier",
        ).run()
    record = ClassifierRecord(
        frames=shape.frames, height=shape.height, width=shape.width, fps=shape.fps, steps=steps, seed=seed,
        accuracy=_accuracy(classifier.eval(), MovingShapes(shape, HELD_OUT_CLIPS, derive_seed(seed, "held out"))),
    )  # fmt: skip
    from_main(lambda: classifier.save(root / "classifier", record))
    return record


def _accuracy(classifier: ShapeClassifier, clips: ClipDataset) -> dict[str, float]:
    # In parts: on a graphics card, all at once would take gigabytes.
    parts = [clips.batch(part) for part in batches(len(clips), 64)]
    right_BA = torch.cat([classifier.read(video) == labels(captions) for video, captions in parts])
    return dict(zip(ATTRIBUTES, right_BA.float().mean(dim=0).tolist(), strict=True))
