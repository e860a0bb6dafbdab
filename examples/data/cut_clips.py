"""Cut the bundled clips out of the two Big Buck Bunny files that they come from.

    python examples/data/cut_clips.py FOLDER_OF_SOURCES

reads `cuts.csv` beside this script and writes `big_buck_bunny/*.mp4`. A row says which frames of which source
are kept (those shown from `start_s` on, for `seconds`), and which box of the picture (`left`, `top` and
`width` in pixels; the height follows from 16:9). No row may hold a cut between two shots.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import torch
import torch.nn.functional as F
import typer

from nas.data import write_mp4
from nas.errors import DataError

HERE = Path(__file__).resolve().parent
HEIGHT, WIDTH = 144, 256
CRF = 18
CUT_LEVEL = 45.0  # Mean change per pixel from frame to frame, out of 255; cuts are above, fast motion below.


@dataclass(frozen=True)
class Cut:
    """One row of the cut list; times in seconds, the box in pixels of the source."""

    file: str
    source: str
    start_s: float
    seconds: float
    left: int
    top: int
    width: int

    @property
    def height(self) -> int:
        """Height of the box at 16:9."""
        return round(self.width * HEIGHT / WIDTH)


def read_cuts(path: Path) -> list[Cut]:
    """Read the cut list."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Cut(
                row["file"],
                row["source"],
                float(row["start_s"]),
                float(row["seconds"]),
                int(row["left"]),
                int(row["top"]),
                int(row["width"]),
            )
            for row in csv.DictReader(file)
        ]


def cut_clip(cut: Cut, source: Path) -> tuple[torch.Tensor, float]:
    """The frames of one cut, `video_TCHW` uint8, and the source's frames per second."""
    frames: list[torch.Tensor] = []
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        fps = float(stream.average_rate or 24)
        container.seek(round(cut.start_s * av.time_base), backward=True)
        for frame in container.decode(stream):
            if frame.time >= cut.start_s + cut.seconds - 0.5 / fps:
                break
            if frame.time >= cut.start_s - 0.5 / fps:
                frames.append(boxed(frame, cut))
    return torch.stack(frames), fps


def boxed(frame: av.VideoFrame, cut: Cut) -> torch.Tensor:
    """The cut's box of one frame, resized."""
    rgb_HWC = frame.to_ndarray(format="rgb24")[cut.top : cut.top + cut.height, cut.left : cut.left + cut.width]
    rgb_1CHW = torch.from_numpy(np.ascontiguousarray(rgb_HWC)).permute(2, 0, 1)[None]
    return F.interpolate(rgb_1CHW, size=(HEIGHT, WIDTH), mode="bilinear", antialias=True)[0]


def check_one_shot(cut: Cut, video_TCHW: torch.Tensor) -> None:
    """Refuse a clip in which the picture changes at once."""
    change = video_TCHW.float().diff(dim=0).abs().mean(dim=(1, 2, 3))
    if float(change.max()) > CUT_LEVEL:
        raise DataError(f"{cut.file}: a cut after frame {int(change.argmax())}", where=HERE / "cuts.csv")


def main(
    sources: Annotated[Path, typer.Argument(help="Folder with trailer_bbb.mp4 and bigbuckbunny.mp4.")],
    out: Annotated[Path, typer.Option(help="Folder to write the clips to.")] = HERE / "big_buck_bunny",
) -> None:
    """Cut every clip of the list."""
    for cut in read_cuts(HERE / "cuts.csv"):
        video_TCHW, fps = cut_clip(cut, sources / cut.source)
        check_one_shot(cut, video_TCHW)
        write_mp4(video_TCHW, out / cut.file, fps, crf=CRF)
        size_bytes = (out / cut.file).stat().st_size
        typer.echo(f"{cut.file}: {len(video_TCHW)} frames at {fps:g} per second, {size_bytes} bytes")


if __name__ == "__main__":
    typer.run(main)
