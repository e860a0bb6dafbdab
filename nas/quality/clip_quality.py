"""An architecture judged by the clips it makes: the dearest metric, and the one nearest to what users see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.data import ClipShape
from nas.files import derive_seed, fingerprint
from nas.models import VideoModel
from nas.quality.base import QualityMetric
from nas.quality.clips.metric import ClipMetric
from nas.quality.clips.scoring import generated_clips, real_clips
from nas.space import Architecture


class ClipQuality(QualityMetric):
    """A metric of clips as a metric of architectures.

    All architectures make a clip of the same prompts from the same noise, and are compared with the same real clips.

    Args:
        model_of: A trained model of an architecture, as it is to be sampled.
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
        """See `QualityMetric.score`."""
        made = generated_clips(self.model_of(architecture), self.prompts, seed=self.seed)
        return self.metric.value(self.metric.describe(made, self.prompts), self._real_BK)


def _digest(name: str, *parts: object) -> str:
    return f"{name}/{fingerprint(parts)}"
