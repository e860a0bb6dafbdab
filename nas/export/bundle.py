"""Writing a bundle: the folder that a user takes away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nas.compression import CompressedKind, compressed_kind
from nas.errors import ConfigError
from nas.export.compressing import compressed_parts, cost_of_compression, kind_of
from nas.export.integrity import bundled_files
from nas.export.licences import bundle_licences
from nas.export.manifest import MANIFEST, Clip, HeldOutLoss, Latent, Manifest, Network, ParityReport
from nas.export.parity import measured_parity
from nas.export.parts import ModelPart, model_parts
from nas.export.programs import Program, Programs
from nas.export.reference import ReferenceClip
from nas.export.sampler import Sampler
from nas.export.tokenizers import describe_tokenizer
from nas.files import atomic_folder, check_output_folder, write_json
from nas.models import VideoModel
from nas.models.weights import refuse_non_finite
from nas.progress import progress_bar
from nas.runtimes import Runtime, get_runtime
from nas.runtimes.environment import versions
from nas.runtimes.registry import RUNTIMES

CONVERTERS = {"onnx": "onnxruntime", "coreml": "coreml", "coreai": "coreai"}
"""Converted formats and the runtimes that write them."""

FORMATS = ("safetensors", *CONVERTERS)

DEFAULT_FORMATS = ("safetensors", "onnx", "coreml")
"""All but those whose converter is in an extra."""


def export_bundle(
    model: VideoModel,
    folder: str | Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    latency: Mapping[str, float | int | str | None] | None = None,
    options: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    chunks: Literal[1, 2] = 1,
    held_out: HeldOutLoss | None = None,
) -> Manifest:
    """Write a model as a bundle, atomically.

    The folder holds the model's own files, so `VideoModel.load` and `nas generate` accept it. `onnx/`, `coreml/` and
    `coreai/` hold the text encoder, the denoising network and the decoder. `manifest.json` says all that a program
    needs to make clips with them, and `test_vector.safetensors` holds a clip to compare with. Each converted network is
    compared with torch, with the same weights, if its runtime can execute here. With compressed weights, the manifest
    also says what they cost.

    Args:
        model: The model, on the processor.
        folder: Folder to write. An existing bundle is replaced; any other folder with content is an error.
        formats: Some of `FORMATS`. Without `safetensors`, the model's own files are left out.
        latency: Predicted latency with its provenance, for the manifest.
        options: Options of the runtimes that convert, e.g. `precision` of Core ML; each goes to those that have it,
            and a kind of `weights` to those that store it.
        prompt: Caption of the test vector. Take one like those of the training clips: a model that has never seen the
            words may amplify rounding errors from step to step.
        chunks: Programs that the denoising network is cut into, see `nas.export.chunks`.
        held_out: What compressed weights cost on held-out clips, for the manifest.

    Raises:
        CheckpointError: A weight is NaN or infinite.
        ConfigError: A format is unknown, no runtime that converts has such an option, the prompt is too long, or two
            programs cannot hold the network.
        NasError: A converted network's output is not torch's.
        RuntimeUnavailableError: A converter is missing, or refuses a network.
        StorageError: The folder holds something else, or cannot be written.
        TrainingError: The model's own clip is not finite.
    """
    folder = Path(folder)
    _check_formats(formats)
    check_output_folder(folder, "bundle")
    for module in (model.unet, model.text_encoder):
        refuse_non_finite(module, where=f"the model of {model.space.name}")
    runtimes = _converters(formats, options or {})
    clip = ReferenceClip.make(model, prompt)
    parts = model_parts(model, clip)
    kind = kind_of(runtimes)
    twins = parts if kind is None else compressed_parts(model, clip, parts, kind)
    files = len(parts) + chunks - 1
    with atomic_folder(folder, "bundle") as root, progress_bar("exporting", len(runtimes) * files + 1) as advance:
        if "safetensors" in formats:
            model.write_files(root)
        advance("weights")
        networks = [
            network
            for format_, runtime in runtimes.items()
            for programs, reference in _programs(parts, twins, runtime, chunks)
            for network in _convert(programs, runtime, root, format_, advance, reference)
        ]
        video = model.space.file.video
        manifest = Manifest(
            space=model.space.name,
            architecture=model.architecture.id,
            parameters={part.name: part.parameters for part in parts},
            clip=Clip(frames=video.frames, height=video.height, width=video.width, fps=video.fps),
            latent=Latent(shape=(1, *model.space.latent_shape)),
            tokenizer=describe_tokenizer(model.text_encoder, root),
            sampler=Sampler.of(model.generation),
            networks=tuple(networks),
            compression=None if kind is None else cost_of_compression(kind, parts, twins, held_out),
            latency=None if latency is None else dict(latency),
            test_vector=clip.write(root) if networks else None,
            licences=bundle_licences(model.space, root),
            files=dict(bundled_files(root)),
            versions=versions(),
        )
        write_json(root / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _programs(
    parts: Sequence[ModelPart], twins: Sequence[ModelPart], runtime: Runtime, chunks: Literal[1, 2]
) -> list[tuple[Programs, Programs]]:
    """The programs of each network for a runtime, and those with the weights that its files hold.

    The denoising network is the one to cut.
    """
    kind = runtime.settings.weights

    def programs(part: ModelPart) -> Programs:
        return Programs.in_two(part, kind) if chunks == 2 and part.name == "unet" else Programs.whole(part)

    made = [programs(part) for part in parts]
    same = compressed_kind(kind) is None
    return [(own, own if same else programs(twin)) for own, twin in zip(made, twins, strict=True)]


def _convert(
    programs: Programs,
    runtime: Runtime,
    root: Path,
    format_: str,
    advance: Callable[[str], None],
    reference: Programs,
) -> list[Network]:
    """Convert the programs of a network, and compare them with torch."""
    names = [f"{format_}/{program.name}{runtime.suffix}" for program in programs.programs]
    for program, name in zip(programs.programs, names, strict=True):
        example = [programs.values[0][value] for value in program.inputs]
        runtime.convert(program.module, example, program.inputs, root / name)
        advance(name)
    parities = measured_parity(programs, runtime, [root / name for name in names], reference)
    described = zip(programs.programs, names, parities, strict=True)
    return [
        _network(programs, program, runtime, root / name, name=name, parity=parity)
        for program, name, parity in described
    ]


def _network(
    programs: Programs, program: Program, runtime: Runtime, path: Path, *, name: str, parity: ParityReport
) -> Network:
    """The manifest's entry of a converted program."""
    signature = runtime.signature(path) or programs.signature(program)
    return Network(
        path=name,
        part=programs.part.name,
        runtime=runtime.name,
        precision=runtime.settings.precision,
        weights=runtime.settings.weights,
        opset=runtime.settings.opset,
        size_bytes=_size_bytes(path),
        inputs=signature.inputs,
        outputs=signature.outputs,
        parity=parity,
    )


