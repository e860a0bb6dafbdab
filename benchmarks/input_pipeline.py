"""The share of a training step that a graphics card would wait for its batch.

    python benchmarks/input_pipeline.py [--clips 64] [--side 64,128] [--batch 4] [--steps 60] [--step-ms 50] [--json]

Makes videos of four seconds, square and twice as large as a clip, and reads clips of 16 frames from them in three ways:
from a folder of videos (decoded once, into a cache), from tars (decoded in each step), and as latents that were encoded
in advance. A step of the device is simulated by sleeping, which takes no processor time. Batches are made in the loop
itself when a step asks for them, by a thread beside it, and by two worker processes. Prints the milliseconds of a batch
when the loop makes it, the share of the time that steps wait in each way, and the seconds until the workers' first
batch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
import numpy as np
import torch

from benchmarks.printing import print_rows
from nas.data import ClipsConfig, LatentsConfig, VideoFolderConfig, WebDatasetConfig
from nas.models import make_text_encoder
from nas.models.parts import unloaded_codec
from nas.space import SearchSpace
from nas.training import EncodingRequest, EncodingSettings, encode_clips, open_clips
from nas.training.engine.prefetch import prefetched
from nas.training.flow.batches import Batch, BatchSource

FPS, FRAMES, SECONDS, TARS = 24, 16, 4, 4
WAYS = ("in the loop", "one thread", "2 workers")
FIRST = 5
"""Batches before the measurement."""

Batches = Callable[[int], Batch]


def space_of(side: int) -> SearchSpace:
    """A search space with clips of this height and width, four of which make up a second."""
    video = {"frames": FRAMES, "height": side, "width": side, "fps": 8}
    backbone = {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [16, 16], "layers_per_block": 1, "norm_num_groups": 8, "cross_attention_dim": 16,
        "attention_head_dim": 2,
    }  # fmt: skip
    text = {"kind": "learned", "tokens": 16, "width": 16, "layers": 1, "heads": 2, "vocabulary": 1024}
    slots = [{"stage": "mid", "candidates": ["none", "conv1d"]}]
    parts = {"codec": {"kind": "space_to_depth", "factor": 8}, "text": text, "backbone": backbone, "slots": slots}
    return SearchSpace.from_dict({"name": "input", "video": video, "prediction": "velocity", **parts})


def make_videos(folder: Path, side: int, clips: int) -> None:
    """Videos of two clips each: in a folder with its captions, and in tars."""
    (folder / "videos").mkdir(parents=True)
    (folder / "tars").mkdir()
    video = _encoded(folder / "made.mp4", 2 * side)
    names = [f"{number:05d}" for number in range(-(-clips // 2))]
    for name in names:
        shutil.copy(video, folder / "videos" / f"{name}.mp4")
        (folder / "made.txt").write_text(f"film {name}", encoding="utf-8")
        with tarfile.open(folder / "tars" / f"{int(name) % TARS}.tar", "a") as archive:
            archive.add(video, f"{name}.mp4")
            archive.add(folder / "made.txt", f"{name}.txt")
    rows = "".join(f"{name}.mp4,film {name}\n" for name in names)
    (folder / "videos" / "captions.csv").write_text(f"file,caption\n{rows}", encoding="utf-8")


def _encoded(path: Path, side: int) -> Path:
    """A film of a moving pattern, with a key frame each second."""
    pattern_HWC = np.random.default_rng(0).integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
    pattern_HWC = pattern_HWC.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": str(FPS)})
        stream.height = stream.width = side
        stream.pix_fmt = "yuv420p"
        for number in range(SECONDS * FPS):
            frame = av.VideoFrame.from_ndarray(np.roll(pattern_HWC, 2 * number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode(folder: Path, space: SearchSpace) -> None:
    """Encode the clips of the tars in advance."""
    (folder / "space.yaml").write_text(json.dumps(space.to_dict()), encoding="utf-8")
    tars = WebDatasetConfig(kind="webdataset", path=str(folder / "tars"))
    settings = EncodingSettings(shard_bytes=64 * 2**20)
    encode_clips(EncodingRequest(folder / "space.yaml", tars, folder, folder / "latents", settings))


def sources(folder: Path, space: SearchSpace, batch: int) -> Iterator[tuple[str, BatchSource]]:
    """What makes the batches of each kind of clips."""
    kinds: dict[str, ClipsConfig] = {
        "folder of videos": VideoFolderConfig(kind="videos", path=str(folder / "videos")),
        "tars": WebDatasetConfig(kind="webdataset", path=str(folder / "tars")),
        "stored latents": LatentsConfig(kind="latents", path=str(folder / "latents")),
    }
    encoder = make_text_encoder(space).without_weights()
    for name, config in kinds.items():
        clips = open_clips(config, space, base="").train
        yield name, BatchSource(clips.latents(unloaded_codec(space)), encoder, batch, 0, 0.1, seed=0)


def made(way: str, source: BatchSource) -> AbstractContextManager[Batches]:
    """Batches that are made in one of `WAYS`; the first two are those of a processor and of a card without workers."""
    if way == WAYS[2]:
        return prefetched(source, torch.device("cpu"), workers=2)
    return prefetched(source, torch.device("cpu" if way == WAYS[0] else "cuda"))


def measure(batches: Batches, steps: int, step_ms: float) -> dict[str, float]:
    """Run simulated steps; returns the share of the time that they waited, and the seconds to the first batch."""
    begun = time.perf_counter()
    batches(0)
    first_s = time.perf_counter() - begun
    waited_s, begun = 0.0, time.perf_counter()
    for number in range(1, FIRST + steps):
        if number == FIRST:
            waited_s, begun = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batches(number)
        waited_s += time.perf_counter() - asked
        time.sleep(step_ms / 1000)
    return {"waiting": waited_s / (time.perf_counter() - begun), "wait_ms": 1000 * waited_s / steps, "first_s": first_s}


def report(side: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each kind of clips of one size."""
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder, space = Path(temporary), space_of(side)
        make_videos(folder, side, options.clips)
        encode(folder, space)
        for name, source in sources(folder, space, options.batch):
            row: dict[str, Any] = {"clips": name, "pixels": f"{FRAMES}x{side}x{side}", "batch": options.batch}
            for way in WAYS:
                with made(way, source) as batches:
                    found = measure(batches, options.steps, options.step_ms)
                if way == WAYS[0]:
                    row["batch_ms"] = round(found["wait_ms"], 1)
                row[f"waiting, {way}"] = f"{found['waiting']:.1%}"
            yield row | {"first_s": round(found["first_s"], 1)}


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=64, help="clips of each kind")
    parser.add_argument("--side", default="64,128", help="heights and widths of clips, in pixels")
    parser.add_argument("--batch", type=int, default=4, help="clips per step")
    parser.add_argument("--steps", type=int, default=60, help="steps that are measured")
    parser.add_argument("--step-ms", type=float, default=50, help="length of a simulated step")
    parser.add_argument("--folder", type=Path, help="folder for the videos (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = [row for side in options.side.split(",") for row in report(int(side), options)]
    print_rows(rows, as_json=options.json)


if __name__ == "__main__":
    main()
