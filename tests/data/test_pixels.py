from __future__ import annotations

import torch

from nas.data import to_bytes, to_pixels


def test_every_byte_survives_the_way_to_pixels_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    pixels = to_pixels(levels)
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert torch.equal(to_bytes(pixels), levels)


def test_values_beyond_the_range_are_clamped() -> None:
    assert to_bytes(torch.tensor([-3.0, 0.0, 1.5])).tolist() == [0, 128, 255]
