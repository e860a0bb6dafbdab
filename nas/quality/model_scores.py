"""One model scored by registered metrics, each with a bootstrap interval and, for metrics of clips, beside real clips.

Shape suffixes: B clips, K numbers per clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import nn

from nas.data import DataSplit
from nas.errors import ConfigError
from nas.files import derive_seed, fingerprint
from nas.models import SuperNet, TextEncoder, VideoModel
from nas.models.weights import weights_digest
from nas.quality.base import Direction, MeanScore, QualityMetric
from nas.quality.clip_quality import ClipQuality, described
from nas.quality.clips.metric import Estimate, Floats, estimate_rows
from nas.quality.context import NoiseLevels, QualityContext
from nas.quality.registry import make_metric, metric_options
from nas.space import Architecture


@dataclass(frozen=True)
class ModelScore:
    """The score of a model by one metric.

    Args:
        name: Name of the metric.
        direction: Whether lower or higher is better.
        generated: The score; an interval without extent if the metric gives a number alone.
        real: The value of real clips, if the metric judges clips.
    """

    name: str
    direction: Direction
    generated: Estimate
    real: Estimate | None = None


def score_model(
    model: VideoModel,
    metrics: Mapping[str, Mapping[str, Any]],
    clips: Callable[[], DataSplit] | None = None,
    *,
    seed: int = 0,
) -> tuple[ModelScore, ...]:
    """Score a model by registered metrics. Metrics of the same clips share them.

    Args:
        model: The model.
        metrics: Options of each metric, by registered name.
        clips: Opens the clips, if a metric needs some.
        seed: Seed for everything that metrics draw.

    Raises:
        ConfigError: A metric or option is unknown, a metric needs what is not there, or no metric needs the clips.
    """
    inputs = ModelInputs(model, clips, seed)
    made = [
        make_metric(name, metric_options(name, options, where=f"--metric {name}"), inputs)
        for name, options in metrics.items()
    ]
    if clips is not None and "--data" not in inputs.used:
        raise ConfigError(f"--data means nothing to {' and '.join(metrics)}", where="options", hint="leave it out")
    rows = _generated_rows(model, [metric for metric in made if isinstance(metric, ClipQuality)])
    return tuple(_score(metric, model, rows, seed) for metric in made)


def _generated_rows(model: VideoModel, metrics: Sequence[ClipQuality]) -> dict[ClipQuality, Floats]:
    """What each metric says of the model's clips, which are generated once for all metrics with the same prompts."""
    groups: dict[object, list[ClipQuality]] = {}
    for metric in metrics:
        groups.setdefault((metric.source.prompts, metric.sampling, metric.seed), []).append(metric)
    parts: dict[ClipQuality, list[Floats]] = {metric: [] for metric in metrics}
    for group in groups.values():
        for video_BTCHW, asked in group[0].made(model):
            for metric in group:
                parts[metric].append(metric.metric.describe(video_BTCHW, asked))
    return {metric: np.concatenate(found) for metric, found in parts.items()}


def _score(metric: QualityMetric, model: VideoModel, rows: Mapping[ClipQuality, Floats], seed: int) -> ModelScore:
    if isinstance(metric, ClipQuality):
        judge, source = metric.metric, metric.source
        real_BK = described(judge, source.other() if judge.compares else source.real())
        pair = (estimate_rows(judge, each_BK, metric.real_BK, seed=seed) for each_BK in (rows[metric], real_BK))
        return ModelScore(metric.name, metric.direction, *pair)
    return ModelScore(metric.name, metric.direction, _estimate(metric.score(model.architecture), seed))


def _estimate(score: float, seed: int) -> Estimate:
    """A score with the interval of a bootstrap over its parts, if it has some."""
    parts = np.array(score.parts if isinstance(score, MeanScore) else [score])
    draws = np.random.default_rng(derive_seed(seed, "bootstrap")).integers(len(parts), size=(500, len(parts)))
    low, high = np.quantile(parts[draws].mean(axis=1), [0.025, 0.975])
    return Estimate(float(score), float(low), float(high), len(parts))


class ModelInputs(QualityContext):
    """The inputs of a metric that scores one model, in the place of a supernet.

    Args:
        model: The model.
        clips: Opens the clips; none when left out.
        seed: Seed for everything that the metric draws.
    """

    def __init__(self, model: VideoModel, clips: Callable[[], DataSplit] | None, seed: int) -> None:
        super().__init__(model.space, seed, Path())
        self._model, self._open = model, clips
        self._clips: DataSplit | None = None

    @property
    def clips(self) -> DataSplit:
        """The clips, opened once."""
        self.used.add("--data")
        if self._open is None:
            _needs("the quality metric")
        self._clips = self._clips or self._open()
        return self._clips

    def models(self, finetune_steps: int | None = None) -> OneModel:
        """The model itself; `ConfigError` if it should be trained."""
        if finetune_steps is not None:
            raise ConfigError("finetune_steps means nothing to a model that is scored as it is", where="options",
                              hint="leave it out")  # fmt: skip
        return OneModel(self._model)

    def require(self, metric: str, *, supernet: bool = True, clips: bool = True) -> None:
        """Check the clips without opening them."""
        if clips:
            self.used.add("--data")
            if self._open is None:
                _needs(metric)


def _needs(metric: str) -> NoReturn:
    raise ConfigError(f"{metric} needs --data", where="options", hint="give what `nas train` was given")


class OneModel:
    """A model in the place of a supernet with one architecture.

    Args:
        model: The model.
    """

    def __init__(self, model: VideoModel) -> None:
        self.model = model
        self.supernet = cast(SuperNet, _OneNetwork(model))
        self.text_encoder: TextEncoder = model.text_encoder

    @property
    def noise_levels(self) -> NoiseLevels:
        """The usual noise levels, with the shift that the model is sampled with."""
        return NoiseLevels(shift=self.model.generation.shift)

    @property
    def fingerprint(self) -> str:
        """Digest of the weights."""
        return fingerprint([weights_digest(self.model.unet), weights_digest(self.model.text_encoder)])

    def __call__(self, architecture: Architecture) -> VideoModel:
        """The model."""
        return self.model


class _OneNetwork(nn.Module):
    """The network of a model, called as a supernet is."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.unet, self._copy = model.unet, model.copy

    def forward(
        self, sample_BTCHW: torch.Tensor, timestep_B: torch.Tensor, context_BLD: torch.Tensor, _: Architecture
    ) -> torch.Tensor:
        """The prediction of the network."""
        return self.unet(sample_BTCHW, timestep_B, context_BLD)  # type: ignore[no-any-return]

    def extract(self, _: Architecture) -> nn.Module:
        """A copy of the network."""
        return self._copy().unet
