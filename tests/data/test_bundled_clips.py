from __future__ import annotations

import csv
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nas.data import ClipShape, VideoDataset, split
from nas.errors import DataError
from tests.data.conftest import encode, numbered

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"
BUNNY = EXAMPLES / "big_buck_bunny"


@pytest.fixture(scope="module")
def cut_clips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cut_clips", EXAMPLES / "cut_clips.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_bundle_is_small_and_attributed() -> None:
    assert sum(path.stat().st_size for path in BUNNY.iterdir() if path.is_file()) < 4e6
    text = (BUNNY / "ATTRIBUTION.md").read_text()
    for needed in ("Blender Foundation", "www.bigbuckbunny.org", "creativecommons.org/licenses/by/3.0", "changed"):
        assert needed in text


def test_cut_list_clips_and_captions_agree() -> None:
    with (EXAMPLES / "cuts.csv").open(newline="") as file:
        cuts = [row["file"] for row in csv.DictReader(file)]
    with (BUNNY / "captions.csv").open(newline="") as file:
        captions = {row["file"]: row["caption"] for row in csv.DictReader(file)}
    assert 24 <= len(cuts) <= 40
    assert cuts == list(captions)
    assert sorted(cuts) == sorted(path.name for path in BUNNY.glob("*.mp4"))
    assert len(set(captions.values())) == len(captions)
    assert all(caption.endswith(".") for caption in captions.values())


@pytest.mark.slow
@pytest.mark.parametrize("shape", [ClipShape(8, 32, 32, 8), ClipShape(12, 36, 64, 8)], ids=str)
def test_every_clip_is_used_and_none_holds_a_cut(
    shape: ClipShape, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "nas"):
        dataset = VideoDataset.open(BUNNY, shape, cache=tmp_path)
    assert not caplog.records
    assert {name.split("#")[0] for name in dataset.names} == {path.name for path in BUNNY.glob("*.mp4")}
    for clip in dataset:
        assert clip.video_TCHW.float().mean() > 20, f"{clip.name} is black"
    data = split(dataset)
    assert len(data.train) > len(data.validation) >= 1


@pytest.mark.slow
def test_every_clip_is_one_shot(cut_clips: ModuleType) -> None:
    for cut in cut_clips.read_cuts(EXAMPLES / "cuts.csv"):
        whole = cut_clips.Cut(cut.file, cut.file, 0.0, 10.0, 0, 0, 256)
        video_TCHW, fps = cut_clips.cut_clip(whole, BUNNY / cut.file)
        cut_clips.check_one_shot(whole, video_TCHW)
        assert 1.5 <= len(video_TCHW) / fps <= 2.1


def test_the_script_keeps_the_frames_and_the_box_of_its_row(cut_clips: ModuleType, tmp_path: Path) -> None:
    frames = numbered(40, 144, 256)
    frames[:, 36:108, 64:192, 0] += 60
    source = tmp_path / "source.mp4"
    source.write_bytes(encode(frames, 24))
    cut = cut_clips.Cut("clip.mp4", "source.mp4", 0.5, 0.25, 64, 36, 128)
    video_TCHW, fps = cut_clips.cut_clip(cut, source)
    assert fps == 24
    expected = frames[12:18, 40:100, 80:180].mean(axis=(1, 2))
    assert np.abs(video_TCHW[:, :, 8:-8, 8:-8].float().mean(dim=(2, 3)).numpy() - expected).max() < 3


def test_the_script_refuses_a_row_over_a_cut(cut_clips: ModuleType, tmp_path: Path) -> None:
    frames = numbered(20, 144, 256)
    frames[10:] = 255 - frames[10:]
    source = tmp_path / "source.mp4"
    source.write_bytes(encode(frames, 24))
    cut = cut_clips.Cut("clip.mp4", "source.mp4", 0.0, 0.8, 0, 0, 256)
    video_TCHW, _ = cut_clips.cut_clip(cut, source)
    with pytest.raises(DataError, match=r"cuts\.csv: clip\.mp4: a cut after frame 9"):
        cut_clips.check_one_shot(cut, video_TCHW)
