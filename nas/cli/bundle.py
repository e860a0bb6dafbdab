"""`nas bundle`: what programs need to know that read bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._app import App
from nas.cli._bundle import parity_text
from nas.cli._common import JsonOption, emit_json, emit_table
from nas.cli._paths import READS_BUNDLE, WRITES_FILE
from nas.formatting import counted

app = App(help="Show bundles, and the format of their manifests.", no_args_is_help=True)


@app.command()
def show(
    bundle: Annotated[
        Path, typer.Argument(parser=READS_BUNDLE, metavar="BUNDLE", help="Folder that `nas export` wrote.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check every file of a bundle against its digest, and print its networks with their inputs and outputs."""
    from nas.export import Manifest
    from nas.export.running.integrity import check_files

    manifest = Manifest.load(bundle)
    check_files(bundle, manifest, manifest.files)
    if as_json:
        emit_json(manifest.model_dump(mode="json"))
        return
    rows = [
        {"network": network.path, "size_bytes": network.size_bytes, "precision": network.precision,
         "weights": network.weights,
         "parity": parity_text(network.parity),
         "inputs": ", ".join(map(str, network.inputs)), "outputs": ", ".join(map(str, network.outputs))}
        for network in manifest.networks
    ]  # fmt: skip
    emit_table(f"Bundle {bundle}: {counted(len(manifest.files), 'file')}, all as exported", rows)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(parser=WRITES_FILE, help="File to write to (default: print the schema).")
    ] = None,
) -> None:
    """Print the JSON Schema of a bundle's manifest, for programs that read bundles."""
    from nas.export import json_schema
    from nas.files import write_json

    if out is None:
        emit_json(json_schema())
    else:
        write_json(out, json_schema())
