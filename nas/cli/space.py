"""`nas space`: show search spaces, check them, sample architectures from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli._app import App
from nas.cli._common import JsonOption, SeedOption, SpaceArgument, emit_json, emit_table
from nas.cli._paths import READS_FILE, UNSEEN, WritesFile, WritesInto

app = App(help="Show and check search spaces, and sample architectures from them.", no_args_is_help=True)


@app.command()
def show(
    space: SpaceArgument,
    architecture: Annotated[
        list[Path] | None,
        typer.Option(
            parser=READS_FILE, help="Architecture (YAML) whose costs are also shown; repeat it for more architectures."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print stages, slots, candidates, the number of architectures and the costs of the smallest and the largest."""
    from nas.models import space_summary
    from nas.space import SearchSpace

    loaded = SearchSpace.load(space)
    summary = space_summary(loaded, [loaded.load_architecture(path) for path in architecture or ()])
    if as_json:
        emit_json(summary)
    else:
        _print_summary(summary)


@app.command()
def validate(
    spaces: Annotated[list[Path], typer.Argument(parser=UNSEEN, metavar="SPACE...", help="Search spaces (YAML).")],
) -> None:
    """Check search-space files: one line each, exit code 2 if any is wrong."""
    from nas.errors import NasError
    from nas.space import SearchSpace

    failed = False
    for path in spaces:
        try:
            sys.stdout.write(f"{path}: ok, {SearchSpace.load(path).count():,} architectures\n")
        except NasError as error:
            failed = True
            sys.stderr.write(f"error: {error}\n")
    if failed:
        raise typer.Exit(2)


@app.command()
def sample(
    space: SpaceArgument,
    count: Annotated[int, typer.Option(min=1, help="Number of architectures, all different.")] = 1,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(parser=WritesInto("ID.yaml"), help="Folder to write ID.yaml files to (default: print them)."),
    ] = None,
) -> None:
    """Sample random architectures, each equally likely, as YAML."""
    import random

    from nas.space import SearchSpace
    from nas.validation import dump_plain

    drawn = SearchSpace.load(space).sample_distinct(random.Random(seed), count)
    if out is None:
        sys.stdout.write(dump_plain(*(architecture.to_dict() for architecture in drawn)))
        return
    for architecture in drawn:
        architecture.save(out / f"{architecture.id}.yaml")
        sys.stdout.write(f"{out / architecture.id}.yaml\n")


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(parser=WritesFile(), help="File to write (default: print it).")] = None,
) -> None:
    """Print the JSON Schema of search-space files, with which editors complete and check them."""
    from nas.files import write_json
    from nas.space import json_schema

    if out is None:
        emit_json(json_schema())
    else:
        write_json(out, json_schema())


def _print_summary(summary: dict[str, Any]) -> None:
    video, latent = summary["video"], "x".join(map(str, summary["latent_shape"]))
    facts = {
        "video": f"{video['frames']} frames of {video['height']}x{video['width']} at {video['fps']:g} fps",
        "latent (T x C x H x W)": latent,
        "stages": ", ".join(f"{stage['stage']} ({stage['positions']})" for stage in summary["stages"]),
        "slots": len(summary["slots"]),
        "architectures": summary["architectures"],
        "parameters": "{:,} to {:,}".format(*summary["parameters"]),
    }
    facts |= {f"budget of {name}": limit for name, limit in summary["budgets"].items() if limit is not None}
    emit_table(
        summary["name"],
        [{"": name, " ": f"{fact:,}" if isinstance(fact, int) else fact} for name, fact in facts.items()],
    )
    emit_table(
        "slots, with the parameters of each candidate",
        [{"slot": slot["slot"], "candidates": _counts(slot["candidates"])} for slot in summary["slots"]],
    )
    names = {"parameters": "parameters", "macs": "MACs", "peak_activation_bytes": "peak activations (bytes)"}
    counted = [("fewest parameters", summary["smallest"]), ("most parameters", summary["largest"])]
    counted += [("chosen", costs) for costs in summary["chosen"]]
    emit_table(
        "one call of the denoising network, counted",
        [
            {"architecture": which, "id": costs["id"]} | {title: costs[name] for name, title in names.items()}
            for which, costs in counted
        ],
    )
    parts = {name.replace("_", " "): costs for name, costs in summary["pipeline"].items()}
    emit_table(
        "once per clip, counted",
        [{"part": part, "parameters": costs["parameters"], "MACs": costs["macs"]} for part, costs in parts.items()],
    )


def _counts(candidates: dict[str, int]) -> str:
    return ", ".join(f"{name} {parameters:,}" if parameters else name for name, parameters in candidates.items())
