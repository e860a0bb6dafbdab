"""A classifier of moving-shapes clips. Its answers give prompt accuracy, its features give a Frechet distance.

`nas.training.train_classifier` (`nas classifier`) trains it in a minute or two on a CPU. Its weights are not shipped,
because everybody can train them from the same seed.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, K features, N classes, A attributes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from nas.data import ClipShape, parse_caption
from nas.data.clips.pixels import to_pixels
from nas.data.moving_shapes.scene import COLOURS, DIRECTIONS, SHAPES
from nas.errors import CheckpointError, ConfigError
from nas.files import StrictModel, atomic_folder, load_yaml, require_whole, write_yaml
from nas.models.weights import load_into, load_safetensors, save_safetensors
from nas.quality.clips.metric import MeanOfClips

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "direction": tuple(DIRECTIONS),
}
"""The attributes that are recognised in a clip, and the possible answers."""

FEATURES = 64
_WEIGHTS, _CONFIG = "classifier.safetensors", "classifier.yaml"
_WIDTH = 24
_BATCH = 64


class ClassifierRecord(StrictModel):
    """What a classifier was trained for, and its accuracy on clips that it was not trained on.

    Args:
        frames: Frames of its clips.
        height: Their height in pixels.
        width: Their width in pixels.
        steps: Optimiser steps of its training.
        seed: Seed of its training.
        accuracy: Share of the held-out clips that are recognised correctly, by attribute.
    """

    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt
    steps: PositiveInt
    seed: int
    accuracy: dict[str, Annotated[float, Field(ge=0, le=1)]]
    fps: PositiveFloat


class ShapeClassifier(nn.Module):
    """Recognises colour, shape and direction in a clip.

    Convolutions over space and time see each pixel together with its coordinates. Means over the pixels of each frame
    keep the order of frames, which the direction depends on.

    Args:
        shape: Shape of the clips.
    """

    def __init__(self, shape: ClipShape) -> None:
        super().__init__()
        self.shape = shape
        widths = [6, _WIDTH, 2 * _WIDTH, 4 * _WIDTH]
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(itertools.pairwise(widths)):
            stride = (1, 2, 2) if place else 1
            layers += [nn.Conv3d(before, after, 3, stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Sequential(nn.Linear(shape.frames * widths[-1], FEATURES), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, len(names)) for name, names in ATTRIBUTES.items()})
        axes = (torch.linspace(-1, 1, size) for size in (shape.frames, shape.height, shape.width))
        self.register_buffer("places", torch.stack(torch.meshgrid(*axes, indexing="ij")), persistent=False)
        self.places: torch.Tensor

    def features(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Features (B, K) of pixels in [-1, 1]."""
        places = self.places.expand(len(video_BTCHW), -1, -1, -1, -1)
        seen_BCTHW = self.body(torch.cat([video_BTCHW.transpose(1, 2), places], dim=1))
        features_BK: torch.Tensor = self.hidden(seen_BCTHW.mean(dim=(3, 4)).flatten(1))
        return features_BK

    def forward(self, video_BTCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (B, N) of each attribute, for pixels in [-1, 1]."""
        features_BK = self.features(video_BTCHW)
        return {name: head(features_BK) for name, head in self.heads.items()}

    @torch.no_grad()
    def extract(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Features (B, K) of uint8 clips, for `FrechetVideoDistance`; on the classifier's device.

        Raises:
            ConfigError: The clips have another shape than those it was trained on.
        """
        self._check(video_BTCHW)
        return self.features(to_pixels(video_BTCHW.to(self.places.device)))

    @torch.no_grad()
    def read(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Answers (B, A) for uint8 clips, as indices into `ATTRIBUTES`, on the CPU; raises as `extract`."""
        self._check(video_BTCHW)
        logits = self(to_pixels(video_BTCHW.to(self.places.device)))
        return torch.stack([logits[name].argmax(dim=1) for name in ATTRIBUTES], dim=1).cpu()

    def _check(self, video_BTCHW: torch.Tensor) -> None:
        if tuple(video_BTCHW.shape[1:]) != self.shape.size_TCHW:
            sizes = [" x ".join(map(str, size)) for size in (video_BTCHW.shape[1:], self.shape.size_TCHW)]
            raise ConfigError(f"clips are {sizes[0]}, the classifier was trained on {sizes[1]}",
                              hint="train one for these clips with `nas classifier`")  # fmt: skip

    def save(self, folder: str | Path, record: ClassifierRecord) -> None:
        """Write weights and record to a folder, atomically."""
        with atomic_folder(folder, "classifier") as root:
            save_safetensors(root / _WEIGHTS, self.state_dict())
            write_yaml(root / _CONFIG, record.model_dump())

    @classmethod
    def load(cls, folder: str | Path) -> ShapeClassifier:
        """Read what `save` wrote.

        Raises:
            CheckpointError: The folder holds no classifier, or a damaged one.
        """
        root = Path(folder)
        require_whole(root)
        if not (root / _WEIGHTS).is_file():
            raise CheckpointError("holds no classifier", where=root, hint="make one with `nas classifier`")
        record = load_yaml(root / _CONFIG, ClassifierRecord)
        classifier = cls(ClipShape(record.frames, record.height, record.width, record.fps))
        load_into(classifier, load_safetensors(root / _WEIGHTS), where=root / _WEIGHTS)
        return classifier.eval()


def labels(prompts: Sequence[str]) -> torch.Tensor:
    """The right answers (B, A) for moving-shapes sentences, as indices into `ATTRIBUTES`; raises as `parse_caption`."""
    scenes = [parse_caption(prompt) for prompt in prompts]
    return torch.tensor([[names.index(getattr(scene, name)) for name, names in ATTRIBUTES.items()] for scene in scenes])


class ReadAccuracy(MeanOfClips):
    """Share of clips in which a classifier recognises what the prompt says.

    Args:
        classifier: Trained on clips of this shape.
        attribute: One of `ATTRIBUTES`; all of them together when left out.
    """

    direction = "maximize"

    def __init__(self, classifier: ShapeClassifier, attribute: str | None = None) -> None:
        self.classifier, self.attribute = classifier, attribute
        self.name = "prompt accuracy" if attribute is None else f"{attribute} accuracy"

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """1 for each clip that is right, 0 for the others."""
        read_BA = torch.cat([self.classifier.read(part) for part in torch.split(video_BTCHW, _BATCH)])
        right_BA = read_BA == labels(prompts)
        return right_BA.all(dim=1) if self.attribute is None else right_BA[:, list(ATTRIBUTES).index(self.attribute)]
