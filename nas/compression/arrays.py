"""Compressing the values of one tensor, as the Core ML packages of `nas.runtimes` hold them.

For `int8` this computes what coremltools computes for `linear_quantize_weights` (symmetric, per channel), step by step
in fp16. Palettes are equal by construction: coremltools takes them from `palette` (its mode `custom`). Its own mode
`kmeans` makes others, a few tenths of a dB better, with a library that does not exist on every platform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.compression.kinds import WeightFormat
from nas.errors import CheckpointError

Array = NDArray[np.floating]
Palette = NDArray[np.float16]
Indices = NDArray[np.uint8]

_LARGEST_INT8 = 127


def compressed(values: Array, form: WeightFormat, axis: int = 0) -> Palette:
    """The values of a tensor after it was compressed and decompressed, in fp16.

    Args:
        values: The tensor, any type of float.
        form: How it is stored; what it does not compress is rounded to fp16.
        axis: The axis of output channels.

    Raises:
        CheckpointError: A value is not finite, or too large for fp16.
    """
    half = compressible(values)
    if not form.compresses(values.shape, axis):
        return half
    if not form.palettized:
        quantized, scales = int8(half, axis)
        decompressed: Palette = quantized.astype(np.float16) * scales
        return decompressed
    colours, indices = palettes(half, form, axis)
    parts = np.split(indices, len(colours), axis)
    return np.concatenate([own[part] for own, part in zip(colours, parts, strict=True)], axis)


def palettes(values: Array, form: WeightFormat, axis: int = 0) -> tuple[Palette, Indices]:
    """The palettes of a tensor, a row for each group of channels, and the indices, in the shape of the tensor.

    Raises:
        CheckpointError: As `palette`.
    """
    groups = np.split(values, 1 if form.group_size is None else values.shape[axis] // form.group_size, axis)
    found = [palette(group, form.bits) for group in groups]
    indices = [own.reshape(group.shape) for (_, own), group in zip(found, groups, strict=True)]
    return np.stack([colours for colours, _ in found]), np.concatenate(indices, axis)


def palette(values: Array, bits: int) -> tuple[Palette, Indices]:
    """The palette of some weights, and the index in it of each.

    The palette is found by k-means over the distinct fp16 values, weighted by how often they occur. There are at most
    65,536 of them, so that a tensor of any size takes less than a second.

    Args:
        values: The weights, any shape.
        bits: Bits of an index, at most 8.

    Returns:
        The palette, 2^bits values in ascending order, and zeros after them if there are fewer distinct weights; and the
        indices, flat.

    Raises:
        CheckpointError: A value is not finite, or too large for fp16.
    """
    codes = np.ascontiguousarray(compressible(values)).view(np.uint16).ravel()
    counts = np.bincount(codes, minlength=2**16)
    occurring = np.flatnonzero(counts).astype(np.uint16)
    distinct = occurring.view(np.float16).astype(np.float64)
    centres = _centres(distinct, counts[occurring], 2**bits)
    index_of_code = np.zeros(2**16, dtype=np.uint8)
    index_of_code[occurring] = np.searchsorted((centres[1:] + centres[:-1]) / 2, distinct)
    padded = np.zeros(2**bits, dtype=np.float16)
    padded[: len(centres)] = centres
    return padded, index_of_code[codes]


def int8(values: Palette, axis: int) -> tuple[NDArray[np.int8], Palette]:
    """The values as 8-bit integers, and the scale of each channel, in the shape that multiplies them."""
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    largest = np.abs(values).max(axis=others, keepdims=True)
    # As coremltools computes it: from the width of the range, in the type of the weights.
    scales: Palette = ((largest - -largest) / (2 * _LARGEST_INT8)).astype(np.float16)
    steps = np.divide(values, scales, out=np.zeros_like(values), where=scales > 0)
    return np.clip(np.round(steps), -_LARGEST_INT8, _LARGEST_INT8).astype(np.int8), scales


def _centres(distinct: NDArray[np.float64], counts: NDArray[np.int64], most: int) -> NDArray[np.float64]:
    """At most `most` ascending fp16 values that stand for the given ones."""
    if len(distinct) <= most:
        return np.unique(distinct)
    from sklearn.cluster import KMeans

    # The first centres are drawn by a generator of its own, with a fixed seed.
    fitted = KMeans(most, n_init=1, random_state=0).fit(distinct[:, None], sample_weight=counts)
    return np.unique(fitted.cluster_centers_.astype(np.float16)).astype(np.float64)


def compressible(values: Array) -> Palette:
    """The values in fp16, from which all kinds are made; raises `CheckpointError` if one is not finite there."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise CheckpointError("a weight is not finite, or too large for fp16", hint="it cannot be compressed")
    return half
