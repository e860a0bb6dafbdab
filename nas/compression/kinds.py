"""The kinds of weights: in which form a network's weights are stored in a file, and in a phone's memory.

| kind | how a value is stored |
|---|---|
| `fp32`, `fp16` | as a number of that type |
| `int8` | in 8 bits, with a scale for each output channel |
| `palettized_8`, `palettized_6` | as an index into a palette of 256 or 64 values, one for each tensor |
| `palettized_4` | as an index into a palette of 16 values, one for each 16 output channels (since iOS 18) |

These are the forms that coremltools writes and phones read: `linear_quantize_weights` (symmetric, per channel) and
`palettize_weights` (per tensor, per grouped channel). Only weights are compressed: arithmetic stays in the type that
the runtime has for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from nas.errors import ConfigError

CompressedKind = Literal["int8", "palettized_8", "palettized_6", "palettized_4"]
WeightKind = Literal["fp32", "fp16", "int8", "palettized_8", "palettized_6", "palettized_4"]

WEIGHT_KINDS: tuple[WeightKind, ...] = get_args(WeightKind)
COMPRESSED_KINDS: tuple[CompressedKind, ...] = get_args(CompressedKind)

LARGEST_PLAIN = 2048
"""Tensors of at most this many values are not compressed, as in coremltools (`weight_threshold`)."""

_FLOAT_BITS = 16
"""Scales and palettes are fp16."""


@dataclass(frozen=True)
class WeightFormat:
    """How the values of a tensor are stored.

    Args:
        kind: Name of the kind.
        bits: Bits of a value.
        palettized: Whether these are the index of a value in a palette.
        group_size: Output channels that share a scale or a palette; `None` if the whole tensor does.
    """

    kind: WeightKind
    bits: int
    palettized: bool = False
    group_size: int | None = None

    @property
    def compressed(self) -> bool:
        """Whether it is another form than a number of the arithmetic's type."""
        return self.kind in COMPRESSED_KINDS

    def compresses(self, shape: Sequence[int], axis: int = 0) -> bool:
        """Whether a tensor of that shape is compressed; otherwise it is stored in the arithmetic's type.

        Args:
            shape: The shape.
            axis: The axis of output channels, which a group must divide.
        """
        if not self.compressed or len(shape) < 2 or math.prod(shape) <= LARGEST_PLAIN:
            return False
        return self.group_size is None or shape[axis] % self.group_size == 0

    def stored_bits(self, shape: Sequence[int], axis: int = 0) -> int:
        """Bits that a tensor takes with its scales or palettes, in a file whose other numbers are fp16."""
        if not self.compressed:
            return math.prod(shape) * self.bits
        if not self.compresses(shape, axis):
            return math.prod(shape) * _FLOAT_BITS
        groups = 1 if self.group_size is None else shape[axis] // self.group_size
        return math.prod(shape) * self.bits + groups * _FLOAT_BITS * (2**self.bits if self.palettized else 1)


_FORMATS: dict[str, WeightFormat] = {
    form.kind: form
    for form in (
        WeightFormat("fp32", 32),
        WeightFormat("fp16", 16),
        WeightFormat("int8", 8, group_size=1),
        WeightFormat("palettized_8", 8, palettized=True),
        WeightFormat("palettized_6", 6, palettized=True),
        WeightFormat("palettized_4", 4, palettized=True, group_size=16),
    )
}


def weight_format(kind: str) -> WeightFormat:
    """The form of a kind of weights; raises `ConfigError` with the known ones if there is none of that name."""
    if kind not in _FORMATS:
        raise ConfigError(f"no kind of weights {kind!r} (known: {', '.join(WEIGHT_KINDS)})", where="weights")
    return _FORMATS[kind]


def compressed_kind(kind: str | None) -> CompressedKind | None:
    """The kind if it is a compressed one; `None` for `fp32`, `fp16` and none. Raises as `weight_format`."""
    if kind is None or not weight_format(kind).compressed:
        return None
    return cast(CompressedKind, kind)


def check_plain_kind(kind: str | None, precision: str) -> None:
    """Refuse weights that are not compressed and have another type than the arithmetic; raises `ValueError`."""
    if kind is not None and compressed_kind(kind) is None and kind != precision:
        raise ValueError(f"weights {kind} need precision={kind}, got {precision}")
