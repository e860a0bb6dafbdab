"""The length of a video stream, from its packets and its container, and whether the stream is truncated."""

from __future__ import annotations

import re
from typing import NamedTuple, cast

import av
from av.container import InputContainer

from nas.data.videos.media import Media

LOST_SHARE = 0.1
"""A file that ends this much earlier than it says is truncated."""

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


class Length(NamedTuple):
    """The length of a stream, in seconds after its first frame.

    Args:
        end_s: When its last frame ends.
        promised_s: When it would end if nothing were lost.
    """

    end_s: float
    promised_s: float

    @property
    def is_truncated(self) -> bool:
        """Whether a large part is lost."""
        return self.end_s < (1 - LOST_SHARE) * self.promised_s


class PacketRecord:
    """The length of a stream according to its packets.

    The duration of a packet is that of its frame on the screen, unless packets are in another order than frames. Then
    it is the time to the next packet, which differs if frames have unequal durations.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._stream = stream
        self._count = 0
        self._reordered = False
        self._last_pts: int | None = None
        self._last_duration = 0

    def add(self, packet: av.Packet[av.VideoStream]) -> None:
        """Record one more packet, but no empty one that flushes a decoder."""
        self._count += 1
        if packet.pts is None or getattr(packet, "is_discard", False):
            return
        if self._last_pts is not None and packet.pts < self._last_pts:
            self._reordered = True
            return
        self._last_pts, self._last_duration = packet.pts, packet.duration or 0

    def length(self, media: Media, container_name: str, first_s: float, last_s: float) -> Length:
        """The length, once all packets have been read.

        Args:
            media: The source of the packets.
            container_name: FFmpeg's name of the format.
            first_s: Time stamp of the first frame.
            last_s: When the last frame begins, after the first.
        """
        own_s = max(self._end_s(first_s), last_s + 1e-3)
        promised_s = promised_seconds(self._stream)
        declared, size = declared_bytes(media) if container_name in {"asf", "avi"} else (0, 0)
        if container_name == "asf" and size < declared:  # FFmpeg then ignores its header.
            promised_s = own_s * declared / size
        if promised_s <= last_s:
            return Length(own_s, promised_s)
        if self._has_all(container_name) or 0 < declared <= size:
            return Length(promised_s if self._reordered else max(own_s, promised_s), promised_s)
        return Length(min(own_s, promised_s) if self._reordered else own_s, promised_s)

    def _end_s(self, first_s: float) -> float:
        """When the last packet's frame ends, by its own duration, or else by the nominal rate."""
        time_base, rate = self._stream.time_base, self._stream.average_rate or self._stream.guessed_rate
        if self._last_pts is None or time_base is None:
            return 0.0
        step_s = float(self._last_duration * time_base) or (1 / float(rate) if rate else 0.0)
        return float(self._last_pts * time_base) + step_s - first_s

    def _has_all(self, container_name: str) -> bool:
        """Whether all frames have been read that the file lists, so that what it says of its length holds."""
        return container_name.startswith("mov") and 0 < self._stream.frames <= self._count


def promised_seconds(stream: av.VideoStream) -> float:
    """How long the container says that a stream is; 0 where it does not say."""
    container = cast(InputContainer, stream.container)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if "matroska" not in container.format.name:
        return 0.0  # Elsewhere, FFmpeg may have guessed it from size and bit rate.
    start_s = float((stream.start_time or 0) * (stream.time_base or 0))
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds - start_s
    if len(container.streams) > 1 or not container.duration:
        return 0.0
    return container.duration / av.time_base - start_s


def declared_bytes(media: Media) -> tuple[int, int]:
    """The declared size of an AVI or ASF file, 0 if it declares none; and its actual size."""
    head, size = media.begins_with()
    if head.startswith(b"RIFF"):
        return 8 + int.from_bytes(head[4:8], "little"), size
    place = head.find(_ASF_FILE_PROPERTIES)
    return (int.from_bytes(head[place + 40 : place + 48], "little") if place >= 0 else 0), size
