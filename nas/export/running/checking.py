"""Checking a bundle against its test vector: does what lies in it make the clip that torch made?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.errors import CheckpointError, NasError
from nas.export.manifest import Manifest, Network, Part, TestVector
from nas.export.reference import read_test_vector
from nas.export.running.generating import BundleModel
from nas.export.running.integrity import check_files
from nas.export.writing.parity import MIN_PSNR_DB
from nas.runtimes import Array, compare

CONFUSED_DB = 6.0
"""A part with compressed weights may be this much further from torch than these weights alone are."""


@dataclass(frozen=True)
class Compared:
    """One of the tensors on the way to a clip, compared with torch's.

    Args:
        name: What it is.
        psnr_db: Peak signal-to-noise ratio in dB, `inf` if both are equal.
        max_abs_error: Largest absolute difference.
    """

    name: str
    psnr_db: float
    max_abs_error: float

    @classmethod
    def of(cls, name: str, output: Array, reference: Array) -> Compared:
        """Compare two tensors."""
        parity = compare(output, reference)
        return cls(name, parity.psnr_db, parity.max_abs_error)


def check_bundle(model: BundleModel) -> tuple[Compared, ...]:
    """Compute every part of the test vector from what torch had before it, and then the whole clip from its noise.

    The parts are judged. The clip is only shown: its steps pass their errors on, and a model may amplify them.

    Returns:
        The context, the latent after each step, the frames, and the frames of the clip as a whole.

    Raises:
        CheckpointError: The bundle has no test vector, or a damaged one.
        NasError: The prompt becomes other tokens, or a part differs by more than rounding does.
    """
    vector = _test_vector(model.manifest, model.root)
    expected = read_test_vector(model.root / vector.path)
    missing = {"tokens", "context", "empty_context", "noise", "latents", "frames"} - expected.keys()
    if missing:
        raise CheckpointError(f"the test vector lacks {min(missing)}", where=model.root / vector.path)
    if not np.array_equal(model.tokenize(vector.prompt), expected["tokens"]):
        raise NasError(f"the tokens of {vector.prompt!r} are not those of the test vector", where=model.root)
    rows = tuple(_parts(model, expected))
    clip = model.make(expected["tokens"], expected["noise"])
    return (*rows, Compared.of("frames, from the noise on", clip.frames_BTCHW, expected["frames"]))


def _parts(model: BundleModel, expected: Mapping[str, Array]) -> Iterator[Compared]:
    """Compare what each part computes from torch's tensors; raises `NasError` at the first that is wrong."""
    context_BLD, _ = model.contexts(expected["tokens"])
    yield _judged(model, "text_encoder", Compared.of("context", context_BLD, expected["context"]))
    before_BTCHW = expected["noise"]
    for number, step in enumerate(model.manifest.sampler.steps, start=1):
        made_BTCHW = model.step(before_BTCHW, step, expected["context"], expected["empty_context"])
        after_BTCHW = expected["latents"][number - 1 : number]
        # A latent has another scale than what the network returns, which is what its own parity was measured on.
        velocities = (
            (latent - before_BTCHW) / np.float32(step.velocity_factor) for latent in (made_BTCHW, after_BTCHW)
        )
        _judged(model, "unet", Compared.of(f"the velocity of step {number}", *velocities))
        yield Compared.of(f"latent after step {number}", made_BTCHW, after_BTCHW)
        before_BTCHW = after_BTCHW
    yield _judged(model, "decoder", Compared.of("frames", model.decode(before_BTCHW), expected["frames"]))


def _judged(model: BundleModel, part: Part, row: Compared) -> Compared:
    """The comparison of an output of a part, if it is good enough."""
    networks = [network for network, _ in model.parts[part].programs]
    least_db = min(_least_db(network, model.manifest) for network in networks)
    if row.psnr_db < least_db:
        got = "is not finite" if row.psnr_db == -math.inf else f"has {row.psnr_db:.1f} dB"
        raise NasError(
            f"{row.name} {got} against torch, expected at least {least_db:.3g} dB with {networks[0].runtime}",
            where=model.root,
            hint="try another runtime, compute unit or precision",
        )
    return row


def _test_vector(manifest: Manifest, root: Path) -> TestVector:
    if manifest.test_vector is None:
        raise CheckpointError("the bundle has no test vector", where=root, hint="export the model again")
    check_files(root, manifest, [manifest.test_vector.path])
    return manifest.test_vector


def _least_db(network: Network, manifest: Manifest) -> float:
    """The PSNR against weights as they were trained, below which a network is wrong."""
    compression, least_db = manifest.compression, MIN_PSNR_DB[network.precision]
    cost_db = None if compression is None else compression.psnr_db.get(network.part)
    if compression is not None and cost_db is not None and network.weights == compression.weights:
        least_db = min(least_db, cost_db - CONFUSED_DB)
    # Guidance adds the errors of two calls: those of one times the scale, of the other times the scale less 1.
    guided = 2 * manifest.sampler.guidance_scale - 1 if network.part == "unet" else 1
    return least_db - 20 * math.log10(guided)
