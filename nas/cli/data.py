"""`nas data`: inspect training clips, and encode them in advance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._app import App
from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._data import DataOption, open_clips
from nas.cli._data_file import data_file
from nas.cli._paths import WritesFolder, WritesInto

app = App(help="Inspect training clips, and encode them in advance.", no_args_is_help=True)


@app.command()
def show(space: SpaceArgument, data: DataOption, as_json: JsonOption = False) -> None:
    """Open the clips and count them by size. Decoded clips are kept for later runs."""
    from nas.models.parts import unloaded_codec
    from nas.space import SearchSpace

    loaded = SearchSpace.load(space)
    clips = open_clips(data, loaded)
    sides = {"train": clips.train, "validation": clips.validation}
    rows = [
        {
            "split": name,
            "size": source.size.text,
            "clips": len(source),
            "captions": len(set(source.captions)),
            "first caption": source.captions[0],
        }
        for name, side in sides.items()
        for source in (side.latents(unloaded_codec(loaded)) if len(side) else ())
    ]
    if as_json:
        emit_json(rows)
    else:
        emit_table(data, rows)


@app.command()
def sample(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option(parser=WritesFolder("sample"), help="Folder to write the clips to.")],
    count: Annotated[int, typer.Option(min=1, help="Number of training clips to write.")] = 8,
) -> None:
    """Write clips as the model sees them, encoded and decoded again: MP4, and a strip of frames."""
    from nas.data import frame_strip, to_bytes, write_mp4
    from nas.files import atomic_folder
    from nas.models import make_codec
    from nas.space import SearchSpace

    loaded = SearchSpace.load(space)
    codec, fps = make_codec(loaded), loaded.file.video.fps
    sources = open_clips(data, loaded).train.latents(codec)
    chosen = [(source, index) for source in sources for index in range(min(count, len(source)))]
    rows = []
    with atomic_folder(out, "sample") as folder:
        for number, (source, index) in enumerate(chosen):
            video_TCHW = to_bytes(codec.decode(source.videos([index]))[0])
            write_mp4(video_TCHW, folder / f"{number:02d}.mp4", fps)
            frame_strip(video_TCHW, folder / f"{number:02d}.png")
            rows.append({"clip": f"{number:02d}", "size": source.size.text, "caption": source.captions[index]})
    emit_table(str(out), rows)


@app.command()
def encode(
    space: SpaceArgument,
    data: DataOption,
    out: Annotated[
        Path, typer.Option(parser=WritesInto(), help="Folder to write the shards to; an interrupted run resumes there.")
    ],
    split: Annotated[str, typer.Option(help="Clips to encode: train, validation (held out), or all.")] = "all",
    workers: Annotated[int, typer.Option(min=1, max=256, help="Number of processes on this machine.")] = 1,
    dtype: Annotated[
        str,
        typer.Option(help="Type of the stored numbers: float16, bfloat16 (wider range, coarser), or float32 (exact)."),
    ] = "float16",
    shard_mib: Annotated[float, typer.Option(min=0.001, help="Size of a shard in MiB.")] = 64,
    validation_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the files to hold out (default: the share in the file of --data, or 0.1)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Encode clips to latents in advance, and captions if the text encoder is frozen.

    The same command can run on several machines that share the folder; they divide the work.
    """
    from nas.files import parse
    from nas.training import EncodingRequest, EncodingSettings, encode_clips

    file, base = data_file(data)
    given = {
        "split": split,
        "dtype": dtype,
        "shard_bytes": int(shard_mib * 2**20),
        "validation_fraction": file.validation_fraction if validation_fraction is None else validation_fraction,
    }
    request = EncodingRequest(space, file.data, base, out, parse(given, EncodingSettings, where="options"))
    index = encode_clips(request, workers=workers)
    row = {
        "made": str(out / "data.yaml"),
        "clips": sum(len(part.clips) for part in index.manifest.parts),
        "captions": len(index.manifest.distinct_captions) - 1,
        "shards": len(index.digests),
        "dtype": dtype,
    }
    if as_json:
        emit_json(row)
    else:
        emit_table("encoded", [row])
