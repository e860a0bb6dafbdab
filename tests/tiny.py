"""A search space that trains in a second; other small spaces of the tests are made from it."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "name": "tiny",
    "video": {"frames": 4, "height": 16, "width": 16, "fps": 8},
    "codec": {"kind": "space_to_depth", "factor": 4},
    "text": {"kind": "learned", "tokens": 8, "width": 16, "layers": 1, "heads": 2, "vocabulary": 64},
    "prediction": "data",
    "backbone": {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [16, 16],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
    },
    "slots": [
        {"stage": "down.1", "candidates": ["none", "conv1d", "self_attention_1d"]},
        {"stage": "mid", "candidates": ["none", "self_attention_3d"]},
    ],
}

ONE_LEVEL: dict[str, Any] = TINY["backbone"] | {
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "block_out_channels": [16],
}
"""A backbone of one level."""

SMALLER: dict[str, Any] = TINY | {
    "backbone": ONE_LEVEL,
    "slots": [TINY["slots"][0] | {"stage": "down.0"}, TINY["slots"][1]],
}
"""The same choices in a network of 13 blocks instead of 21."""
