"""Writing a bundle: the folder that a user takes away."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, NasError
from nas.export.parts import ModelPart, model_parts
from nas.export.report import REPORT, BundleReport, ConvertedFile, ParityReport, worst
from nas.files import atomic_folder, check_output_folder, write_json
from nas.models import VideoModel
from nas.models.weights import refuse_non_finite
from nas.progress import progress_bar
from nas.runtimes import Runtime, compare, get_runtime, to_arrays
from nas.runtimes.environment import versions
from nas.runtimes.registry import RUNTIMES

CONVERTERS = {"onnx": "onnxruntime", "coreml": "coreml"}
"""Converted formats and the runtimes that write them."""

FORMATS = ("safetensors", *CONVERTERS)

MIN_PSNR_DB = {"fp32": 80.0, "fp16": 30.0}
"""Below this, a converted network is wrong: rounding alone leaves about 140 dB and 60 dB."""


def export_bundle(
    model: VideoModel,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    latency: Mapping[str, float | int | str | None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> BundleReport:
    """Write a model as a bundle, atomically.

    The folder holds the model's own files, so `VideoModel.load` and `nas generate` accept it. `onnx/` and `coreml/`
    hold the text encoder, the denoising network and the decoder, and `report.json` describes everything. Each converted
    network is compared with torch if its runtime can execute here.

    Args:
        model: The model, on the processor.
        folder: Folder to write. An existing bundle is replaced; any other folder with content is an error.
        formats: Some of `FORMATS`. Without `safetensors`, the model's own files are left out.
        latency: Predicted latency with its provenance, for the report.
        options: Options of the runtimes that convert, e.g. `precision` of Core ML; each goes to those that have it.

    Raises:
        CheckpointError: A weight is NaN or infinite.
        ConfigError: A format is unknown, or no runtime that converts has such an option.
        NasError: A converted network's output is not torch's.
        RuntimeUnavailableError: A converter is missing, or refuses a network.
        StorageError: The folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    _check_formats(formats)
    check_output_folder(folder, "bundle")
    for module in (model.unet, model.text_encoder):
        refuse_non_finite(module, where=f"the model of {model.space.name}")
    runtimes = _converters(formats, options or {})
    parts = model_parts(model)
    with atomic_folder(folder, "bundle") as root, progress_bar("exporting", len(runtimes) * len(parts) + 1) as advance:
        if "safetensors" in formats:
            model.write_files(root)
        advance("weights")
        files = {file.name: file.stat().st_size for file in sorted(root.iterdir())}
        converted = [
            _convert(part, runtime, root, format_, advance) for format_, runtime in runtimes.items() for part in parts
        ]
        report = BundleReport(
            space=model.space.name,
            architecture=model.architecture.id,
            parameters={part.name: part.parameters for part in parts},
            steps=model.generation.steps,
            guidance_scale=model.generation.guidance_scale,
            files=files,
            converted=tuple(converted),
            latency=None if latency is None else dict(latency),
            versions=versions(),
        )
        write_json(root / REPORT, report.model_dump(mode="json"))
    return report


def _convert(
    part: ModelPart, runtime: Runtime, root: Path, format_: str, advance: Callable[[str], None]
) -> ConvertedFile:
    name = f"{format_}/{part.name}{runtime.suffix}"
    path = root / name
    runtime.convert(part.module, part.inputs[0], part.input_names, path)
    parity = _parity(part, runtime, path, name)
    advance(name)
    return ConvertedFile(
        path=name,
        part=part.name,
        runtime=runtime.name,
        precision=runtime.settings.precision,
        opset=runtime.settings.opset,
        size_bytes=_size_bytes(path),
        parity=parity,
    )


def _parity(part: ModelPart, runtime: Runtime, path: Path, name: str) -> ParityReport:
    reason = runtime.unavailable_reason()
    if reason is not None:
        return ParityReport(status=f"not measured: {reason}")
    executable = runtime.load(path)
    parities = [compare(executable.run(to_arrays(inputs)), part.reference(inputs)) for inputs in part.inputs]
    if any(compared.psnr_db == -math.inf for compared in parities):
        raise NasError(
            f"{name} computes NaN or infinity where torch does not, in {runtime.settings.precision}",
            where=type(part.module).__name__,
            hint="leave this format out, or convert in fp32 if it has the option precision",
        )
    parity, least_db = worst(parities), MIN_PSNR_DB[runtime.settings.precision]
    if parity.psnr_db is not None and not parity.psnr_db >= least_db:
        raise NasError(
            f"{name} does not compute what torch does: PSNR {parity.psnr_db:.1f} dB, expected at least {least_db:g}, "
            f"largest difference {parity.max_abs_error:g}",
            where=type(part.module).__name__,
            hint="leave this format out, and report the problem with the architecture.yaml",
        )
    return parity


def _converters(formats: Sequence[str], options: Mapping[str, Any]) -> dict[str, Runtime]:
    """The runtimes that convert to these formats, each with those options that it has."""
    known = {name: RUNTIMES.get(CONVERTERS[name]).Config.model_fields for name in CONVERTERS if name in formats}
    for option in options:
        if not any(option in fields for fields in known.values()):
            names = ", ".join(dict.fromkeys(name for fields in known.values() for name in fields)) or "none"
            raise ConfigError(f"no format to export has an option {option!r} (known: {names})", where="options")
    return {
        name: get_runtime(CONVERTERS[name], **{key: value for key, value in options.items() if key in fields})
        for name, fields in known.items()
    }


def _check_formats(formats: Sequence[str]) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        got = f"unknown format {unknown[0]!r}" if unknown else "no format given"
        raise ConfigError(f"{got} (known: {', '.join(FORMATS)})", where="formats")


def _size_bytes(path: Path) -> int:
    if path.is_file():
        companion = path.with_name(path.name + ".data")
        return path.stat().st_size + (companion.stat().st_size if companion.is_file() else 0)
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
