"""The samples of a tar, by the rule of WebDataset: files whose names agree up to the first dot belong together.

Names with more dots, such as `clip_1.0.mp4`, are common nevertheless. If no video or image has the plain name, files
that agree up to the last dot belong together.

Nothing is extracted: only the name, place and size of each file are read.
"""

from __future__ import annotations

import json
import tarfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import BinaryIO

from nas.data.videos.captions import IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of
from nas.errors import DataError

_CAPTION_SUFFIXES = frozenset({".json", ".txt"})
_MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
_KNOWN_SUFFIXES = _MEDIA_SUFFIXES | _CAPTION_SUFFIXES
_BLOCK = 512
_LONGEST_CAPTION_BYTES = 2**20


@dataclass(frozen=True)
class Member:
    """One file in a tar.

    Args:
        name: Its path.
        offset: Position of its first byte in the tar.
        size: Number of bytes.
    """

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """The path up to the first dot of the file's name."""
        return self._key(self._body.partition(".")[0])

    @property
    def suffix(self) -> str:
        """The file's name from the first dot on, in lower case; empty without a dot."""
        _, dot, rest = self._body.partition(".")
        return f"{dot}{rest}".lower()

    @property
    def last_key(self) -> str:
        """The path up to the last dot of the file's name."""
        return self._key(self._body.rpartition(".")[0])

    @property
    def last_suffix(self) -> str:
        """The file's name from the last dot on, in lower case; empty without a dot."""
        _, dot, rest = self._body.rpartition(".")
        return f"{dot}{rest}".lower() if dot else ""

    @property
    def _body(self) -> str:
        """The file's name without leading dots."""
        return PurePosixPath(self.name).name.lstrip(".")

    def _key(self, stem: str) -> str:
        path = str(PurePosixPath(self.name))
        # Systems write an accent as a separate character or as a part of the letter; the name is the same.
        return unicodedata.normalize("NFC", path.removesuffix(self._body) + (stem or self._body))


@dataclass
class Group:
    """The files of one key, by suffix."""

    members: dict[str, Member] = field(default_factory=dict)
    fault: str = ""

    def add(self, suffix: str, member: Member) -> None:
        """Add a file."""
        if suffix in self.members:
            self.fault = f"{suffix} occurs twice"
        self.members[suffix] = member

    @property
    def has_media(self) -> bool:
        """Whether there is a video or an image."""
        return not _MEDIA_SUFFIXES.isdisjoint(self.members)

    def media(self) -> Member:
        """The video, or the image if there is no video.

        Raises:
            DataError: There is neither, or more than one.
        """
        for suffixes in (VIDEO_SUFFIXES, IMAGE_SUFFIXES):
            media = [member for suffix, member in self.members.items() if suffix in suffixes]
            if len(media) > 1:
                raise DataError(f"{media[0].suffix} and {media[1].suffix} of one name")
            if media:
                return media[0]
        raise DataError(f"neither video nor image, but {' and '.join(self.members)}")


def read_members(file: BinaryIO) -> Iterator[Member]:
    """The files of a tar, in order. A hard link counts as the file that it points to.

    Args:
        file: The tar, open.

    Yields:
        Each file. `size` is -1 if its bytes are not one piece of the tar: links, sparse files, devices.

    Raises:
        DataError: It is not a tar, or it is compressed, damaged or truncated.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            members: dict[str, Member] = {}
            for info in archive:
                if not info.isdir():
                    members[info.name] = _member(info, members)
                    yield members[info.name]
            end = archive.offset
    except (tarfile.TarError, ArithmeticError, LookupError, OSError, ValueError) as problem:
        raise DataError(f"is not a tar that can be read by offset (compressed ones cannot): {problem}") from problem
    # `tarfile` treats an unreadable header as the end, unless it is the first.
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise DataError("is damaged or truncated: there is no end mark after its last file")


def _member(info: tarfile.TarInfo, before: Mapping[str, Member]) -> Member:
    if info.islnk() and info.linkname in before:
        return replace(before[info.linkname], name=info.name)
    whole = info.isreg() and not info.issparse()
    return Member(info.name, info.offset_data, info.size if whole else -1)


def grouped(members: Iterable[Member]) -> tuple[dict[str, Group], dict[str, str]]:
    """Files that belong together, by key in the order of the first file; and files left out, each with the reason.

    Files beside a video or an image that are not used (`clip.seg.png`, `clip.cls`) are in neither.
    """
    names: dict[str, list[Member]] = {}
    refused: dict[str, str] = {}
    for member in members:
        reason = _refusal(member)
        if reason:
            refused[shown(member.name)] = reason
        elif member.last_suffix in _KNOWN_SUFFIXES and not _is_resource_fork(member):
            names.setdefault(member.key, []).append(member)
    groups: dict[str, Group] = {}
    for key, alike in names.items():
        groups |= _by_key(key, alike)
    return groups, refused


def _refusal(member: Member) -> str:
    """Why a file cannot be used, by its name and kind; empty if it can, or if it is ignored."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        return "its path leaves the tar"
    if _is_resource_fork(member):
        return ""
    known = member.last_suffix in _KNOWN_SUFFIXES
    if known and not _is_text(member.name):
        return "its name is not UTF-8"
    if known and member.size < 0:
        return "is a link or sparse, its bytes are not in the tar"
    if not known and kind_of(member.name) in {"video", "image"}:
        return f"{member.last_suffix} files are not read" if member.last_suffix else "its name is only a suffix"
    return ""


def _by_key(key: str, members: Sequence[Member]) -> dict[str, Group]:
    """The groups among files that agree up to the first dot: one, or those that agree up to the last dot."""
    plain, longer = Group(), dict[str, Group]()
    for member in members:
        if member.suffix in _KNOWN_SUFFIXES:
            plain.add(member.suffix, member)
        else:
            longer.setdefault(member.last_key, Group()).add(member.last_suffix, member)
    if plain.has_media:
        return {key: plain}
    with_media = {name: group for name, group in longer.items() if group.has_media}
    return ({key: plain} if plain.members else {}) | (with_media or ({} if plain.members else longer))


def _is_resource_fork(member: Member) -> bool:
    """Whether it is an extra file that macOS puts beside another one into a tar."""
    return PurePosixPath(member.name).name.startswith("._")


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def shown(name: str) -> str:
    """A name for people and for JSON; bytes that are not text are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_caption(file: BinaryIO, members: Mapping[str, Member]) -> str:
    """The caption of a group: its `.txt`, or the key `caption` of its `.json`.

    Raises:
        DataError: There is no caption, or it cannot be read.
    """
    member = members.get(".txt") or members.get(".json")
    if member is None:
        raise DataError("no caption: there is neither a .txt nor a .json of its name")
    if member.size > _LONGEST_CAPTION_BYTES:
        raise DataError(f"{member.last_suffix} of {member.size} bytes is too long for a caption")
    file.seek(member.offset)
    try:
        text = file.read(member.size).decode("utf-8-sig")
        value = text if member.last_suffix == ".txt" else _caption_of(json.loads(text))
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{member.last_suffix} cannot be read: {problem}") from problem
    caption = " ".join(value.split())
    if not caption:
        raise DataError("the caption is empty")
    if not _is_text(caption):
        raise DataError(f"{member.last_suffix} contains half of a character")
    return caption


def _caption_of(value: object) -> str:
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, str):
        raise DataError(".json has no text under the key caption")
    return caption
