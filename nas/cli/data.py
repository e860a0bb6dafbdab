"""`nas data`: look at the clips a model would be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._data import DataOption, open_clips

app = typer.Typer(help="Look at training clips, and decode them beforehand.", no_args_is_help=True)


@app.command()
def show(space: SpaceArgument, data: DataOption, as_json: JsonOption = False) -> None:
    """Decode the clips (cached for later runs) and count what is there."""
    from nas.space import SearchSpace

    clips = open_clips(data, SearchSpace.load(space))
    rows = [
        {"split": name, "clips": len(part), "captions": len(set(part.captions)), "first caption": part.captions[0]}
        for name, part in (("train", clips.train), ("validation", clips.validation))
    ]
    if as_json:
        emit_json(rows)
    else:
        emit_table(data, rows)


@app.command()
def sample(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for the clips.")],
    count: Annotated[int, typer.Option(min=1, help="How many training clips to write.")] = 8,
) -> None:
    """Write clips as the model sees them: MP4, and a strip of frames."""
    from nas.data import frame_strip, write_mp4
    from nas.space import SearchSpace

    clips = open_clips(data, SearchSpace.load(space)).train
    for index in range(min(count, len(clips))):
        clip = clips[index]
        write_mp4(clip.video_TCHW, out / f"{index:02d}.mp4", clips.shape.fps)
        frame_strip(clip.video_TCHW, out / f"{index:02d}.png")
    rows = [{"clip": f"{index:02d}", "caption": clips.captions[index]} for index in range(min(count, len(clips)))]
    emit_table(str(out), rows)
