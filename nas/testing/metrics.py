"""The contract of a quality metric, as tests to inherit.

    class TestMyMetric(QualityMetricConformance):
        metric = "my_metric"       # a registered name
        options = {"weight": 2.0}  # options that differ from the defaults

A metric that needs a trained supernet or clips overrides `context`, and returns `nas.training.SearchInputs` with both.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nas.errors import ConfigError
from nas.quality import QUALITY_METRICS, MeanScore, QualityContext, QualityMetric, make_metric, metric_options
from nas.space import Architecture, SearchSpace
from nas.training import SearchInputs

SPACE: dict[str, Any] = {
    "name": "conformance",
    "video": {"frames": 4, "height": 16, "width": 16, "fps": 8},
    "codec": {"kind": "space_to_depth", "factor": 4},
    "text": {"kind": "learned", "tokens": 8, "width": 16, "layers": 1, "heads": 2, "vocabulary": 64},
    "backbone": {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [16, 16],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
    },
    "slots": [{"stage": "mid", "candidates": ["none", "conv1d", "self_attention_1d"]}],
}
"""A search space of three architectures."""


class QualityMetricConformance:
    """Checks one metric against the contract of `nas.quality.QualityMetric`.

    Attributes:
        metric: The registered name of the metric.
        options: Options that differ from the defaults.
    """

    metric: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def context(self, seed: int = 0) -> QualityContext:
        """The inputs of a search: by default a small space, without supernet and clips."""
        return SearchInputs(SearchSpace.from_dict(SPACE), seed=seed)

    def build(self) -> QualityMetric:
        """The metric under test."""
        return make_metric(self.metric, metric_options(self.metric, self.options), self.context())

    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures that are scored: two of the space."""
        space = self.context().space
        return tuple(dict.fromkeys([space.smallest(), *space.covering()]))[:2]

    def test_every_option_has_a_default(self) -> None:
        """The metric can be named without options, in a search and when a front is scored again."""
        for stage in ("search", "rescore"):
            metric_options(self.metric, {}, defaults=stage)

    def test_an_unknown_option_is_one_clear_error(self) -> None:
        """The error names the option."""
        said = ""
        try:
            metric_options(self.metric, {"no_such_option": 1})
        except ConfigError as error:
            said = str(error)
        assert "no_such_option" in said, said

    def test_says_what_it_is(self) -> None:
        """It has a name for studies, and a direction."""
        metric = self.build()
        assert metric.name.strip()
        assert metric.direction in {"minimize", "maximize"}
        assert isinstance(metric.detail, str)
        assert isinstance(metric.fingerprint, str)

    def test_equal_architectures_get_equal_scores(self) -> None:
        """Twice by one instance in another order, and by another instance."""
        architectures, metric = self.architectures(), self.build()
        scores = [metric.score(architecture) for architecture in architectures]
        again = [metric.score(architecture) for architecture in reversed(architectures)]
        assert scores == again[::-1]
        assert [self.build().score(architecture) for architecture in architectures] == scores
        assert all(isinstance(score, float) for score in scores)
        assert any(math.isfinite(score) for score in scores)
        self._check_parts([score for score in scores if isinstance(score, MeanScore)], len(scores))

    def test_parts_are_those_of_the_score(self) -> None:
        """Parts that are scored one after the other are the parts of the whole score."""
        metric, (first, *_) = self.build(), self.architectures()
        if metric.part_count > 1:
            middle = metric.part_count // 2
            parts = [
                *metric.score_parts(first, range(middle)),
                *metric.score_parts(first, range(middle, metric.part_count)),
            ]
            score = metric.score(first)
            assert isinstance(score, MeanScore)
            assert list(score.parts) == parts
            assert metric.parts_fingerprint == self.build().parts_fingerprint

    def test_equal_inputs_give_equal_fingerprints(self) -> None:
        """A study that is resumed recognises the metric."""
        assert self.build().fingerprint == self.build().fingerprint

    def test_it_is_registered_under_its_name(self) -> None:
        """Commands and run files find it."""
        assert self.metric in QUALITY_METRICS.names()
        assert isinstance(self.build(), QualityMetric)

    def _check_parts(self, means: Sequence[MeanScore], count: int) -> None:
        """All scores are means or none is, all means have the same number of parts, and copies keep the parts."""
        assert len(means) in {0, count}
        assert len({len(score.parts) for score in means}) <= 1
        assert all(copy.deepcopy(score).parts == score.parts for score in means)
