"""The abstract base of quality metrics, and the score that is a mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from nas.files import StrictModel
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.quality.context import QualityContext

Direction = Literal["minimize", "maximize"]


class MeanScore(float):
    """A score that is the mean of several parts, and keeps them. Otherwise it is an ordinary number.

    Args:
        parts: Scores on disjoint, equally large parts of the held-out data. Every architecture has the same number of
            parts, and each part is scored on the same data for all of them.
    """

    parts: tuple[float, ...]

    def __new__(cls, parts: Iterable[float]) -> Self:
        """The mean of the parts; NaN if one of them is not finite."""
        kept = tuple(map(float, parts))
        mean = super().__new__(cls, fmean(kept) if all(map(math.isfinite, kept)) else math.nan)
        mean.parts = kept
        return mean

    def __getnewargs__(self) -> tuple[tuple[float, ...]]:  # type: ignore[override]
        """The arguments that copying and pickling make a new score from."""
        return (self.parts,)


class QualityMetric(ABC):
    """Scores architectures. The abstract base of every quality metric.

    The contract, which `nas.testing.QualityMetricConformance` checks:

    * Scoring the same architecture twice gives the same number. All architectures see the same clips, noise and
      timesteps (common random numbers), so that the difference of two scores is due to the architectures.
    * `direction` says whether lower or higher is better.
    * A score that is not finite, or an exception, means that this architecture failed. The search records the failure
      and never replaces the score by another number.
    * A score that is a mean over held-out data may be a `MeanScore`. A search then reports how well two halves of that
      data agree on the order of architectures, and which of them the noise cannot tell apart.
    * If it can also be made part by part (`part_count`, `score_parts`), a second scoring adds parts where the order is
      in doubt, instead of scoring all of them for all architectures.

    A metric that is registered under a name (entry-point group `nas.quality_metrics`) is made by `create` from its
    options and the inputs of the search. Every option has a default.
    """

    Config: ClassVar[type[StrictModel]] = StrictModel
    """The options of the metric; none by default."""
    rescore_defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of options that differ when a front is scored again, for instance more batches."""

    name: str
    """Recognises the metric in a study, with `direction` and `fingerprint`."""
    direction: Direction
    weights: str | None = None
    """The kind of weights that architectures have while they are scored, see `nas.compression`; those of the training
    if there is none. `make_metric` sets it, and adds it to the name."""
    detail: str = ""
    """How finely the metric scores, for figures and tables, e.g. `64 batches`; decides nothing."""
    fingerprint: str = ""
    """Digest of the data and weights that scores depend on; scores with equal ones can be compared."""
    part_count: int = 1
    """Into how many parts `score_parts` divides the held-out data; 1 if scores are made in one piece."""
    parts_fingerprint: str = ""
    """As `fingerprint`, without the number of parts: metrics with equal ones have equal first parts."""

    @classmethod
    def scores_in_parts(cls, config: Any) -> bool:
        """Whether the metric has `score_parts` with these options, an instance of `Config`.

        If so, a run scores the front a second time unless its file says otherwise.
        """
        return False

    @classmethod  # noqa: B027 - most metrics have nothing to check
    def check_options(cls, config: Any, base: Path) -> None:
        """Refuse options with which the metric cannot be made. A run calls this before its first stage.

        Args:
            config: The options, an instance of `Config`.
            base: Folder that relative paths in options start from.

        Raises:
            ConfigError: An option is missing, or names something that is not there.
        """

    @classmethod
    def create(cls, config: Any, context: QualityContext) -> QualityMetric:
        """Make the metric for a search.

        Ask the context here for what the metric uses, or that it is there (`QualityContext.require`): the commands
        refuse a supernet or clips that no metric has asked for.

        Args:
            config: The checked options, an instance of `Config`.
            context: The inputs of the search.

        Raises:
            ConfigError: The metric needs an input that the search does not have.
        """
        return cls()

    @abstractmethod
    def score(self, architecture: Architecture) -> float:
        """Return the score of one architecture."""

    def score_parts(self, architecture: Architecture, numbers: range) -> Sequence[float]:
        """Return scores on some of the parts, counted from 0; `score` is the mean over all.

        Called only if `part_count` is above 1.
        """
        raise NotImplementedError(f"{self.name} is not scored in parts")
