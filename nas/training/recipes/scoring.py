"""Quality metrics of a trained supernet: their inputs in a search, and functions for the usual metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nas.compression import WeightKind
from nas.data import CaptionedClips, ClipShape, DataSplit
from nas.errors import ConfigError
from nas.files import fingerprint
from nas.models.parts import unloaded_codec
from nas.quality import ClipMetric, ClipQuality, HeldOutFlowLoss, QualityContext, QualityMetric, make_metric
from nas.quality.clips.sources import DrawnClips
from nas.quality.flow_loss import FlowLossOptions
from nas.space import SearchSpace

if TYPE_CHECKING:
    from nas.training.recipes.inheriting import Models

# Functions import what inherits weights: it brings all UNets of diffusers, two seconds that a search with a function
# of architectures does without.


class SearchInputs(QualityContext):
    """The inputs of a search, loaded from files when a metric first asks for them.

    Args:
        space: The search space.
        supernet: What `train_supernet` wrote; none when left out.
        clips: Opens the clips; none when left out.
        seed: Seed for everything that the metric draws.
        base: Folder that relative paths in options start from.
        weights: Kind of weights to score with, see `nas.compression`. The supernet is compressed once, and each
            architecture inherits its weights; an architecture that is trained alone is compressed after its training.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        supernet: str | Path | None = None,
        clips: Callable[[], DataSplit] | None = None,
        seed: int = 0,
        base: Path = Path(),
        weights: WeightKind | None = None,
    ) -> None:
        super().__init__(space, seed, base, weights)
        self.supernet, self._open_clips = supernet, clips

    @cached_property
    def clips(self) -> DataSplit:
        """The clips, opened once."""
        self.used.add("--data")
        if self._open_clips is None:
            raise _missing("the quality metric", "--data")
        return self._open_clips()

    def models(self, finetune_steps: int | None = None) -> Models:
        """Models with inherited weights, or trained alone for some steps; raises also as `load_supernet`."""
        from nas.training.recipes.inheriting import FinetunedModels, InheritedModels

        self.used.add("--supernet")
        if self.supernet is None:
            raise _missing("the quality metric", "--supernet")
        if finetune_steps is None:
            return InheritedModels(self.space, self.supernet, weights=self.weights)
        clips, seed = self.clips.train, self.seed
        return FinetunedModels(self.space, self.supernet, clips, steps=finetune_steps, seed=seed, weights=self.weights)

    def require(self, metric: str, *, supernet: bool = True, clips: bool = True) -> None:
        """Check the supernet and the clips without loading them."""
        self.used |= {option for option, needed in (("--supernet", supernet), ("--data", clips)) if needed}
        missing = (["--supernet"] if supernet and self.supernet is None else []) + (
            ["--data"] if clips and self._open_clips is None else []
        )
        if missing:
            raise _missing(metric, " and ".join(missing))


def _missing(metric: str, options: str) -> ConfigError:
    hint = "give what `nas train` was given, or score with your own function, --quality module:function"
    return ConfigError(f"{metric} needs {options}", where="options", hint=hint)


def supernet_quality(
    space: SearchSpace, folder: str | Path, clips: CaptionedClips, *, seed: int = 0, batches: int = 4
) -> HeldOutFlowLoss:
    """The usual metric of a search: held-out flow loss with weights inherited from a trained supernet.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        clips: Held-out clips.
        seed: Seed of clips, noise and timesteps, the same for every architecture.
        batches: Batches of clips to average over.
    """
    from nas.training.recipes.inheriting import InheritedModels

    models = InheritedModels(space, folder)
    return HeldOutFlowLoss.of(models, unloaded_codec(space), clips, seed=seed, batches=batches)


def held_out_quality(
    space: SearchSpace,
    folder: str | Path,
    clips: DataSplit,
    *,
    finetune_steps: int | None = None,
    seed: int = 0,
    batches: int = 4,
    weights: WeightKind | None = None,
) -> QualityMetric:
    """Held-out flow loss with inherited weights, or after training each architecture alone for some steps.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        clips: Training clips, and the held-out clips to score on.
        finetune_steps: Train each architecture alone for this many steps first; not at all when left out.
        seed: Seed of training and of the held-out draw.
        batches: Batches of held-out clips to average over.
        weights: Kind of weights to score with; those of the training when left out.
    """
    inputs = SearchInputs(space, supernet=folder, clips=lambda: clips, seed=seed, weights=weights)
    return make_metric("flow_loss", FlowLossOptions(batches=batches, finetune_steps=finetune_steps), inputs)


def clip_quality(
    space: SearchSpace,
    folder: str | Path,
    metric: ClipMetric,
    prompts: tuple[str, ...],
    *,
    clips: CaptionedClips | None = None,
    finetune_steps: int | None = None,
    seed: int = 0,
    depends_on: str = "",
) -> ClipQuality:
    """A metric of the clips that architectures generate, with inherited weights or after training each one alone.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        metric: Judges the clips.
        prompts: Sentences of the moving-shapes grammar.
        clips: Training clips, if architectures are trained alone.
        finetune_steps: Train each architecture alone for this many steps first.
        seed: Seed of training, noise and real clips.
        depends_on: Digest of what the metric depends on, such as the weights of a classifier.

    Raises:
        ValueError: There are steps to train for without clips, or clips without steps.
    """
    from nas.training.recipes.inheriting import FinetunedModels, InheritedModels

    if (clips is None) != (finetune_steps is None):
        raise ValueError("clips and finetune_steps go together")
    models: Models = InheritedModels(space, folder)
    if clips is not None and finetune_steps is not None:
        models = FinetunedModels(space, folder, clips, steps=finetune_steps, seed=seed)
    digest = fingerprint([models.fingerprint, depends_on])
    source = DrawnClips(prompts, ClipShape.of(space.file.video), seed)
    return ClipQuality(models, metric, source, seed=seed, fingerprint=digest)
