"""The captions file of a video folder: a CSV with the columns `file` and `caption`, one row per video."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nas.errors import ConfigError, DataError
from nas.files import inside, read_text

logger = logging.getLogger("nas")

COLUMNS = ("file", "caption")
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm"})
IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})
_OTHERS = {
    "video": (".3g2", ".3gp", ".asf", ".divx", ".f4v", ".flv", ".m2ts", ".m2v", ".mts", ".mxf", ".ogm", ".qt", ".rmvb",
              ".vob", ".wmv", ".y4m"),
    "image": (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".ppm", ".tif", ".tiff"),
}  # fmt: skip
"""Suffixes of other videos and images; such files are reported as left out."""


@dataclass(frozen=True)
class CaptionedFile:
    """One row of a captions file.

    Args:
        name: The video's path below the folder, with forward slashes; the same on every machine.
        caption: One sentence that describes it.
        path: The file.
    """

    name: str
    caption: str
    path: Path


def read_captions(folder: Path, captions: str) -> tuple[CaptionedFile, ...]:
    """Read and check the captions file of a video folder.

    Args:
        folder: The folder of videos; each row's `file` is a path below it.
        captions: The CSV's path below the folder.

    Raises:
        DataError: The folder or the CSV is missing, empty or malformed, or a row cannot be used. The
            message names the file and the row, counting the header as row 1.
    """
    with looking(folder):
        path = captions_path(folder, captions)
    captioned: dict[Path, CaptionedFile] = {}
    for row, (name, caption) in _rows(path):
        where = f"{path}: row {row}"
        with looking(where):
            entry = _checked(folder, name, caption, where)
        if entry.path in captioned:
            what = f"{entry.name} is listed twice"
            raise DataError(what, where=where, hint="remove one of the rows")
        captioned[entry.path] = entry
    if not captioned:
        raise DataError("no rows below the header", where=path, hint="add a row `file,caption` for each video")
    with looking(folder):
        _count_uncaptioned(folder, set(captioned))
    return tuple(captioned.values())


def require_videos(data: Mapping[Any, Any], base: Path) -> None:
    """Look for the folder and the captions file that a `data:` key names; other kinds of clips are looked at later.

    Args:
        data: The key's value, which nothing has checked.
        base: Folder that a relative path starts from.

    Raises:
        DataError: One of them is missing.
    """
    path, captions = data.get("path"), data.get("captions", "captions.csv")
    if data.get("kind") == "videos" and isinstance(path, str) and path and isinstance(captions, str) and captions:
        folder = base / Path(path).expanduser()
        with looking(folder):
            captions_path(folder, captions)


@contextlib.contextmanager
def looking(where: str | Path) -> Iterator[None]:
    """Turn the system's error about a name (too long, no permission, a link to itself) into a `DataError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as problem:
        raise DataError(f"cannot be read: {getattr(problem, 'strerror', None) or problem}", where=where) from problem


def captions_path(folder: Path, captions: str = "captions.csv") -> Path:
    """The captions file of a video folder; raises `DataError` if there is no folder, or no such file in it."""
    if not folder.is_dir():
        raise DataError("no such folder of videos", where=folder)
    if not any(folder.iterdir()):
        raise DataError("the folder is empty", where=folder, hint=f"put videos and their {captions} into it")
    path = _below(folder, captions, str(folder))
    if not path.is_file():
        if any(folder.glob("*.tar")):
            hint = "say `data: {kind: webdataset, path: ...}` in a YAML file, or give the tars as a pattern, e.g. *.tar"
            raise DataError(f"no captions file {captions}, but tars", where=folder, hint=hint)
        hint = "write one with the columns file,caption and a row for each video"
        raise DataError(f"no captions file {captions}", where=folder, hint=hint)
    return path


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Row number, file and caption of each row that is not blank."""
    text = read_text(path, error=DataError).removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        for number, fields in enumerate(reader, start=2):
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(COLUMNS):
                hint = "put captions with commas in double quotes"
                raise DataError(f"{len(fields)} fields, expected 2", where=f"{path}: row {number}", hint=hint)
            row = dict(zip(header, fields, strict=True))
            yield number, (row["file"].strip(), " ".join(row["caption"].split()))
    except csv.Error as problem:
        raise DataError(f"not CSV: {problem}", where=f"{path}: line {reader.line_num}") from problem


def _check_header(header: list[str], path: Path) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in COLUMNS if name not in header]
    if unknown or missing or len(header) != len(COLUMNS):
        faults = [f"unknown column {name!r}" for name in unknown] + [f"no column {name!r}" for name in missing]
        what = ", ".join(faults) or f"columns {', '.join(header)}"
        raise DataError(what, where=f"{path}: row 1", hint="the columns must be file,caption")


def _checked(folder: Path, name: str, caption: str, where: str) -> CaptionedFile:
    if not name:
        raise DataError("no file name", where=where)
    if not caption:
        raise DataError(f"empty caption of {name}", where=where, hint="describe the video in one sentence")
    path = _below(folder, name, where)
    root = folder.resolve()
    listed = path.relative_to(root).as_posix()
    if not path.is_file():
        path = root / _respelt(root, listed, where)
    if not path.is_file():
        raise DataError(f"no such video: {name}", where=where, hint="add the file or remove the row")
    return CaptionedFile(listed, caption, path)


def _respelt(root: Path, name: str, where: str) -> str:
    """A path below `root` as it is spelt on the disk, where accents may be composed differently than in `name`.

    Systems differ: é is one character or two, and both look the same.

    Raises:
        DataError: Several files look like `name`.
    """
    spelt = PurePosixPath()
    for part in PurePosixPath(name).parts:
        alike = [] if part.isascii() or (root / spelt / part).exists() else _looking_like(part, root / spelt)
        if len(alike) > 1:
            what = f"{len(alike)} files look like {name}, which Unicode can spell in several ways"
            raise DataError(what, where=where, hint="rename all but one, or write the name as it is spelt on the disk")
        spelt /= alike[0] if alike else part
        if not (root / spelt).exists():
            break
    return spelt.as_posix()


def _looking_like(name: str, folder: Path) -> list[str]:
    """Names in a folder that differ from `name` only in how accents are composed."""
    wanted = unicodedata.normalize("NFC", name)
    return [path.name for path in folder.iterdir() if unicodedata.normalize("NFC", path.name) == wanted]


def _below(folder: Path, name: str, where: str) -> Path:
    try:
        return inside(folder, name)
    except ConfigError as problem:
        raise DataError(problem.what, where=where, hint=problem.hint) from problem


def _count_uncaptioned(folder: Path, captioned: set[Path]) -> None:
    """Warn about videos in the folder that have no row."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("[!.]*") if path.is_file()}
    extra = sorted(
        name
        for name, path in names.items()
        if kind_of(name) == "video" and not name.startswith(".") and path.resolve() not in captioned
    )
    if extra:
        many = "1 video has no caption and is" if len(extra) == 1 else f"{len(extra)} videos have no caption and are"
        logger.warning("%s: %s left out: %s", folder, many, shortened(extra))


def kind_of(name: str) -> str:
    """`video` or `image` by the suffix of a file, including kinds that are not read; empty for other files."""
    suffix = f".{name.lower().rpartition('.')[2]}"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return next((kind for kind, suffixes in _OTHERS.items() if suffix in suffixes), "")


def shortened(names: list[str], limit: int = 5) -> str:
    """The first few names, and the number of the others. Bytes that are not text are escaped."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) + more).encode("utf-8", "backslashreplace").decode("utf-8")
