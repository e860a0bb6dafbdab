"""Pixels of images and frames: depths, transparency, colours and turnings, against closed forms."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorTrc
from PIL import Image

from nas.data import ClipShape
from nas.data.videos.media import Media
from nas.data.videos.pictures import on_white, read_image
from nas.errors import DataError
from tests.data.conftest import decode_clips, encode

RAMP_HW = np.linspace(0, 1, 24 * 32).reshape(24, 32)


def read(tmp_path: Path, image: Image.Image, kind: str, **options: object) -> np.ndarray:
    path = tmp_path / f"picture.{kind.lower()}"
    image.save(path, kind, **options)
    return read_image(Media(path, path, is_image=True))


def grey(levels_HW: np.ndarray) -> np.ndarray:
    return np.repeat(levels_HW[..., None], 3, axis=2)


def close(found: np.ndarray, expected: np.ndarray, within: int = 1) -> bool:
    return found.shape == expected.shape and int(np.abs(found.astype(int) - expected.astype(int)).max()) <= within


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF"])
def test_sixteen_bits_of_grey_keep_their_levels(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray((RAMP_HW * 65535).astype(np.uint16))
    assert close(read(tmp_path, image, kind), grey((RAMP_HW * 255).astype(np.uint8)))


def test_sixteen_bits_of_colour_keep_their_levels(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png")
        stream.height, stream.width, stream.pix_fmt = 24, 32, "rgb48be"
        levels_HW = (RAMP_HW * 65535).astype(">u2")
        frame = av.VideoFrame(32, 24, "rgb48be")
        frame.planes[0].update(np.repeat(levels_HW[..., None], 3, axis=2).tobytes())
        container.mux(stream.encode(frame))
    with Image.open(path) as image:
        assert image.size == (32, 24)
    assert close(read_image(Media(path, path, is_image=True)), grey((RAMP_HW * 255).astype(np.uint8)))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_of_unknown_range_are_refused(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(RAMP_HW.astype(np.float32 if mode == "F" else np.int32))
    with pytest.raises(DataError, match="its TIFF pixels are 32-bit numbers of unknown range; store 8 or 16 bits"):
        read(tmp_path, image, "TIFF")


def half_clear() -> Image.Image:
    """Blue on the left; on the right fully clear, with red below that nobody is to see."""
    rgba_HWC = np.zeros((24, 32, 4), dtype=np.uint8)
    rgba_HWC[:, :16] = (0, 0, 200, 255)
    rgba_HWC[:, 16:] = (200, 0, 0, 0)
    return Image.fromarray(rgba_HWC)


@pytest.mark.parametrize("make", [half_clear, lambda: half_clear().quantize(4), lambda: half_clear().convert("LA")])
def test_what_is_clear_is_white(make: Callable[[], Image.Image], tmp_path: Path) -> None:
    rgb_HWC = read(tmp_path, make(), "PNG")
    assert (rgb_HWC[:, 16:] == 255).all()
    assert rgb_HWC[:, :16].max() <= 201


def test_a_palette_with_one_clear_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat([[0, 1]], 24, axis=0).astype(np.uint8).repeat(16, axis=1), mode="P")
    image.putpalette([0, 0, 200, 200, 0, 0])
    assert (read(tmp_path, image, "PNG")[0, -1] == (200, 0, 0)).all()
    assert (read(tmp_path, image, "PNG", transparency=1)[0, -1] == 255).all()


def test_half_clear_is_half_white() -> None:
    assert on_white(np.array([[[100, 0, 255, 128]]], dtype=np.uint8)).tolist() == [[[177, 127, 255]]]


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((24, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    rgb_HWC = read(tmp_path, Image.fromarray(pixels), "PNG", exif=exif)
    assert rgb_HWC.shape == (32, 24, 3)
    assert rgb_HWC[:16].min() == 200
    assert rgb_HWC[16:].max() == 0


def raw_film(path: Path, pixels: str, planes: list[np.ndarray], codec: str = "ffv1", **tags: int) -> Path:
    height, width = planes[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for _ in range(2):
            frame = av.VideoFrame(width, height, pixels)
            for name, value in tags.items():
                setattr(frame, name, value)
            for plane, values in zip(frame.planes, planes, strict=True):
                lines = np.zeros((plane.height, plane.line_size), dtype=np.uint8)
                data = np.ascontiguousarray(values).view(np.uint8).reshape(plane.height, -1)
                lines[:, : data.shape[1]] = data
                plane.update(lines.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("tag", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593)], ids=["709", "601", "2020"]
)
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_colours_are_those_that_the_file_means(tag: int, red: float, blue: float, bits: int, tmp_path: Path) -> None:
    rgb = np.array([200, 60, 30])
    luma = rgb @ [red, 1 - red - blue, blue]
    parts = (
        16 + 219 * luma / 255,
        128 + 224 * (rgb[2] - luma) / 255 / 2 / (1 - blue),
        128 + 224 * (rgb[0] - luma) / 255 / 2 / (1 - red),
    )
    dtype = np.uint8 if bits == 8 else np.uint16
    planes = [np.full((48, 64), round(part * 2 ** (bits - 8)), dtype=dtype) for part in parts]
    pixels = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    path = raw_film(tmp_path / "film.mkv", pixels, planes, colorspace=tag, color_range=1)
    (clip,) = decode_clips(path, ClipShape(2, 48, 64, 24))
    assert np.abs(clip[0, :, 20, 20].numpy().astype(int) - rgb).max() <= 2


LUMAS = [155, 246, 337, 429, 520, 885]
# What libswscale 9.5 makes of these lumas with chroma 500 and 530, where it converts transfer and primaries; it takes
# seconds for a picture, and keeps the hue of what is brighter than white.
BY_SWSCALE = {
    ColorTrc.SMPTE2084: [(28, 15, 12), (58, 39, 34), (100, 72, 66), (160, 120, 111), (245, 188, 175)],
    ColorTrc.ARIB_STD_B67: [(42, 26, 22), (72, 56, 52), (102, 86, 82), (133, 116, 112), (164, 146, 142)],
}


@pytest.mark.parametrize("kind", BY_SWSCALE)
def test_high_dynamic_range_looks_as_ffmpeg_converts_it(kind: ColorTrc, tmp_path: Path) -> None:
    stripes_HW = np.repeat(LUMAS, 8)[None].repeat(48, axis=0).astype(np.uint16)
    planes = [stripes_HW, *(np.full(stripes_HW.shape, value, dtype=np.uint16) for value in (500, 530))]
    tags = {"colorspace": 9, "color_range": 1, "color_trc": int(kind), "color_primaries": 9}
    path = raw_film(tmp_path / "film.mkv", "yuv444p10le", planes, **tags)
    (clip,) = decode_clips(path, ClipShape(2, 48, 48, 24))
    found = [clip[0, :, 20, 4 + 8 * number].tolist() for number in range(len(LUMAS))]
    assert np.abs(np.array(found[:-1]) - np.array(BY_SWSCALE[kind])).max() <= 3
    assert found[-1] == [255, 255, 255]


def test_clear_parts_of_a_film_are_white(tmp_path: Path) -> None:
    bgra_HWC = np.zeros((48, 64, 4), dtype=np.uint8)
    bgra_HWC[:, :32] = (200, 0, 0, 255)
    (clip,) = decode_clips(raw_film(tmp_path / "film.mkv", "bgra", [bgra_HWC]), ClipShape(2, 48, 64, 24))
    assert clip[0, :, 20, 20].tolist() == [0, 0, 200]
    assert clip[0, :, 20, 40].tolist() == [255, 255, 255]


def test_a_film_of_sixteen_bits_of_grey(tmp_path: Path) -> None:
    levels_HW = np.full((48, 64), 30000, dtype="<u2")
    (clip,) = decode_clips(raw_film(tmp_path / "film.mkv", "gray16le", [levels_HW]), ClipShape(2, 48, 64, 24))
    assert abs(int(clip.float().mean()) - 30000 / 257) <= 1


def corners() -> np.ndarray:
    """Two frames 64 x 32 whose corners differ: white at the top left, grey at the top right, black below."""
    frame_HWC = np.zeros((64, 32, 3), dtype=np.uint8)
    frame_HWC[:32, :16], frame_HWC[:32, 16:] = 240, 120
    return np.stack([frame_HWC, frame_HWC])


def turned(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """A film whose header has a pixel at column p and row q shown at (a p + c q, b p + d q)."""
    data = encode(corners(), 24)
    upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    matrix = struct.pack(">9i", *(round(65536 * each) for each in (a, b)), 0, *(round(65536 * each) for each in (c, d)),
                         0, 0, 0, 2**30)  # fmt: skip
    track = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:track] + matrix + data[track + len(matrix) :])
    return path


TURNINGS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.mark.parametrize(("a", "b", "c", "d"), TURNINGS)
def test_all_ways_to_turn_and_mirror(a: int, b: int, c: int, d: int, tmp_path: Path) -> None:
    height, width = (64, 32) if a else (32, 64)
    (clip,) = decode_clips(turned(tmp_path / "film.mp4", a, b, c, d), ClipShape(2, height, width, 24))
    source_HW, shown_HW = corners()[0, ..., 0].astype(int), clip[0, 0].numpy().astype(int)
    for q, p in ((8, 8), (8, 24), (40, 8), (40, 24)):
        column, row = a * p + c * q, b * p + d * q
        assert abs(shown_HW[row % height, column % width] - source_HW[q, p]) < 12


def test_a_turning_that_leaves_corners_empty_is_refused(tmp_path: Path) -> None:
    root = 0.5**0.5
    with pytest.raises(DataError, match="rotated by 45 degrees, not a multiple of 90"):
        decode_clips(turned(tmp_path / "film.mp4", root, root, -root, root), ClipShape(2, 16, 16, 24))


def test_what_is_no_image(tmp_path: Path) -> None:
    whole = io.BytesIO()
    half_clear().save(whole, "PNG")
    for data in (b"", b"text" * 100, whole.getvalue()[:60], whole.getvalue()[:-30]):
        path = tmp_path / "picture.png"
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"picture\.png: cannot be decoded"):
            read_image(Media(path, path, is_image=True))
