"""Colours of temporal layers: a hue for each family, a shade for each member."""

from __future__ import annotations

from collections.abc import Sequence

from nas.space import NONE

_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cross_attention", ("#CC79A7", "#A85C88", "#E0A5C4", "#8A456D")),
    ("attention_3d", ("#D55E00", "#F08A45", "#A84900", "#F5B183")),
    ("attention", ("#E69F00", "#F2C14E", "#B67C00", "#F7DA96")),
    ("transformer", ("#009E73", "#4CC3A0", "#00745A", "#9ADCC7")),
    ("conv3d", ("#0072B2", "#3D97CE", "#004F7D", "#85BEDF")),
    ("conv", ("#56B4E9", "#8CCBF0", "#2C8CC4", "#BADFF5")),
)
_OTHERS = ("#7F7F7F", "#8C6D31", "#637939", "#843C39", "#7B4173", "#3182BD", "#31A354", "#756BB1")
_EMPTY = "#00000000"


def layer_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each candidate; `none` has none, and members of a family repeat after the fourth."""
    colours: dict[str, str] = {}
    used: dict[str, int] = {}
    for name in dict.fromkeys(names):
        family, shades = next(((key, shades) for key, shades in _FAMILIES if key in name), ("", _OTHERS))
        place = used[family] = used.get(family, -1) + 1
        colours[name] = _EMPTY if name == NONE else shades[place % len(shades)]
    return colours
