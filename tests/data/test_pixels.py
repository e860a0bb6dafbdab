from __future__ import annotations

import pytest
import torch

from nas.data import to_bytes, to_pixels
from nas.errors import DataError


def test_every_byte_survives_the_way_to_pixels_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    pixels = to_pixels(levels)
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert torch.equal(to_bytes(pixels), levels)


def test_values_beyond_the_range_are_clamped() -> None:
    assert to_bytes(torch.tensor([-3.0, 0.0, 1.5])).tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_no_byte_can_show_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="a clip is not finite"):
        to_bytes(torch.tensor([0.0, value]))
