"""The classifier that metrics read with: what it learns, how it is kept, and what it says of models' clips."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from nas.cli import main
from nas.data import ClipShape, MovingShapes, prompts
from nas.errors import CheckpointError, ConfigError, DataError
from nas.models import Generation, VideoModel
from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier, TemporalFlicker
from nas.quality.clips.classifier import ATTRIBUTES, ClassifierRecord, labels
from nas.quality.clips.scoring import real_clips, score_clips
from nas.space import SearchSpace
from nas.training import train_classifier
from tests.tiny import TINY

SHAPE = ClipShape(4, 16, 16, 8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassifierRecord, Path]:
    folder = tmp_path_factory.mktemp("classifier")
    return train_classifier(SHAPE, folder, steps=120, batch_size=24), folder / "classifier"


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


def test_the_command_line_trains_and_scores(
    model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_features", raising=False)
    Path("space.yaml").write_text(yaml.safe_dump(TINY))
    Path("my_features.py").write_text(MINE)
    model.save(tmp_path / "model")

    def nas(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    code, out, _ = nas("classifier", "space.yaml", "--out", "run", "--steps", 5, "--json")
    assert (code, json.loads(out)["accuracy"].keys()) == (0, ATTRIBUTES.keys())
    score = ["score", "model", "--classifier", "run/classifier", "--count", 24]
    code, out, _ = nas(*score, "--json")
    rows = json.loads(out)
    assert (code, [row["metric"] for row in rows][:2]) == (0, ["Frechet video distance", "prompt accuracy"])
    assert all(row["generated"]["low"] <= row["generated"]["high"] for row in rows)
    code, out, _ = nas(*score, "--features", "my_features:means", "--json")
    assert (code, json.loads(out)[0]["metric"]) == (0, "Frechet video distance, my_features:means")
    code, _, err = nas(*score, "--features", "my_features:wrong")
    assert code == 2
    assert "features of shape" in err.splitlines()[-1]
