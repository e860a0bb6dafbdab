"""Checking a bundle against its test vector: does what lies in it make the clip that torch made?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.errors import CheckpointError, NasError
from nas.export.integrity import check_files
from nas.export.manifest import Compression, Manifest, Network, TestVector
from nas.export.parity import MIN_PSNR_DB
from nas.export.reference import read_test_vector
from nas.export.running import BundleModel
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
    parts = tuple(_parts(model, expected))
    _refuse_wrong(parts, model)
    clip = model.make(expected["tokens"], expected["noise"])
    return (*parts, _compared("frames, from the noise on", clip.frames_BTCHW, expected["frames"]))


def _parts(model: BundleModel, expected: Mapping[str, Array]) -> Iterator[Compared]:
    context_BLD, _ = model.contexts(expected["tokens"])
    yield _compared("context", context_BLD, expected["context"])
    before_BTCHW = expected["noise"]
    for number, step in enumerate(model.manifest.sampler.steps, start=1):
        made_BTCHW = model.step(before_BTCHW, step, expected["context"], expected["empty_context"])
        before_BTCHW = expected["latents"][number - 1 : number]
        yield _compared(f"latent after step {number}", made_BTCHW, before_BTCHW)
    yield _compared("frames", model.decode(before_BTCHW), expected["frames"])


def _test_vector(manifest: Manifest, root: Path) -> TestVector:
    if manifest.test_vector is None:
        raise CheckpointError("the bundle has no test vector", where=root, hint="export the model again")
    check_files(root, manifest, [manifest.test_vector.path])
    return manifest.test_vector


def _least_db(network: Network, compression: Compression | None) -> float:
    """The PSNR against weights as they were trained, below which a network is wrong."""
    least_db = MIN_PSNR_DB[network.precision]
    cost_db = None if compression is None else compression.psnr_db.get(network.part)
    if compression is None or cost_db is None or network.weights != compression.weights:
        return least_db
    return min(least_db, cost_db - CONFUSED_DB)


def _compared(name: str, output: Array, reference: Array) -> Compared:
    parity = compare(output, reference)
    return Compared(name, parity.psnr_db, parity.max_abs_error)


def _refuse_wrong(compared: tuple[Compared, ...], model: BundleModel) -> None:
    networks = [network for part in model.parts.values() for network, _ in part.programs]
    least_db = min(_least_db(network, model.manifest.compression) for network in networks)
    for row in compared:
        if row.psnr_db < least_db:
            got = "is not finite" if row.psnr_db == -math.inf else f"has {row.psnr_db:.1f} dB"
            raise NasError(
                f"{row.name} {got} against torch, expected at least {least_db:g} dB with {networks[0].runtime}",
                where=model.root,
                hint="try another runtime, compute unit or precision",
            )
