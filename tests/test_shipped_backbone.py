"""The backbone that comes with the project is what its card says, and what the quickstart starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from nas.cli._data import open_clips
from nas.data import to_bytes
from nas.files import load_yaml
from nas.models import VideoModel
from nas.models.parts import unloaded_codec
from nas.pipeline import load_run
from nas.pipeline.folder import RunFolder
from nas.quality.clips.scoring import generated_clips
from nas.space import SearchSpace
from nas.training import TrainingConfig

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BACKBONES = EXAMPLES / "backbones"


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return VideoModel.load(BACKBONES / "quickstart")


def test_it_is_small_attributed_and_of_the_quickstart(model: VideoModel) -> None:
    assert sum(path.stat().st_size for path in (BACKBONES / "quickstart").iterdir()) < 8e6
    card = (BACKBONES / "README.md").read_text()
    for needed in ("Blender Foundation", "creativecommons.org/licenses/by/3.0", "nas train", "held out"):
        assert needed in card
    config, space = load_run(EXAMPLES / "quickstart.yaml")
    assert config.backbone is not None
    assert config.train.freeze_backbone
    assert model.architecture == space.without_layers()
    assert space.load_architecture(BACKBONES / "no_temporal_layers.yaml") == model.architecture
    assert load_yaml(BACKBONES / "training.yaml", TrainingConfig).timestep_shift == model.generation.shift


def test_its_data_hold_out_what_the_quickstart_holds_out(tmp_path: Path) -> None:
    config, space = load_run(EXAMPLES / "quickstart.yaml")
    run = RunFolder(config, space, EXAMPLES, tmp_path).clips
    own = open_clips(str(BACKBONES / "data.yaml"), space)
    assert own.validation.names == run.validation.names
    assert own.train.fingerprint == run.train.fingerprint


def test_its_pictures_are_those_of_their_captions(model: VideoModel) -> None:
    space = SearchSpace.load(EXAMPLES.parent / "search_spaces" / "quickstart.yaml")
    clips = open_clips(str(BACKBONES / "data.yaml"), space).train.latents(unloaded_codec(space))[0]
    captions = list(dict.fromkeys(clips.captions))[::3]
    made_BTCHW = generated_clips(model, captions, steps=4, guidance_scale=1.0)
    real_BTCHW = to_bytes(unloaded_codec(space).decode(clips.videos(range(len(clips)))))
    distance = torch.cdist(_coarse(made_BTCHW), _coarse(real_BTCHW).flatten(0, 1))
    nearest = [clips.captions[int(frame) // real_BTCHW.shape[1]] for frame in distance[:, 0].argmin(dim=-1)]
    assert sum(found == asked for found, asked in zip(nearest, captions, strict=True)) >= len(captions) - 1


def _coarse(video_BTCHW: torch.Tensor) -> torch.Tensor:
    """Frames as 4x8 colours, (B, T, 96)."""
    pixels = video_BTCHW.float().flatten(0, 1)
    return F.adaptive_avg_pool2d(pixels, (4, 8)).flatten(1).unflatten(0, video_BTCHW.shape[:2])
