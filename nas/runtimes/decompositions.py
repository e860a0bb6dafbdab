"""Operators of torch that a converter of Apple's does not know, or takes badly, rewritten in those that it knows.

Autoencoders of clips and text encoders use operators that Core ML's converter does not know. Each is rewritten exactly,
with at most five dimensions.

Shape suffixes: N clips, C channels, T frames, H height, W width; D and E the width before and after a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

_aten = torch.ops.aten


def nearest_3d(x_NCTHW: torch.Tensor, size: Sequence[int] | None, factors: Sequence[float] | None) -> torch.Tensor:
    """Nearest-neighbour upsampling of clips by whole factors: each frame as an image, then frames repeated.

    Raises:
        NotImplementedError: A factor is not whole.
    """
    clips, channels, frames, height, width = x_NCTHW.shape
    sizes = size if size is not None else [int(f * n) for f, n in zip(factors or (), x_NCTHW.shape[2:], strict=True)]
    whole = [new // old for new, old in zip(sizes, x_NCTHW.shape[2:], strict=True)]
    if [factor * old for factor, old in zip(whole, x_NCTHW.shape[2:], strict=True)] != list(sizes):
        raise NotImplementedError(f"nearest upsampling of {tuple(x_NCTHW.shape[2:])} to {tuple(sizes)}")
    longer, taller, wider = whole
    if taller * wider > 1:
        images = x_NCTHW.transpose(1, 2).reshape(clips * frames, channels, height, width)
        images = _aten.upsample_nearest2d.vec(images, None, [float(taller), float(wider)])
        x_NCTHW = images.reshape(clips, frames, channels, *images.shape[2:]).transpose(1, 2)
    if longer == 1:
        return x_NCTHW
    flat = x_NCTHW.reshape(clips * channels, frames, 1, -1)
    repeated = flat.expand(-1, -1, longer, -1)
    return repeated.reshape(clips, channels, frames * longer, *x_NCTHW.shape[3:])


def nearest_exact_2d(x_NCHW: torch.Tensor, size: Sequence[int] | None, factors: Sequence[float] | None) -> torch.Tensor:
    """`nearest-exact` upsampling of images, which equals `nearest` for whole factors.

    Raises:
        NotImplementedError: A factor is not whole.
    """
    scales = factors or [new / old for new, old in zip(size or (), x_NCHW.shape[2:], strict=True)]
    if any(factor != int(factor) for factor in scales):
        raise NotImplementedError(f"nearest-exact upsampling by {tuple(scales)}")
    return _aten.upsample_nearest2d.vec(x_NCHW, None, [float(factor) for factor in scales])  # type: ignore[no-any-return]


def concatenate(tensors: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """`cat`, under its other name in torch."""
    return _aten.cat.default(tensors, dim)  # type: ignore[no-any-return]


def same(x: torch.Tensor) -> torch.Tensor:
    """A copy instead of an alias, for which the converter has no operator."""
    return x.clone()


def ones(x: torch.Tensor, size: Sequence[int], *, dtype: torch.dtype | None = None, **_: Any) -> torch.Tensor:
    """Ones of another tensor's type, as a tensor that is filled."""
    return torch.full(size, 1, dtype=dtype or x.dtype)


def both(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`&` of masks.

    Raises:
        NotImplementedError: The tensors are numbers.
    """
    if one.dtype != torch.bool or other.dtype != torch.bool:
        raise NotImplementedError(f"& of {one.dtype} and {other.dtype}")
    return _aten.logical_and.default(one, other)  # type: ignore[no-any-return]


def where(condition: torch.Tensor, one: torch.Tensor, other: float) -> torch.Tensor:
    """A choice between a tensor and a number, as one between two tensors."""
    return _aten.where.self(condition, one, torch.full_like(one, other))  # type: ignore[no-any-return]


def linear(x_D: torch.Tensor, weight_ED: torch.Tensor, bias_E: torch.Tensor | None = None) -> torch.Tensor:
    """A linear layer as one product of two matrices, over all dimensions before the last at once.

    torch itself repeats the weight for each entry of the first dimension if the tokens are not contiguous, and Core
    AI's converter then writes out every copy: 128 of them for attention along time at 8 x 16 places.
    """
    flat_ND = x_D.reshape(-1, x_D.shape[-1])
    flat_NE = _aten.mm.default(flat_ND, weight_ED.t())
    if bias_E is not None:
        flat_NE = flat_NE + bias_E
    return flat_NE.reshape(*x_D.shape[:-1], -1)  # type: ignore[no-any-return]


FOR_CORE_ML: dict[Any, Callable[..., torch.Tensor]] = {
    _aten.upsample_nearest3d.vec: nearest_3d,
    _aten._upsample_nearest_exact2d.vec: nearest_exact_2d,
    _aten.concatenate.default: concatenate,
    _aten.alias.default: same,
    _aten.new_ones.default: ones,
    _aten.where.ScalarOther: where,
    _aten.__and__.Tensor: both,
}
"""A table for `ExportedProgram.run_decompositions`."""

FOR_CORE_AI: dict[Any, Callable[..., torch.Tensor]] = {
    _aten.upsample_nearest3d.vec: nearest_3d,
    _aten._upsample_nearest_exact2d.vec: nearest_exact_2d,
    _aten.linear.default: linear,
}
"""Additions to the converter's own table."""
