"""What stands in a tar of samples, as WebDataset has it: files whose names agree up to the first dot belong together.

Nothing is extracted: of each file only its name, its place and its size are taken.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO

from nas.data.captions import VIDEO_SUFFIXES
from nas.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})
_CAPTION_SUFFIXES = frozenset({".json", ".txt"})
_BLOCK = 512
_LONGEST_CAPTION_BYTES = 2**20


@dataclass(frozen=True)
class Member:
    """One file in a tar.

    Args:
        name: Its path.
        offset: Where its bytes begin in the tar.
        size: How many there are.
    """

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """The path up to the first dot of the file's name."""
        path = PurePosixPath(self.name)
        return str(path.with_name(path.name.partition(".")[0] or path.name))

    @property
    def suffix(self) -> str:
        """What follows the first dot of the file's name, with the dot, in small letters."""
        return f".{PurePosixPath(self.name).name.partition('.')[2].lower()}"


@dataclass
class Group:
    """The files of one key, by suffix."""

    members: dict[str, Member] = field(default_factory=dict)
    fault: str = ""

    def add(self, member: Member) -> None:
        """Take one more file in."""
        if member.suffix in self.members:
            self.fault = f"{member.suffix} stands there twice"
        self.members[member.suffix] = member

    def media(self) -> Member:
        """The video, or the image where there is none.

        Raises:
            DataError: There is neither, or several.
        """
        for suffixes in (VIDEO_SUFFIXES, IMAGE_SUFFIXES):
            found = [member for suffix, member in self.members.items() if suffix in suffixes]
            if len(found) > 1:
                raise DataError(f"{found[0].suffix} and {found[1].suffix} of one name")
            if found:
                return found[0]
        raise DataError("neither video nor image")


def read_members(file: BinaryIO) -> Iterator[Member]:
    """The regular files of a tar, in order.

    Args:
        file: The tar, open.

    Raises:
        DataError: It is no tar, compressed, damaged or cut off.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if info.isreg() and not info.issparse():
                    yield Member(info.name, info.offset_data, info.size)
            end = archive.offset
    except (tarfile.TarError, OSError, ValueError) as problem:
        raise DataError(f"is no tar that can be read by offset (compressed ones cannot): {problem}") from problem
    # `tarfile` takes a header that it cannot read for the end, unless it is the first.
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise DataError("is damaged or cut off: after its last file there is no end")


def grouped(members: Iterable[Member]) -> tuple[dict[str, Group], dict[str, str]]:
    """Files that belong together, by key in the order of the first; and files left out, each with the reason."""
    groups: dict[str, Group] = {}
    refused: dict[str, str] = {}
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            refused[member.name] = "its path leaves the tar"
        elif member.suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES | _CAPTION_SUFFIXES:
            groups.setdefault(member.key, Group()).add(member)
    return groups, refused


def read_caption(file: BinaryIO, members: Mapping[str, Member]) -> str:
    """The caption of a group: its `.txt`, or the key `caption` of its `.json`.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    member = members.get(".txt") or members.get(".json")
    if member is None:
        raise DataError("no caption: neither .txt nor .json of its name")
    if member.size > _LONGEST_CAPTION_BYTES:
        raise DataError(f"{member.suffix} of {member.size} bytes is no caption")
    file.seek(member.offset)
    try:
        text = file.read(member.size).decode("utf-8-sig")
        value = text if member.suffix == ".txt" else _caption_of(json.loads(text))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as problem:
        raise DataError(f"{member.suffix} cannot be read: {problem}") from problem
    caption = " ".join(value.split())
    if not caption:
        raise DataError("the caption is empty")
    return caption


def _caption_of(value: object) -> str:
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, str):
        raise DataError(".json has no text under the key caption")
    return caption
