"""Quality of an architecture, judged by the clips that it generates: expensive, and close to what users see."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from nas.data import ClipShape, prompts
from nas.errors import ConfigError
from nas.files import StrictModel, UserPath, derive_seed, fingerprint
from nas.models import VideoModel
from nas.models.weights import weights_digest
from nas.quality.base import QualityMetric
from nas.quality.clips.classifier import ReadAccuracy, ShapeClassifier
from nas.quality.clips.frechet import FrechetVideoDistance
from nas.quality.clips.metric import ClipMetric
from nas.quality.clips.scoring import generated_clips, real_clips
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


class ClipQuality(QualityMetric):
    """Scores an architecture with a metric of clips.

    All architectures generate clips of the same prompts from the same noise, and meet the same real clips.

    Args:
        model_of: Makes the trained model of an architecture.
        metric: Judges its clips.
        shape: Of the clips.
        prompts: Sentences of the moving-shapes grammar.
        seed: Of noise and real clips.
        fingerprint: Digest of what `model_of` and `metric` depend on.
    """

    def __init__(
        self,
        model_of: Callable[[Architecture], VideoModel],
        metric: ClipMetric,
        shape: ClipShape,
        prompts: Sequence[str],
        *,
        seed: int = 0,
        fingerprint: str = "",
    ) -> None:
        self.model_of, self.metric, self.prompts, self.seed = model_of, metric, tuple(prompts), seed
        self.name, self.direction = metric.name, metric.direction
        self.detail = f"{len(self.prompts)} clips"
        self.fingerprint = _digest(metric.name, fingerprint, shape.size_TCHW, self.prompts, seed)
        self._real_BK = metric.describe(real_clips(self.prompts, shape, derive_seed(seed, "real")), self.prompts)

    def score(self, architecture: Architecture) -> float:
        """Generate the clips of an architecture and judge them."""
        made = generated_clips(self.model_of(architecture), self.prompts, seed=self.seed)
        return self.metric.value(self.metric.describe(made, self.prompts), self._real_BK)


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
        shape, asked = ClipShape.of(context.space.file.video), prompts(config.clips, seed=seed)
        return cls(models, cls.clip_metric(reader), shape, asked, seed=seed, fingerprint=digest)

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
