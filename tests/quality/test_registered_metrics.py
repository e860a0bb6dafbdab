"""The built-in quality metrics keep the contract, and are the metrics of the Python functions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from nas.data import ClipShape, MovingShapesConfig, prompts
from nas.errors import ConfigError
from nas.quality import (
    QUALITY_METRICS,
    QualityContext,
    ReadAccuracy,
    ShapeClassifier,
    make_metric,
    metric_options,
)
from nas.quality.clips.classifier import ATTRIBUTES, ClassifierRecord
from nas.search import SearchConfig, SumLatency, load_study, run_search
from nas.space import SearchSpace
from nas.testing import QualityMetricConformance
from nas.training import SearchInputs, SuperNetConfig, clip_quality, held_out_quality, open_clips, train_supernet
from tests.tiny import TINY

SPACE = SearchSpace.from_dict(TINY)
CLIPS = open_clips(MovingShapesConfig(kind="moving_shapes", clips=12), SPACE, base=".")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a supernet and a classifier, neither of which has learned much."""
    root = tmp_path_factory.mktemp("made")
    config = SuperNetConfig(steps=1, batch_size=2, image_batch_size=1, warmup_steps=0)
    train_supernet(SPACE, CLIPS.train, config, root / "supernet")
    shape = ClipShape.of(SPACE.file.video)
    accuracy = dict.fromkeys(ATTRIBUTES, 0.5)
    record = ClassifierRecord(frames=4, height=16, width=16, fps=8, steps=1, seed=0, accuracy=accuracy)
    ShapeClassifier(shape).save(root / "classifier", record)
    return root


class WithInputs(QualityMetricConformance):
    """A metric over a supernet, clips and a classifier."""

    root: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def _inputs(self, made: Path) -> None:
        type(self).root = made

    def context(self, seed: int = 0) -> QualityContext:
        return SearchInputs(SPACE, supernet=self.root / "supernet", clips=lambda: CLIPS, seed=seed, base=self.root)


class TestFlowLoss(WithInputs):
    metric = "flow_loss"
    options = {"batches": 2}


class TestPromptAccuracy(WithInputs):
    metric = "prompt_accuracy"
    options = {"classifier": "classifier", "clips": 2}


def _made(name: str, root: Path, options: dict[str, Any], seed: int = 3) -> Any:
    inputs = SearchInputs(SPACE, supernet=root / "supernet", clips=lambda: CLIPS, seed=seed, base=root)
    return make_metric(name, metric_options(name, options), inputs)


@pytest.mark.parametrize("finetune_steps", [None, 1])
def test_they_are_the_metrics_of_the_python_functions(made: Path, finetune_steps: int | None) -> None:
    architecture = SPACE.architecture(["conv1d", "none"])
    registered = _made("flow_loss", made, {"batches": 1, "finetune_steps": finetune_steps})
    function = held_out_quality(SPACE, made / "supernet", CLIPS, finetune_steps=finetune_steps, seed=3, batches=1)
    assert (registered.name, registered.fingerprint) == (function.name, function.fingerprint)
    assert registered.score(architecture) == function.score(architecture)


def test_the_clips_are_those_of_the_python_function(made: Path) -> None:
    registered = _made("prompt_accuracy", made, {"classifier": "classifier", "clips": 2})
    reader = ReadAccuracy(ShapeClassifier.load(made / "classifier"))
    function = clip_quality(SPACE, made / "supernet", reader, prompts(2, seed=3), seed=3)
    architecture = SPACE.smallest()
    assert (registered.name, registered.direction) == ("prompt accuracy", "maximize")
    assert registered.score(architecture) == function.score(architecture)


def test_a_search_by_accuracy_knows_its_noise(made: Path, tmp_path: Path) -> None:
    count = 8
    torch.manual_seed(0)
    reader = ReadAccuracy(ShapeClassifier(ClipShape.of(SPACE.file.video)), "direction")
    metric = clip_quality(SPACE, made / "supernet", reader, prompts(count, seed=3), seed=3)
    config = SearchConfig(evaluations=3, sampler="exhaustive")
    each_ms = {slot.id: {name: float(place) for place, name in enumerate(slot.candidates, 1)} for slot in SPACE.slots}
    latency = SumLatency(SPACE, each_ms, provenance="measured", device="test bench", runtime="formula")
    found = run_search(SPACE, latency, metric, config, tmp_path / "study.db", "s").record
    assert len(found.evaluations) == 3
    assert any(0 < one.quality < 1 for one in found.evaluations)
    for one in load_study(tmp_path / "study.db", "s").evaluations:
        assert (len(one.quality_parts), {*one.quality_parts} <= {0, 1}) == (count, True)
        assert one.quality == pytest.approx(sum(one.quality_parts) / count)
        binomial = math.sqrt(one.quality * (1 - one.quality) / (count - 1))
        assert one.standard_error == pytest.approx(binomial)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("flow_loss", {}, "the held-out flow loss needs --supernet and --data"),
        ("prompt_accuracy", {}, "needs the option classifier; make one with `nas classifier`"),
        ("frechet_distance", {"classifier": "classifier"}, "a metric of clips needs --supernet;"),
        ("frechet_distance", {"classifier": "classifier", "finetune_steps": 1}, "needs --supernet and --data"),
        ("function", {}, "needs the option function"),
    ],
)
def test_inputs_that_are_missing_are_named(made: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as said:
        make_metric(name, metric_options(name, options), SearchInputs(SPACE, base=made))
    assert message in str(said.value)


def test_a_front_is_scored_again_with_more_batches() -> None:
    for name in QUALITY_METRICS.builtin:
        search, rescore = (metric_options(name, {}, defaults=stage) for stage in ("search", "rescore"))
        expected = {"batches": 64} if name == "flow_loss" else {}
        assert rescore.model_dump() == search.model_dump() | expected
