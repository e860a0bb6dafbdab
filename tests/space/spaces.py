"""Small search spaces, fixed and random, for the tests of `nas.space` and `nas.models`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from nas.space import NONE, SearchSpace, layer_kinds
from tests.tiny import TINY

few = settings(max_examples=25)
"""Building a space takes some 20 ms."""

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"

SMALL: dict[str, Any] = TINY | {
    "video": {"frames": 3, "height": 8, "width": 16, "fps": 4},
    "codec": {"kind": "space_to_depth", "factor": 2},
    "text": TINY["text"] | {"tokens": 4},
    "prediction": "velocity",
    "backbone": TINY["backbone"] | {"block_out_channels": [16, 32], "attention_head_dim": 4},
    "layers": {"wide": {"kind": "conv1d", "kernel_size": 5}},
    "slots": [
        {"stage": "down.0", "candidates": ["none", "conv1d", "wide", "self_attention_1d"]},
        {"stage": "mid", "candidates": ["none", "conv3d", "self_attention_3d", "cross_attention_1d"]},
        {"stage": "up.0", "positions": [1], "candidates": ["separable_conv1d", "cross_attention_3d"]},
        {"stage": "up.1", "candidates": ["none", "self_attention_3d"]},
    ],
}

IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    "conv1d_as_conv3d": {"kind": "conv1d", "form": "conv3d"},
    "wide_as_conv3d": {"kind": "conv1d", "kernel_size": 5, "form": "conv3d"},
    "self_attention_1d_split": {"kind": "self_attention_1d", "form": "split_heads"},
    "self_attention_1d_matmul": {"kind": "self_attention_1d", "form": "matmul"},
}
"""Layers that compute what `conv1d`, `wide` and `self_attention_1d` do."""


def tiny(**parts: Any) -> dict[str, Any]:
    """The small space as plain data, with whole parts replaced, or keys of `backbone` by a dict."""
    value = copy.deepcopy(SMALL)
    value["backbone"] |= parts.pop("backbone", {})
    return value | parts


def tiny_space(**parts: Any) -> SearchSpace:
    """The small space; see `tiny`."""
    return SearchSpace.from_dict(tiny(**parts))


@st.composite
def space_values(draw: st.DrawFn) -> dict[str, Any]:
    """Valid search spaces of one to three levels, as plain data."""
    levels = draw(st.integers(1, 3))
    layers = draw(st.lists(st.integers(1, 2), min_size=levels, max_size=levels))
    mid = draw(st.sampled_from(["UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None]))
    stages = {f"down.{level}": layers[level] for level in range(levels)} | ({} if mid is None else {"mid": 1})
    stages |= {f"up.{level}": layers[-1 - level] + 1 for level in range(levels)}
    names = [NONE, "wide", *IMPLEMENTATIONS, *layer_kinds()]
    places = [(stage, position) for stage, count in stages.items() for position in range(count)]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=5))
    candidates = st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)
    return tiny(
        backbone={
            "down_block_types": [draw(st.sampled_from(["DownBlock2D", "CrossAttnDownBlock2D"])) for _ in range(levels)],
            "mid_block_type": mid,
            "up_block_types": [draw(st.sampled_from(["UpBlock2D", "CrossAttnUpBlock2D"])) for _ in range(levels)],
            "block_out_channels": [16 * draw(st.integers(1, 3)) for _ in range(levels)],
            "layers_per_block": layers,
        },
        video={"frames": draw(st.integers(1, 4)), "height": 16, "width": 8 * draw(st.integers(1, 3)), "fps": 4},
        slots=[{"stage": stage, "positions": [place], "candidates": draw(candidates)} for stage, place in chosen],
        layers=SMALL["layers"] | IMPLEMENTATIONS,
        prediction=draw(st.sampled_from(["velocity", "data"])),
    )


spaces = space_values().map(SearchSpace.from_dict)
