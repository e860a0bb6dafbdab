"""The contents of a bundle's `manifest.json`: all that a program needs to make clips with the files beside it.

The file is a contract with programs that do not use this project. Its JSON Schema is `docs/bundle.schema.json`, and
`docs/app.md` explains it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt

from nas.errors import CheckpointError
from nas.export.sampler import Sampler
from nas.export.tokenizers import Tokenizer
from nas.files import StrictModel, parse, read_json
from nas.runtimes.signature import TensorType

MANIFEST = "manifest.json"

VERSION: Literal[1] = 1

_BEFORE = "report.json"
"""What described a bundle before there were manifests."""

Part = Literal["text_encoder", "unet", "decoder"]

PARTS: tuple[Part, ...] = get_args(Part)


def manifest_file(folder: str | Path) -> Path:
    """The manifest of a bundle; raises `CheckpointError` if the folder has none."""
    file = Path(folder) / MANIFEST
    if file.is_file():
        return file
    if (Path(folder) / _BEFORE).is_file():
        hint = "export the model again; `nas generate` without --runtime still reads this bundle"
        raise CheckpointError(f"was exported before bundles had a {MANIFEST}", where=folder, hint=hint)
    found = "it does not exist" if not Path(folder).exists() else f"{MANIFEST} is missing"
    raise CheckpointError(f"not a bundle: {found}", where=folder, hint="`nas export` makes bundles")


class ParityReport(StrictModel):
    """Difference between a converted network and torch, over all inputs tried.

    Args:
        status: `measured`, or why it is not measured.
        max_abs_error: Largest absolute difference.
        psnr_db: Lowest peak signal-to-noise ratio in dB; `None` if the outputs are equal, or not measured.
        inputs: Number of inputs tried.
    """

    status: str
    max_abs_error: float | None = None
    psnr_db: float | None = None
    inputs: int = 0


class Network(StrictModel):
    """One converted network.

    Args:
        path: File or package, relative to the bundle.
        part: The network in it.
        runtime: The runtime that executes it.
        precision: Type of its arithmetic.
        weights: Kind of its weights: `fp32` or `fp16`, or a compressed kind such as `int8` or `palettized_6`.
        opset: Version of the operations in it: an ONNX opset, or the oldest system that runs it.
        size_bytes: Its size on disk.
        inputs: The tensors it is called with, by name.
        outputs: The tensors it returns.
        parity: Comparison with torch, with the same weights.
    """

    path: str
    part: Part
    runtime: str
    precision: str
    weights: str | None = None
    opset: str | None
    size_bytes: int
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    parity: ParityReport


class HeldOutLoss(StrictModel):
    """What compressed weights cost on held-out clips, with the same clips and noise.

    Args:
        metric: Name of the loss.
        clips: What it was measured on.
        loss: The loss with compressed weights.
        uncompressed_loss: The loss with the weights as they were trained.
    """

    metric: str
    clips: str
    loss: FiniteFloat
    uncompressed_loss: FiniteFloat


class Compression(StrictModel):
    """What compressed weights cost. It is measured in torch in fp32, so that nothing else differs.

    Args:
        weights: The kind of weights.
        psnr_db: For each part, the lowest PSNR of its output against that with the weights as they were trained; `None`
            if they are equal.
        held_out: Losses on held-out clips; `None` if no clips were given.
    """

    weights: str
    psnr_db: dict[Part, float | None]
    held_out: HeldOutLoss | None = None


class BundledFile(StrictModel):
    """A file of the bundle.

    Args:
        size_bytes: Its size.
        sha256: Its digest, in hexadecimal.
    """

    size_bytes: NonNegativeInt
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Clip(StrictModel):
    """What the decoder returns: frames of RGB.

    Args:
        frames: Number of frames.
        height: Height in pixels.
        width: Width in pixels.
        fps: Frames per second.
        lowest: The value of black.
        highest: The value of full intensity.
    """

    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt
    fps: PositiveFloat
    lowest: Literal[-1] = -1
    highest: Literal[1] = 1


class Latent(StrictModel):
    """The tensor that is denoised.

    Args:
        shape: Clips (1), frames, channels, height, width.
        noise_mean: Mean of the normal distribution that the start is drawn from.
        noise_std: Its standard deviation.
        decoder_scale: Factor on the last latent before it goes into the decoder. Scaling that an autoencoder needs is
            part of the decoder.
    """

    shape: tuple[PositiveInt, ...]
    noise_mean: Literal[0] = 0
    noise_std: Literal[1] = 1
    decoder_scale: Literal[1] = 1


class TestVector(StrictModel):
    """A clip that torch has made of the same weights, step by step, in one safetensors file.

    Args:
        path: The file.
        prompt: Its caption.
        seed: Seed of its noise.
        tensors: What is in the file.
    """

    path: str
    prompt: str
    seed: int
    tensors: tuple[TensorType, ...]


class Licence(StrictModel):
    """What is known of the rights in the weights of a part.

    Args:
        part: The part.
        note: Where its weights come from, and whose terms hold.
        files: Copies of the licence files that lay beside the weights.
    """

    part: Part
    note: str
    files: tuple[str, ...] = ()


class Manifest(StrictModel):
    """Contents of a bundle.

    Args:
        kind: Marks the file as the manifest of a bundle.
        schema_version: Version of this format.
        space: Name of the search space.
        architecture: Canonical id of the architecture.
        parameters: Number of weights of each part.
        clip: The clip it makes.
        latent: The tensor that is denoised.
        tokenizer: How a caption becomes numbers.
        sampler: The denoising steps, as numbers.
        networks: The converted networks. Those of one runtime and part run one after another, in this order.
        compression: What compressed weights cost; `None` if no network has any.
        latency: Predicted latency of one clip with its provenance, if a table was given.
        test_vector: A clip to compare with; `None` if no network was converted.
        licences: Whose terms hold for the weights.
        files: Size and digest of every file of the bundle but this one.
        versions: Versions of the system and the libraries that made the bundle.
    """

    kind: Literal["nas bundle"] = "nas bundle"
    schema_version: Literal[1] = VERSION
    space: str
    architecture: str
    parameters: dict[Part, int]
    clip: Clip
    latent: Latent
    tokenizer: Tokenizer
    sampler: Sampler
    networks: tuple[Network, ...]
    compression: Compression | None = None
    latency: dict[str, float | int | str | None] | None = None
    test_vector: TestVector | None = None
    licences: tuple[Licence, ...]
    files: dict[str, BundledFile]
    versions: dict[str, str]

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read the manifest of a bundle.

        Raises:
            CheckpointError: The folder holds none, it is not JSON, or it is of another version.
            ConfigError: It has an unknown, missing or impossible key.
        """
        file = manifest_file(folder)
        value = read_json(file, error=CheckpointError)
        version = value.get("schema_version") if isinstance(value, dict) else None
        if isinstance(version, int) and version != VERSION:
            hint = "export the model again, or use the version of nas that wrote it"
            raise CheckpointError(
                f"is a manifest of version {version}, this nas reads {VERSION}", where=file, hint=hint
            )
        return parse(value, cls, where=file)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Names of the runtimes that the bundle has networks for."""
        return tuple(dict.fromkeys(network.runtime for network in self.networks))

    @property
    def other_files(self) -> dict[str, BundledFile]:
        """The files that belong to no converted network."""
        paths = tuple(network.path for network in self.networks)
        return {name: file for name, file in self.files.items() if not name.startswith(paths)}


def json_schema() -> dict[str, Any]:
    """Schema of a manifest, for programs that read bundles."""
    schema = Manifest.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "nas bundle"
    return schema
