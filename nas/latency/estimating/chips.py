"""Published figures of the chips in Apple's phones, and the chip of each phone.

Neural Engine: Apple's own figures ("trillion operations per second"), a multiply-accumulate being two operations.
From the A17 Pro on they are for 8-bit integers, which count twice what fp16 does, so half of them is used here. Memory
bandwidth follows from the type of memory (LPDDR4X-4266, LPDDR5-6400, LPDDR5X-7500, 64 bit wide in a phone). System
caches, GPU arithmetic (fp32) and clocks are from chip analyses that others published, not from Apple.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nas.errors import ConfigError
from nas.validation import known_text


@dataclass(frozen=True)
class Chip:
    """Published figures of a chip.

    Args:
        name: Apple's name of it.
        neural_engine_tops: Operations of its Neural Engine in fp16, 10^12 per second.
        gpu_tflops: Operations of its GPU, 10^12 per second.
        cpu_ghz: Highest clock of its fast cores.
        memory_gb_s: Bandwidth of its memory.
        system_cache_mb: Last cache before the memory, which all processors share.
    """

    name: str
    neural_engine_tops: float
    gpu_tflops: float
    cpu_ghz: float
    memory_gb_s: float
    system_cache_mb: float


@dataclass(frozen=True)
class PhoneSpec:
    """A device that latencies are estimated for.

    Args:
        name: Apple's name of it.
        chip: Its chip.
    """

    name: str
    chip: Chip

    @property
    def slug(self) -> str:
        """The name on the command line, e.g. `iphone-15-pro`."""
        return _slug(self.name)


_CHIPS = {
    chip.name: chip
    for chip in (
        Chip("A14", 11, 1.5, 3.0, 34.1, 16),
        Chip("A15", 15.8, 1.7, 3.23, 34.1, 32),
        Chip("A16", 17, 1.8, 3.46, 51.2, 24),
        Chip("A17 Pro", 17.5, 2.15, 3.78, 51.2, 24),
        Chip("A18", 17.5, 1.9, 4.04, 60, 12),
        Chip("A18 Pro", 17.5, 2.3, 4.04, 60, 24),
        Chip("A19", 17.5, 2.0, 4.26, 68.3, 12),
        Chip("A19 Pro", 17.5, 2.5, 4.26, 76.8, 32),
        Chip("M1", 11, 2.6, 3.2, 68.2, 8),
        Chip("M1 Pro", 11, 5.2, 3.2, 204.8, 24),
        Chip("M1 Max", 11, 10.4, 3.2, 409.6, 48),
        Chip("M1 Ultra", 11, 21, 3.2, 819.2, 96),
        Chip("M2", 15.8, 3.6, 3.49, 102.4, 8),
        Chip("M2 Pro", 15.8, 6.8, 3.49, 204.8, 24),
        Chip("M2 Max", 15.8, 13.6, 3.69, 409.6, 48),
        Chip("M2 Ultra", 15.8, 27.2, 3.49, 819.2, 96),
        Chip("M3", 18, 4.1, 4.05, 102.4, 8),
        Chip("M3 Pro", 18, 7.4, 4.05, 153.6, 12),
        Chip("M3 Max", 18, 16.4, 4.05, 409.6, 48),
        Chip("M3 Ultra", 18, 32.8, 4.05, 819.2, 96),
        Chip("M4", 19, 4.3, 4.4, 120, 8),
        Chip("M4 Pro", 19, 9.2, 4.51, 273, 24),
        Chip("M4 Max", 19, 18.4, 4.51, 546, 48),
    )
}

_PHONES = {
    "A14": "iPhone 12 mini, iPhone 12, iPhone 12 Pro, iPhone 12 Pro Max",
    "A15": "iPhone 13 mini, iPhone 13, iPhone 13 Pro, iPhone 13 Pro Max, iPhone SE (3rd generation), iPhone 14, "
    "iPhone 14 Plus",
    "A16": "iPhone 14 Pro, iPhone 14 Pro Max, iPhone 15, iPhone 15 Plus",
    "A17 Pro": "iPhone 15 Pro, iPhone 15 Pro Max",
    "A18": "iPhone 16e, iPhone 16, iPhone 16 Plus",
    "A18 Pro": "iPhone 16 Pro, iPhone 16 Pro Max",
    "A19": "iPhone 17",
    "A19 Pro": "iPhone Air, iPhone 17 Pro, iPhone 17 Pro Max",
    "M1": "iPad Pro (M1)",
    "M2": "iPad Pro (M2)",
    "M4": "iPad Pro (M4)",
}
_PHONES = {
    name: ", ".join(filter(None, [_PHONES.get(name), f"Mac ({name})" * name.startswith("M")])) for name in _CHIPS
}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


PHONES: dict[str, PhoneSpec] = {
    _slug(name): PhoneSpec(name, _CHIPS[chip]) for chip, names in _PHONES.items() for name in names.split(", ")
}
"""The devices by their names on the command line."""


def get_phone(name: str) -> PhoneSpec:
    """The device of that name, in Apple's spelling or as on the command line.

    Raises:
        ConfigError: There is none; the message names the nearest ones.
    """
    phone = PHONES.get(_slug(name))
    if phone is None:
        known = known_text(_slug(name), [*PHONES], "nas devices")
        raise ConfigError(f"no chip is known of device {name!r} ({known})", where="option --device")
    return phone
