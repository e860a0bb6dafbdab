"""An open video: its main stream, the frames with their times, and seeking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

import av
from av.stream import Disposition

from nas.data.videos.media import Media
from nas.data.videos.stream_length import PacketRecord
from nas.errors import DataError
from nas.processors import processors

Shown = tuple[av.VideoFrame, float]
"""A frame, and its time in seconds after the first frame."""

_MOST_THREADS = 16  # FFmpeg advises against more for one video.
_LONGEST_STEP_BACK_S = 0.5
_DEFAULT_BONUS = 5_000_000  # As in FFmpeg's own choice of a stream.
_EARLIER_S = (0.0, 1.0, 4.0, 16.0)
_TIMES_LEFT_OUT = frozenset({"mpeg", "mpegts"})
"""Formats that may leave out the time of a frame: what FFmpeg fills in depends on where reading began."""
_BARE = frozenset({"avs2", "avs3", "cavsvideo", "dirac", "h263", "h264", "hevc", "mjpeg", "obu", "vc1", "vvc"})
"""Streams without a container: FFmpeg always assumes 25 frames per second for them."""


@contextlib.contextmanager
def open_film(media: Media, threads: int | None = None) -> Iterator[Film]:
    """Open a video.

    Args:
        media: A video in any format that FFmpeg reads.
        threads: Threads of the decoder; one for each processor that this process may use if `None`.

    Raises:
        DataError: It is not a video, or is damaged or truncated; also raised while the block reads it.
    """
    try:
        with contextlib.ExitStack() as stack:
            # FFmpeg recognises some formats by the name; `file:` keeps the name from being read as a URL.
            source = stack.enter_context(media.open()) if media.is_part else f"file:{media.path}"
            options = {"protocol_whitelist": "file"}  # A playlist must not make FFmpeg read from the network.
            container = stack.enter_context(av.open(source, "r", options=options, metadata_errors="ignore"))
            stream = best_stream(container, media)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(threads or processors(), _MOST_THREADS)
            yield Film(media, container, stream)
    except (av.FFmpegError, ArithmeticError, LookupError, OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise DataError(f"cannot be decoded: {reason}", where=media.where) from problem


def best_stream(container: av.container.InputContainer, media: Media) -> av.VideoStream:
    """The stream that FFmpeg would show: the largest or the one marked as default, and never an attached picture.

    Raises:
        DataError: There is none.
    """
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        what = "holds a cover picture, but no video stream" if container.streams.video else "holds no video stream"
        raise DataError(what, where=media.where)
    readable = [stream for stream in streams if _codec(stream) is not None]
    if not readable:
        raise DataError("cannot be decoded: this FFmpeg does not know its kind of video", where=media.where)
    return max(readable, key=_score)


def _codec(stream: av.VideoStream) -> av.VideoCodecContext | None:
    """The decoder of a stream, if any; PyAV's annotations leave out that it may be missing."""
    return stream.codec_context


def _score(stream: av.VideoStream) -> int:
    size = stream.codec_context.width * stream.codec_context.height
    return size + _DEFAULT_BONUS * bool(stream.disposition & Disposition.default)


class Film:
    """A video that `open_film` has opened.

    Args:
        media: The video.
        container: The open container.
        stream: The main stream of the container.
    """

    def __init__(self, media: Media, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self._media, self._container, self._stream = media, container, stream
        self._is_bare = container.format.name in _BARE
        rate = stream.codec_context.framerate if self._is_bare else stream.average_rate or stream.guessed_rate
        self._rate = float(rate or 0)
        self._packets = PacketRecord(stream)
        self._decoded = self._decode()
        self._waiting: list[av.VideoFrame] = []
        self._first_s: float | None = None
        self._last_s = 0.0
        self._is_timed = True

    @property
    def pixel_ratio(self) -> float:
        """Width over height of a pixel."""
        return float(self._stream.sample_aspect_ratio or 1)

    def frames(self) -> Iterator[Shown]:
        """The frames in order of presentation, from the first one, or from the frame that `seek` went to.

        Raises:
            DataError: There are no frames, or their times make no sense.
        """
        number = 0
        while self._waiting or (frame := next(self._decoded, None)) is not None:
            frame = self._waiting.pop(0) if self._waiting else cast(av.VideoFrame, frame)
            yield frame, self._time_s(frame, number)
            number += 1
        if self._first_s is None:
            raise DataError("cannot be decoded: holds no frame", where=self._media.where)

    def end_s(self) -> float:
        """When the last frame ends, once all have been read.

        Raises:
            DataError: Frames are missing that the file declares.
        """
        assert self._first_s is not None
        if not self._is_timed:
            return self._last_s + 1 / self._rate
        name = self._container.format.name
        length = self._packets.length(self._media, name, self._first_s, self._last_s)
        if length.is_truncated:
            what = f"truncated: ends after {length.end_s:.1f} s of {length.promised_s:.1f} s"
            raise DataError(what, where=self._media.where)
        return length.end_s

    def seek(self, time_s: float) -> bool:
        """Go to the last key frame at or before a time, so that later frames decode correctly.

        Args:
            time_s: Seconds after the first frame.

        Returns:
            Whether a key frame was found. If not, open the video again and read it from the beginning.
        """
        if self._is_bare or self._container.format.name in _TIMES_LEFT_OUT:
            return False
        first = next(self._decoded, None)
        if first is None or first.pts is None or not self._stream.time_base:
            return False
        self._first_s = first.time
        for earlier_s in _EARLIER_S:
            target_s = time_s + self._first_s - earlier_s
            if target_s <= self._first_s:
                return False
            self._container.seek(int(target_s / self._stream.time_base), stream=self._stream)
            self._decoded, self._packets = self._decode(), PacketRecord(self._stream)
            # Frames that come before a key frame may depend on others that were not decoded.
            frame = next((decoded for decoded in self._decoded if decoded.key_frame), None)
            if frame is not None and frame.pts is not None and frame.time - self._first_s <= time_s:
                self._waiting = [frame]
                return True
        return False

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self._container.demux(self._stream):
            if packet.size:
                self._packets.add(packet)
            yield from packet.decode()

    def _time_s(self, frame: av.VideoFrame, number: int) -> float:
        """When a frame begins, in seconds after the first; by the nominal rate if the file gives no times."""
        self._is_timed = frame.pts is not None and not self._is_bare
        if not self._is_timed and not self._rate:
            hint = "put it into a container such as MP4, with its frame rate"
            raise DataError(
                "cannot be decoded: it has neither times of frames nor a frame rate", where=self._media.where, hint=hint
            )
        stamp_s = frame.time if self._is_timed else number / self._rate
        self._first_s = stamp_s if self._first_s is None else self._first_s
        time_s = stamp_s - self._first_s
        if time_s < self._last_s - _LONGEST_STEP_BACK_S:
            what = f"cannot be decoded: its time goes back from {self._last_s:.1f} s to {time_s:.1f} s"
            raise DataError(what, where=self._media.where, hint="encode it again with continuous time stamps")
        self._last_s = max(time_s, self._last_s)
        return self._last_s
