"""Videos of high dynamic range (HDR10, Dolby Vision on an HDR10 base, HLG) as ordinary RGB of 8 bits.

Their pixel values encode brightness differently: read as ordinary values, they look grey and washed out. The reference
white of 203 cd/m2 (ITU-R BT.2408) becomes white, and everything brighter becomes white, too.

Shape suffixes: C channels (RGB), H height, W width.
"""

from __future__ import annotations

import functools

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorTrc

_WHITE = 203.0
_HLG_PEAK = 1000.0
_GAMMA = 2.4  # of a display, ITU-R BT.1886
_KINDS = frozenset({ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67})
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
_FROM_2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
"""Linear RGB of BT.2020 to that of BT.709."""


def is_high_range(frame: av.VideoFrame) -> bool:
    """Whether a frame declares high dynamic range."""
    return frame.color_trc in _KINDS


def high_range_pixels(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """The pixels `rgb_HWC` of a frame of high dynamic range; transparency is ignored."""
    signal_HWC = frame.reformat(format="rgb48le", threads=1).to_ndarray()
    light_HWC = _light(int(frame.color_trc))[signal_HWC]
    if frame.color_trc == ColorTrc.ARIB_STD_B67:
        # From scene light to display light: a power of the luma, the same for all colours.
        light_HWC *= _HLG_PEAK / _WHITE * (light_HWC @ _LUMA_2020)[..., None] ** np.float32(0.2)
    if frame.color_primaries in {ColorPrimaries.BT2020, ColorPrimaries.UNSPECIFIED}:
        light_HWC = light_HWC @ _FROM_2020.T
    shown_HWC = 255 * light_HWC.clip(0, 1) ** np.float32(1 / _GAMMA)
    return (shown_HWC + np.float32(0.5)).astype(np.uint8)


@functools.lru_cache
def _light(kind: int) -> npt.NDArray[np.float32]:
    """Light for each of the 65536 levels: of a display in parts of white (PQ), or of the scene from 0 to 1 (HLG)."""
    signal = np.arange(2**16) / (2**16 - 1)
    if kind == ColorTrc.SMPTE2084:
        root = signal ** (32 / 2523)
        light = 10000 / _WHITE * ((root - 3424 / 4096).clip(0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
    else:
        low = signal <= 0.5
        light = np.where(low, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return light.astype(np.float32)
