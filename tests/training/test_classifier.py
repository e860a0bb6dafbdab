"""The classifier that metrics read with: what it learns, how it is kept, and what it says of models' clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import ClipShape, MovingShapes, prompts
from nas.errors import CheckpointError, ConfigError, DataError
from nas.models import Generation, VideoModel
from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier, TemporalFlicker
from nas.quality.clips.classifier import ATTRIBUTES, ClassifierRecord, labels
from nas.quality.clips.scoring import real_clips, score_clips
from nas.space import SearchSpace
from nas.training import train_classifier
from tests.processes import finish, start, start_nas
from tests.tiny import TINY

SHAPE = ClipShape(4, 16, 16, 8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassifierRecord, Path]:
    folder = tmp_path_factory.mktemp("classifier")
    return train_classifier(SHAPE, folder, steps=240, batch_size=24), folder / "classifier"


@pytest.fixture
def model() -> VideoModel:
    torch.manual_seed(0)
    space = SearchSpace.from_dict(TINY)
    made = VideoModel.build(space, space.smallest(), Generation(steps=2, guidance_scale=1.0))
    made.unet.eval()
    made.text_encoder.eval()
    return made


def test_it_learns_what_clips_show_and_measures_how_well(trained: tuple[ClassifierRecord, Path]) -> None:
    record, folder = trained
    assert record.accuracy["colour"] > 0.9
    assert record.accuracy["direction"] > 0.4  # chance is a quarter
    clips = MovingShapes(SHAPE, clips=300, seed=77)
    video, captions = clips.batch(range(300))
    classifier = ShapeClassifier.load(folder)
    for name, measured in record.accuracy.items():
        metric = ReadAccuracy(classifier, name)
        assert metric.describe(video, captions).mean() == pytest.approx(measured, abs=0.1)
    right = ReadAccuracy(classifier).describe(video, captions)[:, 0]
    each = [ReadAccuracy(classifier, name).describe(video, captions)[:, 0] for name in ATTRIBUTES]
    assert np.array_equal(right, np.prod(each, axis=0))


def test_labels_are_what_the_caption_says() -> None:
    (row,) = labels(["a yellow triangle moves up slowly and bounces"])
    said = [names[place] for names, place in zip(ATTRIBUTES.values(), row.tolist(), strict=True)]
    assert said == ["yellow", "triangle", "up"]
    with pytest.raises(DataError, match="not a moving-shapes caption"):
        labels(["a cat"])


def test_equal_seeds_make_equal_weights_also_when_broken_off(tmp_path: Path) -> None:
    for name in ("one", "two"):
        train_classifier(SHAPE, tmp_path / name, steps=3, batch_size=4)
    (tmp_path / "two" / "classifier" / "classifier.safetensors").unlink()
    train_classifier(SHAPE, tmp_path / "two", steps=3, batch_size=4)
    first, second = (ShapeClassifier.load(tmp_path / name / "classifier").state_dict() for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_clips_of_another_shape_and_folders_without_one_are_refused(
    trained: tuple[ClassifierRecord, Path], tmp_path: Path
) -> None:
    classifier = ShapeClassifier.load(trained[1])
    with pytest.raises(ConfigError, match=r"clips are 8 x 3 x 16 x 16, the classifier was trained on 4 x 3 x 16 x 16"):
        classifier.extract(torch.zeros(2, 8, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(CheckpointError, match="holds no classifier; make one with `nas classifier`"):
        ShapeClassifier.load(tmp_path)


def test_real_clips_are_drawn_anew_for_the_same_prompts() -> None:
    asked = prompts(24)
    one, same, other = (real_clips(asked, SHAPE, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (24, 4, 3, 16, 16)


def test_an_untrained_model_is_far_from_real_clips(trained: tuple[ClassifierRecord, Path], model: VideoModel) -> None:
    classifier = ShapeClassifier.load(trained[1])
    metrics = [FrechetVideoDistance(classifier.extract), ReadAccuracy(classifier, "colour"), TemporalFlicker()]
    distance, colour, flicker = score_clips(model, metrics, prompts(48), seed=3)
    assert distance.generated.low > 3 * distance.real.high
    assert colour.generated.high < 0.5 < colour.real.low
    assert flicker.generated.low > 2 * flicker.real.high
    assert score_clips(model, metrics[:1], prompts(48), seed=3)[0].generated == distance.generated


MINE = "def means(video):\n    return video.float().mean(dim=(1, 3, 4))\n\ndef wrong(video):\n    return 1.0\n"


@pytest.mark.slow
def test_the_command_line_trains_and_scores(model: VideoModel, tmp_path: Path) -> None:
    import yaml

    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "my_features.py").write_text(MINE)
    model.save(tmp_path / "model")
    made = start_nas(tmp_path, "classifier", tmp_path / "space.yaml", "--out", tmp_path / "run", "--steps", 5, "--json")
    assert json.loads(finish(made, tmp_path))["accuracy"].keys() == ATTRIBUTES.keys()
    base = ["score", tmp_path / "model", "--classifier", tmp_path / "run" / "classifier", "--count", 24]
    rows = json.loads(finish(start(tmp_path, _in_folder, tmp_path, *base, "--json"), tmp_path))
    assert [row["metric"] for row in rows][:2] == ["Frechet video distance", "prompt accuracy"]
    assert all(row["generated"]["low"] <= row["generated"]["high"] for row in rows)
    mine = [*base, "--features", "my_features:means", "--json"]
    rows = json.loads(finish(start(tmp_path, _in_folder, tmp_path, *mine), tmp_path))
    assert rows[0]["metric"] == "Frechet video distance, my_features:means"
    process = start(tmp_path, _in_folder, tmp_path, *base, "--features", "my_features:wrong")
    process.join(100)
    assert process.exitcode == 2
    assert "features of shape" in (tmp_path / "err.txt").read_text().splitlines()[-1]


def _in_folder(folder: Path, *arguments: object) -> None:
    import os
    import sys

    from nas.cli import main

    os.chdir(folder)
    sys.argv = ["nas", *map(str, arguments)]
    main()
