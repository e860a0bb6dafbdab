"""Quality of an architecture, judged by the clips that it generates: expensive, and close to what users see.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, K numbers per clip.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveInt

from nas.data import ClipShape, prompts
from nas.errors import ConfigError
from nas.files import StrictModel, UserPath, fingerprint
from nas.models import VideoModel
from nas.models.video_model import batches
from nas.models.weights import weights_digest
from nas.quality.base import MeanScore, QualityMetric
from nas.quality.clips.classifier import ReadAccuracy, ShapeClassifier
from nas.quality.clips.frechet import FrechetVideoDistance
from nas.quality.clips.metric import ClipMetric, Floats
from nas.quality.clips.scoring import BATCH, generated_batches
from nas.quality.clips.sources import ClipSource, DrawnClips
from nas.quality.context import QualityContext
from nas.space import Architecture


class ClipQualityOptions(StrictModel):
    """Options of a metric that looks at generated clips with a classifier.

    Args:
        classifier: Folder that `nas classifier` has written.
        clips: Clips per architecture. The default shows all colours, directions and shapes twice.
        finetune_steps: Train each architecture alone for this many steps first; not at all when left out.
    """

    classifier: UserPath | None = None
    clips: Annotated[int, Field(ge=2, le=10**6)] = 144
    finetune_steps: PositiveInt | None = None


class SamplingOptions(NamedTuple):
    """How clips are sampled.

    Args:
        steps: Denoising steps; the model's own when left out.
        guidance_scale: Classifier-free guidance; the model's own when left out.
    """

    steps: int | None = None
    guidance_scale: float | None = None


class ClipQuality(QualityMetric):
    """Scores an architecture with a metric of clips.

    All architectures generate clips of the same prompts from the same noise, and meet the same real clips. The score of
    a metric that is a mean over clips is a `MeanScore` whose parts are the clips.

    Args:
        model_of: Makes the trained model of an architecture.
        metric: Judges its clips.
        source: Prompts and real clips.
        seed: Of the noise.
        sampling: How clips are sampled.
        fingerprint: Digest of what `model_of` and `metric` depend on.
    """

    def __init__(
        self,
        model_of: Callable[[Architecture], VideoModel],
        metric: ClipMetric,
        source: ClipSource,
        *,
        seed: int = 0,
        sampling: SamplingOptions | None = None,
        fingerprint: str = "",
    ) -> None:
        self.model_of, self.metric, self.source, self.seed = model_of, metric, source, seed
        self.sampling = sampling or SamplingOptions()
        self.name, self.direction = metric.name, metric.direction
        self.detail = f"{len(source.prompts)} clips"
        given = [] if self.sampling == SamplingOptions() else [self.sampling]
        self.fingerprint = _digest(metric.name, fingerprint, *source.identity, *given)
        self.real_BK = described(metric, source.real()) if metric.compares else np.zeros((0, 1))

    def score(self, architecture: Architecture) -> float:
        """Generate the clips of an architecture and judge them."""
        made_BK = described(self.metric, self.made(self.model_of(architecture)))
        return MeanScore(made_BK[:, 0]) if self.metric.is_mean else self.metric.value(made_BK, self.real_BK)

    def made(self, model: VideoModel) -> Iterable[tuple[torch.Tensor, Sequence[str]]]:
        """The clips of a model, uint8, in batches with their prompts."""
        asked = self.source.prompts
        made = generated_batches(model, asked, seed=self.seed, **self.sampling._asdict())
        return zip(made, (asked[numbers.start : numbers.stop] for numbers in batches(len(asked), BATCH)), strict=True)


def described(metric: ClipMetric, clips: Iterable[tuple[torch.Tensor, Sequence[str]]]) -> Floats:
    """What a metric says of clips (B, K), which come in batches with their prompts."""
    return np.concatenate([metric.describe(video_BTCHW, asked) for video_BTCHW, asked in clips])


def _digest(name: str, *parts: object) -> str:
    return f"{name}/{fingerprint(parts)}"


class ClassifierQuality(ClipQuality):
    """A metric of clips that needs a classifier, which is an option."""

    Config = ClipQualityOptions

    @classmethod
    def check_options(cls, config: ClipQualityOptions, base: Path) -> None:
        """Refuse a classifier that is not there."""
        if config.classifier is None:
            raise ConfigError("this metric needs the option classifier", where="quality metric",
                              hint="make one with `nas classifier`, and give its folder")  # fmt: skip
        if not (base / config.classifier).is_dir():
            raise ConfigError("the classifier is not a folder", where=base / config.classifier,
                              hint="make one with `nas classifier`")  # fmt: skip

    @classmethod
    def create(cls, config: ClipQualityOptions, context: QualityContext) -> ClipQuality:
        """Load the classifier and the models of the search."""
        cls.check_options(config, context.base)
        assert config.classifier is not None
        reader = ShapeClassifier.load(context.path(config.classifier))
        context.require("a metric of clips", clips=config.finetune_steps is not None)
        models, seed = context.models(config.finetune_steps), context.seed
        digest = fingerprint([models.fingerprint, weights_digest(reader)])
        source = DrawnClips(prompts(config.clips, seed=seed), ClipShape.of(context.space.file.video), seed)
        return cls(models, cls.clip_metric(reader), source, seed=seed, fingerprint=digest)

    @staticmethod
    @abstractmethod
    def clip_metric(reader: ShapeClassifier) -> ClipMetric:
        """The metric of clips."""


class FrechetDistanceQuality(ClassifierQuality):
    """Frechet distance of generated clips from real ones, over the features of a classifier."""

    @staticmethod
    def clip_metric(reader: ShapeClassifier) -> ClipMetric:
        """The distance over the classifier's features."""
        return FrechetVideoDistance(reader.extract)


class PromptAccuracyQuality(ClassifierQuality):
    """Share of generated clips in which a classifier recognises what the prompt says."""

    @staticmethod
    def clip_metric(reader: ShapeClassifier) -> ClipMetric:
        """The share of clips that are right."""
        return ReadAccuracy(reader)