def _converters(formats: Sequence[str], options: Mapping[str, Any]) -> dict[str, Runtime]:
    """The runtimes that convert to these formats, each with those options that it has."""
    known = {name: RUNTIMES.get(CONVERTERS[name]).Config.model_fields for name in CONVERTERS if name in formats}
    for option in options:
        if not any(option in fields for fields in known.values()):
            names = ", ".join(dict.fromkeys(name for fields in known.values() for name in fields)) or "none"
            raise ConfigError(f"no format to export has an option {option!r} (known: {names})", where="options")
    return {
        name: get_runtime(CONVERTERS[name], **{key: value for key, value in given.items() if key in known[name]})
        for name, given in _with_weights(known, options).items()
    }


def stored_kind(kind: str | None, formats: Iterable[str]) -> CompressedKind | None:
    """The kind of weights if it is a compressed one that files of some format store; raises as `compressed_kind`."""
    compressed = compressed_kind(kind)
    return compressed if compressed is not None and _storing(compressed).intersection(formats) else None


def _storing(kind: CompressedKind) -> set[str]:
    """The formats whose files store a kind of weights."""
    return {name for name, runtime in CONVERTERS.items() if kind in RUNTIMES.get(runtime).weight_kinds}


def _with_weights(formats: Iterable[str], options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The options for each format, with a compressed kind of weights only where it can be stored."""
    kind = compressed_kind(options.get("weights"))
    if kind is None:
        return dict.fromkeys(formats, options)
    able = _storing(kind)
    if not able.intersection(formats):
        raise ConfigError(f"no format to export stores {kind} weights (those that do: {', '.join(sorted(able))})",
                          where="options")  # fmt: skip
    without = {name: value for name, value in options.items() if name != "weights"}
    return {name: options if name in able else without for name in formats}


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
