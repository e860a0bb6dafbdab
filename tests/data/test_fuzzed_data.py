"""Data of any kind, damaged in any way: it is read, or refused in one line; no other exception reaches a user."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.cli._data_file import data_file
from nas.data import ClipShape, VideoDataset, open_data
from nas.data.config import DataFile
from nas.data.tars.dataset import open_tars
from nas.data.tars.index import make_index
from nas.data.tars.paths import find_tars
from nas.data.videos.captions import read_captions
from nas.data.videos.decoding import iter_clips, iter_clips_from, measure
from nas.data.videos.media import Media
from nas.errors import NasError
from nas.files import load_yaml
from tests.data.conftest import encode, numbered
from tests.data.test_lengths import written
from tests.data.test_tars import image, pack

SHAPE = ClipShape(2, 12, 16, 8)

few = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])

names = st.one_of(
    st.sampled_from(
        ["a.mp4", "./a.mp4", "../a.mp4", "/etc", "loop", "sub", "sub/../a.mp4", "é.mp4", "e\u0301.mp4", "\0", "~", ""]
    ),
    st.text(max_size=12),
    st.integers(200, 5000).map(lambda count: "x" * count),
)
edits = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=8)


def edited(data: bytes, changes: list[tuple[float, bytes]], length: float) -> bytes:
    """Some bytes of `data` replaced, and the end cut off."""
    found = bytearray(data)
    for place, new in changes:
        start = int(place * len(found))
        found[start : start + len(new)] = new
    return bytes(found[: int(length * len(found))])


@cache
def film() -> bytes:
    return encode(numbered(8, 16, 16), 24)


@cache
def picture(kind: str, mode: str) -> bytes:
    file = io.BytesIO()
    pixels = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)).convert(mode)
    pixels.save(file, kind)
    return file.getvalue()


@few
@given(
    rows=st.lists(st.tuples(names, st.text(max_size=12)), max_size=4),
    raw=st.none() | st.binary(max_size=60),
    data=st.data(),
)
def test_captions(rows: list[tuple[str, str]], raw: bytes | None, data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir(exist_ok=True)
    (tmp_path / "a.mp4").write_bytes(b"-")
    (tmp_path / "e\u0301.mp4").write_bytes(b"-")
    if not (tmp_path / "loop").is_symlink():
        (tmp_path / "loop").symlink_to("loop")
    quote = data.draw(st.sampled_from(["", '"']))
    text = "file,caption\n" + "".join(f"{quote}{name}{quote},{caption}\n" for name, caption in rows)
    (tmp_path / "captions.csv").write_bytes(
        text.encode(errors="surrogatepass") if raw is None else b"file,caption\n" + raw
    )
    found = _one_line(lambda: read_captions(tmp_path, "captions.csv"))
    assert all(row.path.is_file() and row.caption for row in found or ())


@few
@given(name=names, kind=st.sampled_from(["", ".tar", "/*.tar", "/{0..3}.tar", ".yaml", "/videos"]))
def test_names_of_data(name: str, kind: str, tmp_path: Path) -> None:
    def read() -> None:
        file, base = data_file(f"{name}{kind}")
        open_data(file.data, SHAPE, base=tmp_path / base)

    _one_line(read)


@few
@given(pattern=st.text("ab*?[]{}.,0129/-!", max_size=14))
def test_patterns_of_tars(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    found = _one_line(lambda: find_tars(tmp_path / pattern))
    assert found is None or found.paths


@few
@given(changes=edits, length=st.floats(0.3, 1))
def test_tars(changes: list[tuple[float, bytes]], length: float, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    if not whole.exists():
        pack(whole, {"a.png": image("png"), "a.txt": b"grey", "b.1.png": image("png"), "b.1.json": b'{"caption": "x"}'})
    (tmp_path / "a.tar").write_bytes(edited(whole.read_bytes(), changes, length))
    index = make_index(tmp_path / "a.tar", 8)
    assert len(index.samples) <= 2
    json.dumps(index.model_dump(mode="json")).encode()


KINDS = {"mp4": "libx264", "mkv": "libx264", "wmv": "wmv2", "avi": "mpeg4", "ts": "mpeg2video", "gif": "gif"}


@cache
def film_of(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        pixels = "rgb8" if kind == "gif" else "yuv420p"
        return written(Path(folder) / f"film.{kind}", list(range(12)), 4, KINDS[kind], pixels).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@few
@given(changes=edits, length=st.floats(0.2, 1), in_header=st.booleans())
def test_videos(kind: str, changes: list[tuple[float, bytes]], length: float, in_header: bool, tmp_path: Path) -> None:
    data = film_of(kind)
    changes = [(place * (min(600 / len(data), 1) if in_header else 1), new) for place, new in changes]
    path = tmp_path / "a.bin"
    path.write_bytes(edited(data, changes, length))
    for media in (Media.file(path), Media(path, path, 0, path.stat().st_size)):
        _one_line(lambda media=media: list(iter_clips(media, SHAPE)))
    _one_line(lambda: measure(media, 8))
    _one_line(lambda: list(iter_clips_from(media, SHAPE, 1, 2)))


@few
@given(
    changes=edits,
    length=st.floats(0, 1),
    kind=st.sampled_from(
        [("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("TIFF", "I;16"), ("GIF", "P")]
    ),
)
def test_images(changes: list[tuple[float, bytes]], length: float, kind: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(edited(picture(*kind), changes, length))
    _one_line(lambda: measure(Media(path, path, is_image=True), 8))


def _one_line(read: Callable[[], Any]) -> Any:
    """What `read` gives; `None` where it raises an error that a user gets as one line."""
    try:
        return read()
    except NasError as problem:
        text = str(problem)
    assert "\n" not in text
    return None


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["videos", "tars", "~x", "a.tar"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["kind", "path", "captions", "buckets", "window", "cache", "clips", "seed", "other"])
kinds = st.sampled_from(["videos", "webdataset", "moving_shapes", "latents"])
bucket = st.fixed_dictionaries(
    {"frames": st.integers(-1, 3), "height": st.sampled_from([12, 16, 10**9]), "width": st.just(16)}
)


@few
@given(
    kind=kinds,
    path=st.sampled_from(["videos", "tars", "tars/a.tar", "none"]),
    others=st.dictionaries(keys, plain, max_size=2),
    sizes=st.none() | st.lists(bucket, max_size=3),
)
def test_files_that_describe_data(kind: str, path: str, others: dict[str, Any], sizes: Any, tmp_path: Path) -> None:
    for folder in ("videos", "tars"):
        (tmp_path / folder).mkdir(exist_ok=True)
    if not (tmp_path / "tars" / "a.tar").exists():
        pack(tmp_path / "tars" / "a.tar", {"a.png": image("png"), "a.txt": b"x"})
        (tmp_path / "videos" / "a.mp4").write_bytes(film())
        (tmp_path / "videos" / "captions.csv").write_text("file,caption\na.mp4,x\n")
    value = {"kind": kind, "path": path} | ({} if sizes is None else {"buckets": sizes}) | others
    value = {key: item for key, item in value.items() if key != "clips" or not isinstance(item, int) or item < 100}
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump({"data": value}, allow_unicode=True), encoding="utf-8", errors="surrogatepass"
    )
    _one_line(lambda: open_data(load_yaml(tmp_path / "data.yaml", DataFile).data, SHAPE, base=tmp_path, multiple=4))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["clips", "index of a tar"])
@settings(few, max_examples=15)
@given(changes=edits, length=st.floats(0, 1))
def test_caches(what: str, changes: list[tuple[float, bytes]], length: float, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    if not folder.exists():
        folder.mkdir()
        pack(folder / "a.tar", {"a.png": image("png"), "a.txt": b"x"})
        (folder / "a.mp4").write_bytes(film())
        (folder / "captions.csv").write_text("file,caption\na.mp4,x\n")
        _open(what, folder)
        shutil.copytree(folder / ".nas-cache", tmp_path / "kept")
    shutil.rmtree(folder / ".nas-cache")
    shutil.copytree(tmp_path / "kept", folder / ".nas-cache")
    (index,) = (path for path in (folder / ".nas-cache").rglob("*.json") if path.name != ".nas-folder.json")
    index.write_bytes(edited(index.read_bytes(), changes, length))
    _one_line(lambda: _open(what, folder))


def _open(what: str, folder: Path) -> None:
    if what == "clips":
        list(VideoDataset.open(folder, SHAPE))
    else:
        shape = ClipShape(1, 12, 16, 8)
        list(open_tars(folder, shape, (shape.size,), window=1))  # type: ignore[call-overload]
