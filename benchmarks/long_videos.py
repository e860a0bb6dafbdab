"""The cost of long videos: memory of decoding a folder, and of reading a few clips from a tar.

    python benchmarks/long_videos.py [--minutes 20] [--folder DIR]

Makes a video of --minutes minutes of 256x256 at 24 frames per second in a folder, and a tar of two videos of a quarter
of that length, each with a key frame every ten seconds, as libx264 sets them. Prints one row per task as CSV: its
seconds, and its memory without that of Python and the libraries.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from nas.data import ClipShape, VideoDataset
from nas.data.tars.dataset import TarDataset, open_tars

FPS, SIDE = 24, 256
SHAPE = ClipShape(frames=16, height=SIDE, width=SIDE, fps=16)
MIB = 2**20


def make_video(path: Path, minutes: float) -> None:
    """A video of moving stripes; quick to encode."""
    noise_HWC = np.random.default_rng(0).integers(0, 255, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    noise_HWC = noise_HWC.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "240"})
        stream.height = stream.width = SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(round(minutes * 60 * FPS)):
            frame = av.VideoFrame.from_ndarray(np.roll(noise_HWC, 2 * number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_folder(folder: Path, minutes: float) -> None:
    """A folder of one long video, and one of a tar with two videos of a quarter of its length."""
    (folder / "videos").mkdir(parents=True)
    (folder / "tars").mkdir()
    make_video(folder / "videos" / "long.mp4", minutes)
    (folder / "videos" / "captions.csv").write_text("file,caption\nlong.mp4,stripes\n", encoding="utf-8")
    make_video(folder / "part.mp4", minutes / 4)
    with tarfile.open(folder / "tars" / "two.tar", "w") as archive:
        for name in ("a", "b"):
            archive.add(folder / "part.mp4", f"{name}.mp4")
            info = tarfile.TarInfo(f"{name}.txt")
            info.size = 7
            archive.addfile(info, io.BytesIO(b"stripes"))


def decode_folder(folder: Path) -> Callable[[], int]:
    """Decode the long video into the cache."""
    return lambda: len(VideoDataset.open(folder / "videos", SHAPE))


def index_tar(folder: Path) -> Callable[[], int]:
    """Index the tar."""
    return lambda: len(_tars(folder))


def read_batch(folder: Path) -> Callable[[], int]:
    """Read four clips from the middles and the ends of both videos of the tar."""
    clips = _tars(folder)
    half = len(clips) // 2
    return lambda: len(clips.batch([half // 2, half - 1, half + half // 2, 2 * half - 1])[0])


def read_all(folder: Path) -> Callable[[], int]:
    """Read all clips of the tar in order."""
    clips = _tars(folder)
    return lambda: sum(1 for _ in clips)


def _tars(folder: Path) -> TarDataset:
    clips = open_tars(folder / "tars", SHAPE, (SHAPE.size,), window=1)
    assert isinstance(clips, TarDataset)
    return clips


TASKS: dict[str, Callable[[Path], Callable[[], int]]] = {
    "decode folder": decode_folder, "index tar": index_tar, "batch of 4": read_batch, "read tar in order": read_all,
}  # fmt: skip


def run(name: str, folder: Path) -> dict[str, Any]:
    """Run a task in its own process, so that its peak memory is that of the task."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (name, folder))


def _measured(name: str, folder: Path) -> dict[str, Any]:
    task = TASKS[name](folder)
    before, start = _peak_bytes(), time.monotonic()
    clips = task()
    seconds = time.monotonic() - start
    return {"task": name, "clips": clips, "seconds": f"{seconds:.2f}", "memory_mib": (_peak_bytes() - before) // MIB}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Make the videos and run all tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="length of the video in the folder")
    parser.add_argument("--folder", type=Path, help="folder for the videos (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        make_folder(folder, options.minutes)
        writer = csv.DictWriter(sys.stdout, ["task", "clips", "seconds", "memory_mib"])
        writer.writeheader()
        for name in TASKS:
            writer.writerow(run(name, folder))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
