"""What a quality metric may use when it is made: the search space, a trained supernet, clips and a seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple, Protocol

from nas.compression import WeightKind
from nas.data import DataSplit
from nas.models import SuperNet, TextEncoder, VideoModel
from nas.space import Architecture, SearchSpace


class NoiseLevels(NamedTuple):
    """The logit-normal distribution of noise levels that a supernet was trained with."""

    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0


class ArchitectureModels(Protocol):
    """Makes the model of an architecture out of a trained supernet; equal architectures get equal models."""

    supernet: SuperNet
    text_encoder: TextEncoder

    @property
    def noise_levels(self) -> NoiseLevels:
        """The noise levels of the supernet's training."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of everything that the models depend on."""
        ...

    def __call__(self, architecture: Architecture) -> VideoModel:
        """Make the model of one architecture."""
        ...


class QualityContext(ABC):
    """The inputs of a search, for a metric that is being made. Each is loaded when the metric first asks for it.

    Args:
        space: The search space.
        seed: Seed for everything that the metric draws.
        base: Folder that relative paths in options start from.
        weights: Kind of weights that all models have, see `nas.compression`; those of the training, in fp32, when left
            out.

    Attributes:
        used: Options of the command line whose inputs a metric has asked for: `--supernet`, `--data`.
    """

    def __init__(
        self, space: SearchSpace, seed: int = 0, base: Path = Path(), weights: WeightKind | None = None
    ) -> None:
        self.space, self.seed, self.base = space, seed, base
        self.weights = None if weights == "fp32" else weights
        self.used: set[str] = set()

    def path(self, given: str) -> Path:
        """The path that an option gives."""
        return self.base / given

    @property
    @abstractmethod
    def clips(self) -> DataSplit:
        """The clips for training, and those held out.

        Raises:
            ConfigError: The search has none.
        """

    @abstractmethod
    def models(self, finetune_steps: int | None = None) -> ArchitectureModels:
        """Models with weights from the trained supernet.

        Args:
            finetune_steps: Train each architecture alone for this many steps first; not at all when left out.

        Raises:
            ConfigError: The search has no supernet, or no clips to train on.
        """

    @abstractmethod
    def require(self, metric: str, *, supernet: bool = True, clips: bool = True) -> None:
        """Check that the search has what a metric needs.

        Args:
            metric: The metric's name, for the message.
            supernet: Whether it needs a trained supernet.
            clips: Whether it needs clips.

        Raises:
            ConfigError: Something is missing; the message lists all of it.
        """
