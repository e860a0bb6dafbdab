"""The quality metrics that a run names: `quality:` for the search, `rescore:` for its front."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveInt, SerializerFunctionWrapHandler, model_serializer, model_validator

from nas.errors import ConfigError
from nas.files import StrictModel, is_user_path
from nas.quality import QUALITY_METRICS, QualityContext, QualityMetric, make_metric, metric_options
from nas.quality.registry import DEFAULT_METRIC

OPTIONS = "options"


class QualityStage(StrictModel):
    """The metric that the search scores architectures with.

    In a file, the options are keys beside the name: `quality: {metric: flow_loss, batches: 8}`.

    Args:
        metric: The registered name of the metric.
        options: Its options, checked and complete.
    """

    defaults_of: ClassVar[str] = "search"

    metric: str = DEFAULT_METRIC
    options: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        """Take keys that are not of the stage itself as options of the metric."""
        if not isinstance(value, Mapping) or not isinstance(value.get("metric", ""), str):
            return value
        own = {key: value[key] for key in value if key in cls.model_fields and key != OPTIONS}
        given = {key: value[key] for key in value if key not in own}
        name = value.get("metric", DEFAULT_METRIC)
        try:
            options = metric_options(name, given, defaults=cls.defaults_of)
        except ConfigError as problem:
            raise ValueError(str(problem)) from problem
        return {**own, OPTIONS: options.model_dump(mode="json")}

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Options beside the name, as in a file. The flow loss is not named, so that older runs resume."""
        values = handler(self)
        options, name = values.pop(OPTIONS), values.pop("metric")
        named = {} if name == DEFAULT_METRIC else {"metric": name}
        return {**named, **self._written(options), **values}

    def _written(self, options: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in options.items() if value is not None}

    def check(self, base: Path) -> None:
        """Check that the metric can be made, as far as that is known before the run.

        Args:
            base: Folder of the run's file, from which its relative paths start.

        Raises:
            ConfigError: An option is missing, or names something that is not there.
        """
        options = metric_options(self.metric, self.options, defaults=self.defaults_of)
        QUALITY_METRICS.get(self.metric).check_options(options, base)

    def outside_paths(self, base: Path) -> list[Path]:
        """Files and folders that its options name, such as networks.

        Args:
            base: Folder that relative paths start from.
        """
        fields = QUALITY_METRICS.get(self.metric).Config.model_fields
        given = {name: self.options.get(name) for name, field in fields.items() if is_user_path(field)}
        return [base / path for path in given.values() if path is not None]

    def make(self, context: QualityContext) -> QualityMetric:
        """Make the metric."""
        options = metric_options(self.metric, self.options, defaults=self.defaults_of)
        return make_metric(self.metric, options, context)

    def again(self) -> RescoreStage | None:
        """The second scoring that a run makes by itself: this metric on more of the held-out clips.

        Returns:
            `None` if the metric does not score in parts: a second scoring may then be expensive.
        """
        kind = QUALITY_METRICS.get(self.metric)
        if not kind.scores_in_parts(metric_options(self.metric, self.options, defaults=self.defaults_of)):
            return None
        kept = {key: value for key, value in self.options.items() if key not in kind.rescore_defaults}
        return RescoreStage.model_validate({"metric": self.metric, **kept})


class RescoreStage(QualityStage):
    """The metric that scores the front again before one of its members is picked.

    Args:
        members: Most architectures to score; see `nas.search.rescore`.
        seed: Seed of everything that the metric draws, such as held-out clips and training batches.
    """

    defaults_of: ClassVar[str] = "rescore"

    members: PositiveInt | None = None
    seed: int = 0

    def _written(self, options: dict[str, Any]) -> dict[str, Any]:
        return options
