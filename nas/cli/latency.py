"""`nas latency`: predictions from a latency table, and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._common import JsonOption, SeedOption, SpaceArgument, TableOption, emit_json, emit_table

if TYPE_CHECKING:
    from nas.latency import LatencyPredictor
    from nas.space import Architecture, SearchSpace

app = typer.Typer(help="Predict latencies from a table, and check the predictions.", no_args_is_help=True)


@app.command()
def predict(
    space: SpaceArgument,
    table: TableOption,
    architecture: Annotated[Path | None, typer.Option(help="Architecture (YAML); reference ones if left out.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of one clip.")] = 4,
    json: JsonOption = False,
) -> None:
    """Predict the latency of an architecture, or of the smallest, the fastest, the slowest and uniform ones."""
    from nas.latency import LatencyPredictor, LatencyTable
    from nas.space import SearchSpace

    loaded = SearchSpace.load(space)
    predictor = LatencyPredictor(loaded, LatencyTable.load(table), steps)
    given = {"given": loaded.load_architecture(architecture)} if architecture else _references(loaded, predictor)
    rows = [_prediction(name, item, predictor) for name, item in given.items()]
    metadata = predictor.table.metadata
    if json:
        emit_json({"device": metadata.device, "runtime": metadata.runtime, "steps": steps, "architectures": rows})
        return
    title = f"Predicted from {predictor.table.provenance} blocks: {metadata.device}, {metadata.runtime}, {steps} steps"
    emit_table(title, [{name: value for name, value in row.items() if name != "blocks"} for row in rows])


@app.command()
def check(
    space: SpaceArgument,
    table: TableOption,
    networks: Annotated[int, typer.Option(min=1, help="Networks to measure; random ones after the smallest.")] = 5,
    seed: SeedOption = 0,
    runtime: Annotated[str | None, typer.Option(help="What executes them (default: the table's).")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed calls of each network, at least.")] = 25,
    json: JsonOption = False,
) -> None:
    """Measure whole networks and compare with their predictions."""
    from nas.latency import LatencyTable, check_networks, table_runtime
    from nas.runtimes import get_runtime
    from nas.space import SearchSpace

    loaded, measured = SearchSpace.load(space), LatencyTable.load(table)
    chosen = table_runtime(measured) if runtime in (None, measured.metadata.runtime) else get_runtime(str(runtime))
    report = check_networks(loaded, measured, chosen, some_architectures(loaded, networks, seed), rounds=rounds)
    if json:
        emit_json({"networks": report.rows(), **report.summary()})
        return
    emit_table("Predicted and measured, one call of the denoising network", report.rows())
    emit_table("Summary", [report.summary()])


def _prediction(name: str, architecture: Architecture, predictor: LatencyPredictor) -> dict[str, Any]:
    found = predictor.predict(architecture)
    return {
        "name": name,
        "architecture": architecture.id,
        "text_encoder_ms": found.text_encoder_ms,
        "unet_ms": found.unet_ms,
        "decoder_ms": found.decoder_ms,
        "pipeline_ms": found.pipeline_ms,
        "blocks": found.provenance,
    }


def _references(space: SearchSpace, predictor: LatencyPredictor) -> dict[str, Architecture]:
    names = dict.fromkeys(name for slot in space.slots for name in slot.candidates)
    uniform = {f"all {name}": space.uniform(name) for name in names}
    found = {"smallest": space.smallest(), "fastest": predictor.fastest(), "slowest": predictor.slowest()}
    return found | {name: item for name, item in uniform.items() if item is not None}


def some_architectures(space: SearchSpace, number: int, seed: int) -> list[Architecture]:
    """The smallest architecture, then random ones, all different as far as the space has them."""
    import random

    from nas.files import derive_seed

    rng = random.Random(derive_seed(seed, "latency check"))
    found = dict.fromkeys([space.smallest()])
    while len(found) < min(number, space.count()):
        found[space.sample(rng)] = None
    return list(found)
