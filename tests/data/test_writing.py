from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import ClipShape, MovingShapes, frame_strip, write_gif, write_mp4
from nas.data.videos import writing
from nas.errors import DataError
from nas.quality.clips.reader import read_clip
from tests.data.conftest import decode_clips

SHAPE = ClipShape(8, 32, 32, 8)


@pytest.fixture
def video() -> torch.Tensor:
    return MovingShapes(SHAPE, 1)[0].video_TCHW


def test_mp4_can_be_read_back(video: torch.Tensor, tmp_path: Path) -> None:
    write_mp4(video, tmp_path / "clips" / "clip.mp4", 8)
    with av.open(str(tmp_path / "clips" / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", 8)
        assert stream.average_rate == 8
    (read,) = decode_clips(tmp_path / "clips" / "clip.mp4", SHAPE)
    # Half the colour resolution is lost in 4:2:0, so shapes keep their place and hue, not each pixel.
    assert (read.float() - video.float()).abs().mean() < 4
    assert read_clip(read) == read_clip(video)


@pytest.mark.parametrize("fps", [7.5, 24000 / 1001, 24])
def test_mp4_keeps_its_rate(video: torch.Tensor, tmp_path: Path, fps: float) -> None:
    write_mp4(video, tmp_path / "clip.mp4", fps)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(fps, rel=1e-4)


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    write_mp4(torch.full((3, 3, 17, 33), 128, dtype=torch.uint8), tmp_path / "clip.mp4", 8)
    (read,) = decode_clips(tmp_path / "clip.mp4", ClipShape(3, 18, 34, 8))
    assert (read.float() - 128).abs().max() < 6


def test_without_an_h264_encoder_it_is_mpeg4(
    video: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing.av, "codecs_available", av.codecs_available - {"libx264", "h264"})
    write_mp4(video, tmp_path / "clip.mp4", 8)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert len(decode_clips(tmp_path / "clip.mp4", SHAPE)) == 1


def test_gif_has_all_frames_and_its_rate(video: torch.Tensor, tmp_path: Path) -> None:
    write_gif(video, tmp_path / "clip.gif", 8)
    with Image.open(tmp_path / "clip.gif") as image:
        assert image.n_frames == 8
        assert image.info["loop"] == 0
        assert image.info["duration"] == 120
        image.seek(5)
        shown = np.asarray(image.convert("RGB")).astype(float)
    assert np.abs(shown - video[5].permute(1, 2, 0).numpy()).mean() < 8


def test_strip_shows_every_second_frame_magnified(video: torch.Tensor, tmp_path: Path) -> None:
    frame_strip(video, tmp_path / "strip.png", every=2)
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    assert strip.shape == (96, 4 * 96 + 3 * 2, 3)
    for number in range(4):
        tile = strip[1::3, number * 98 + 1 : number * 98 + 96 : 3]
        assert np.array_equal(tile, video[2 * number].permute(1, 2, 0).numpy())


def test_large_frames_are_not_magnified(tmp_path: Path) -> None:
    frame_strip(torch.zeros(2, 3, 100, 50, dtype=torch.uint8), tmp_path / "strip.png")
    assert Image.open(tmp_path / "strip.png").size == (102, 100)


@pytest.mark.parametrize(
    "bad",
    [torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8, dtype=torch.uint8)],
    ids=["float", "grey", "empty"],
)
@pytest.mark.parametrize("write", [lambda v, p: write_mp4(v, p, 8), lambda v, p: write_gif(v, p, 8), frame_strip])
def test_what_is_no_video_writes_nothing(
    bad: torch.Tensor, write: Callable[[torch.Tensor, Path], None], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="expected uint8 frames x 3 x height x width"):
        write(bad, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -1, float("inf"), float("nan")])
def test_impossible_rates(video: torch.Tensor, tmp_path: Path, fps: float) -> None:
    for write in (write_mp4, write_gif):
        with pytest.raises(DataError, match="fps must be positive"):
            write(video, tmp_path / "out.mp4", fps)


def test_a_failing_encoder_leaves_nothing(video: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("encoder died")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RuntimeError):
        write_gif(video, tmp_path / "clip.gif", 8)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="every"):
        frame_strip(video, tmp_path / "strip.png", every=0)
