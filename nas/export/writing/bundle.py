"""Writing a bundle: the folder that a user takes away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.export.manifest import MANIFEST, Clip, Compression, HeldOutLoss, Latent, Manifest, Network
from nas.export.reference import ReferenceClip
from nas.export.running.integrity import bundled_files
from nas.export.sampler import Sampler
from nas.export.tokenizers import describe_tokenizer
from nas.export.writing.compressing import compressed_parts, cost_of_compression, kind_of
from nas.export.writing.converting import Chunks, Convertible, convert_networks
from nas.export.writing.formats import DEFAULT_FORMATS, check_formats, converters
from nas.export.writing.licences import bundle_licences
from nas.export.writing.parts import model_parts
from nas.export.writing.programs import Programs
from nas.files import atomic_folder, check_output_folder, write_json
from nas.models import VideoModel
from nas.models.weights import refuse_non_finite
from nas.progress import progress_bar
from nas.runtimes.environment import versions


def export_bundle(
    model: VideoModel,
    folder: str | Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    latency: Mapping[str, float | int | str | None] | None = None,
    options: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    chunks: Chunks = 1,
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
        chunks: Programs that the denoising network is cut into, see `nas.export.writing.chunks`.
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
    check_formats(formats)
    check_output_folder(folder, "bundle")
    for module in (model.unet, model.text_encoder):
        refuse_non_finite(module, where=f"the model of {model.space.name}")
    runtimes = converters(formats, options or {})
    kind = kind_of(runtimes)
    clip = ReferenceClip.make(model, prompt)
    networks = _networks(model, clip, kind)
    files = len(runtimes) * (len(networks) + chunks - 1) + 1
    with atomic_folder(folder, "bundle") as root, progress_bar("exporting", files) as advance:
        if "safetensors" in formats:
            model.write_files(root)
        advance("weights")
        converted = convert_networks(networks, runtimes, root, chunks, advance)
        cost = None if kind is None else cost_of_compression(kind, networks, held_out)
        manifest = _manifest(model, root, networks, converted, cost, clip, latency)
        write_json(root / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _networks(model: VideoModel, clip: ReferenceClip, kind: str | None) -> tuple[Convertible, ...]:
    """The networks of a model, in one program each, with those that have compressed weights of a kind."""
    parts = model_parts(model, clip)
    whole = [Programs.whole(part) for part in parts]
    if kind is None:
        return tuple(Convertible(own, own) for own in whole)
    stored = compressed_parts(model, clip, parts, kind)
    return tuple(Convertible(own, Programs.whole(part)) for own, part in zip(whole, stored, strict=True))


def _manifest(
    model: VideoModel,
    root: Path,
    networks: Sequence[Convertible],
    converted: tuple[Network, ...],
    cost: Compression | None,
    clip: ReferenceClip,
    latency: Mapping[str, float | int | str | None] | None,
) -> Manifest:
    """The manifest of a bundle; what it refers to and is not there yet is written below `root`."""
    video = model.space.file.video
    return Manifest(
        space=model.space.name,
        architecture=model.architecture.id,
        parameters={network.own.part.name: network.own.part.parameters for network in networks},
        clip=Clip(frames=video.frames, height=video.height, width=video.width, fps=video.fps),
        latent=Latent(shape=(1, *model.space.latent_shape)),
        tokenizer=describe_tokenizer(model.text_encoder, root),
        sampler=Sampler.of(model.generation),
        networks=converted,
        compression=cost,
        latency=None if latency is None else dict(latency),
        test_vector=clip.write(root) if converted else None,
        licences=bundle_licences(model.space, root),
        files=dict(bundled_files(root)),
        versions=versions(),
    )
