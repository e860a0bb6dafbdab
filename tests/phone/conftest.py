"""Small packages to run on the phone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nas.runtimes.core_ml.runtime import CoreMLRuntime
from tests.phone.simulated_phone import SimulatedPhone

CHANNELS, SIZE = 8, 16


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Chains of 1, 2 and 4 convolutions, by their length."""
    folder = tmp_path_factory.mktemp("chains")
    lengths = (1, 2, 4)
    for length in lengths:
        blocks = [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(length)]
        inputs = [torch.zeros(1, CHANNELS, SIZE, SIZE)]
        CoreMLRuntime().convert(nn.Sequential(*blocks), inputs, ["x"], folder / f"{length}.mlpackage")
    return {length: folder / f"{length}.mlpackage" for length in lengths}


@pytest.fixture
def phone(tmp_path: Path) -> SimulatedPhone:
    """A phone, not yet plugged in."""
    return SimulatedPhone(tmp_path)
