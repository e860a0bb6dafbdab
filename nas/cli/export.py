"""`nas export`: write a model as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._bundle import parity_text
from nas.cli._common import JsonOption, emit_json, emit_table
from nas.cli._data import DATA_HELP, open_clips
from nas.cli._paths import READS_CLIPS, READS_MODEL, READS_TABLE, WritesFolder
from nas.cli._runtime import DeploymentTargetOption, given_options

if TYPE_CHECKING:
    from nas.compression import CompressedKind
    from nas.export import HeldOutLoss
    from nas.models import VideoModel


def export(
    model: Annotated[
        Path, typer.Argument(parser=READS_MODEL, metavar="MODEL", help="Model folder, e.g. made by `nas distill`.")
    ],
    out: Annotated[Path, typer.Option(parser=WritesFolder("bundle"), help="Folder to write the bundle to.")],
    formats: Annotated[
        str,
        typer.Option(
            help="Formats to write, separated by commas: safetensors, onnx, coreml, and coreai (for iOS 27; needs the "
            "extra coreai)."
        ),
    ] = "safetensors,onnx,coreml",
    table: Annotated[
        Path | None,
        typer.Option(parser=READS_TABLE, help="Latency table; the manifest then has the predicted latency."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Caption of the test vector, best one like those of the training clips (default: a dog runs along a "
            "beach)."
        ),
    ] = None,
    chunks: Annotated[
        int,
        typer.Option(
            min=1,
            max=2,
            help="Programs that the denoising network is cut into; some phones need two of less than 1 GB.",
        ),
    ] = 1,
    runtime_option: Annotated[
        list[str] | None,
        typer.Option(
            "--runtime-option",
            metavar="KEY=VALUE",
            help="Set an option of the converters, such as opset=21 (ONNX) or precision=fp32 (Core ML, Core AI); "
            "repeat it for each option.",
        ),
    ] = None,
    deployment_target: DeploymentTargetOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Compress the weights of converted networks: int8 (ONNX, Core ML, Core AI), palettized_8, "
            "palettized_6 or palettized_4 (Core ML, Core AI). Default: not compressed.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            parser=READS_CLIPS, help=f"Clips to measure on what --weights cost: the loss on those held out. {DATA_HELP}"
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a model to one folder: weights, converted networks checked against torch, and a manifest for apps.

    With --weights, files of formats that store this kind are compressed, and the manifest says what that costs.
    """
    from nas.export import export_bundle
    from nas.models import VideoModel
    from nas.report.compression import compression_sentence

    kind = _compressed(weights, data)
    loaded = VideoModel.load(model)
    latency = None if table is None else _latency(loaded, table)
    names = [name.strip() for name in formats.split(",") if name.strip()]
    options = given_options(runtime_option, deployment_target=deployment_target, weights=kind)
    manifest = export_bundle(
        loaded,
        out,
        names,
        latency=latency,
        options=options,
        prompt=prompt,
        chunks=2 if chunks == 2 else 1,
        held_out=None if data is None or kind is None else _held_out(loaded, kind, data),
    )
    if json:
        emit_json(manifest.model_dump(mode="json"))
        return
    rows: list[dict[str, Any]] = [
        {"file": item.path, "size_bytes": item.size_bytes, "weights": item.weights,
         "largest_error": item.parity.max_abs_error, "parity": parity_text(item.parity)}
        for item in manifest.networks
    ]  # fmt: skip
    own = {"weights": None, "largest_error": None, "parity": None}
    rows += [{"file": name, "size_bytes": file.size_bytes} | own for name, file in manifest.other_files.items()]
    emit_table(f"Bundle {out}", rows)
    if manifest.compression is not None:
        typer.echo(compression_sentence(manifest.compression))


def _compressed(weights: str | None, data: str | None) -> CompressedKind | None:
    """The kind of compressed weights that is asked for."""
    from nas.compression import COMPRESSED_KINDS, compressed_kind
    from nas.errors import ConfigError

    kind = compressed_kind(weights)
    if weights is not None and kind is None:
        hint = f"give {', '.join(COMPRESSED_KINDS)}, or set the type with --runtime-option precision={weights}"
        raise ConfigError(f"{weights} weights are not compressed", where="--weights", hint=hint)
    if data is not None and kind is None:
        raise ConfigError("--data measures what --weights cost", where="options", hint="give both, or leave it out")
    return kind


def _held_out(model: VideoModel, kind: CompressedKind, data: str) -> HeldOutLoss:
    """What compressed weights cost on held-out clips."""
    from nas.export import HeldOutLoss
    from nas.quality import compressed_loss

    clips = open_clips(data, model.space).validation
    return HeldOutLoss.model_validate(compressed_loss(model, kind, clips)._asdict())


def _latency(model: VideoModel, table: Path) -> dict[str, float | int | str | None]:
    """Predicted latency of one clip; guidance runs the denoising network twice a step."""
    from nas.latency import LatencyPredictor

    calls = model.generation.steps * (1 if model.generation.guidance_scale == 1 else 2)
    return LatencyPredictor.open(model.space, table, calls).predict(model.architecture).to_dict()
