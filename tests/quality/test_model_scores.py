"""`nas score --metric`: any registered metric judges one model, with the user's data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from nas.cli import main
from nas.data import MovingShapesConfig
from nas.models import Generation, VideoModel
from nas.quality import FrechetVideoDistance, compressed_loss
from nas.quality.clips.metric import TemporalFlickering
from nas.quality.clips.scoring import generated_clips
from nas.quality.clips.sources import HeldOutClips
from nas.quality.clips.video_encoders import load_video_encoder
from nas.quality.model_scores import score_model
from nas.space import SearchSpace
from nas.training import open_clips
from tests.quality import networks
from tests.tiny import TINY

SPACE = SearchSpace.from_dict(TINY)
HALF = ("--metric-option", "function=half_of_it:half", "--metric-option", "direction=minimize")
CLIPS = open_clips(MovingShapesConfig(kind="moving_shapes", clips=40), SPACE, base=".", validation_fraction=0.25)


@pytest.fixture(scope="module")
def model() -> VideoModel:
    torch.manual_seed(0)
    return VideoModel.build(SPACE, SPACE.smallest(), Generation(steps=1, guidance_scale=1.0))


def test_scores_are_those_of_the_clips(model: VideoModel, tmp_path: Path) -> None:
    encoder = str(networks.script(networks.Means(), tmp_path / "means.pt"))
    metrics = {"temporal_flickering": {"clips": 4}, "frechet_video_distance": {"clips": 4, "encoder": encoder}}
    flickering, distance = score_model(model, metrics, lambda: CLIPS, seed=3)
    source = HeldOutClips(CLIPS, None, 4, seed=3)  # type: ignore[arg-type]
    made = generated_clips(model, source.prompts, seed=3)
    ((real, _),), ((other, _),) = source.real(), source.other()
    judge, prompts = TemporalFlickering(), [""] * 4
    assert flickering.generated.value == pytest.approx(judge.describe(made, prompts).mean())
    assert flickering.real is not None
    assert flickering.real.value == pytest.approx(judge.describe(real, prompts).mean())
    assert flickering.generated.low < flickering.generated.value < flickering.generated.high
    features = FrechetVideoDistance(load_video_encoder(encoder))
    rows = [features.describe(clips, prompts) for clips in (made, real, other)]
    assert distance.real is not None
    assert distance.generated.value == pytest.approx(features.value(rows[0], rows[1]))
    assert distance.real.value == pytest.approx(features.value(rows[2], rows[1]))


def test_the_loss_of_a_model_is_that_of_its_network(model: VideoModel) -> None:
    (loss,) = score_model(model, {"flow_loss": {"batches": 2}}, lambda: CLIPS, seed=3)
    other = compressed_loss(model, "fp16", CLIPS.validation, batches=2, seed=3)
    assert (loss.generated.value, loss.generated.clips) == (pytest.approx(other.uncompressed_loss), 2)


@pytest.mark.slow
def test_the_command_line(
    model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save("model")
    networks.clip(tmp_path / "clip")
    Path("data.yaml").write_text("data: {kind: moving_shapes, clips: 40}\nvalidation_fraction: 0.25\n")

    def nas(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", "score", "model", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    Path("half_of_it.py").write_text("def half(architecture):\n    return 0.5\n")
    both = ("--metric", "temporal_flickering", "--metric", "text_alignment", "--metric-option", "clips=3")
    encoder = ("--metric-option", "text_alignment.encoder=clip")
    code, out, err = nas(*both, *encoder, "--data", "data.yaml", "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["metric"], row["generated"]["clips"]) for row in rows] == [("temporal flickering", 3),
                                                                            ("text alignment", 3)]  # fmt: skip
    for arguments, message in (
        ((*both, *encoder), "a metric of clips needs --data"),
        ((*both, "--data", "data.yaml"), "needs the option encoder"),
        ((*both, "--metric-option", "a.clips=3"), "a.clips is an option of none of the metrics (known: clips,"),
        ((*both, "--classifier", "clip"), "--classifier means nothing to --metric"),
        (("--metric", "flowloss"), "flow_loss"),
        (("--metric", "flow_loss", "--metric-option", "finetune_steps=2", "--data", "data.yaml"), "scored as it is"),
        (("--metric", "flow_loss", "--data", "data.yaml", "--steps", 5), "--steps means nothing to flow_loss"),
        (("--metric", "function", *HALF, "--data", "data.yaml"), "--data means nothing to function"),
        (("--data", "data.yaml"), "--data means nothing to a classifier; give --metric"),
        ((), "give --metric, or for moving_shapes --classifier"),
    ):
        code, _, err = nas(*arguments)
        assert (code, message in err.splitlines()[-1]) == (2, True), err
