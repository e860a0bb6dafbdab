"""What a program on top of coremltools' device client has to work around, phone in order or not."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from coremltools.models.ml_program.experimental.remote_device import _TensorDescriptor
from torch import nn

from nas.runtimes.core_ml.runtime import CoreMLRuntime
from tests.phone import client
from tests.phone.simulated_phone import SimulatedPhone

# The client's way to drop a loaded model, see `test_client_does_not_unload_what_it_drops`.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine.*was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Gated(nn.Module):
    """Has an operation with two outputs, and one that takes five dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(4, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = torch.split(self.convolution(x), 4, 1)
        return value * torch.sigmoid(gate)


def test_an_operation_with_several_outputs_has_no_place_and_no_cost(tmp_path: Path, phone: SimulatedPhone) -> None:
    """The app names it by its first output, the client looks for its last."""

    async def plan() -> dict[str, str | None]:
        benchmarker = client.benchmarker(package, await client.prepared(tmp_path / "work"))
        found = {}
        for operation in await benchmarker.benchmark_operation_execution():
            usage = operation.compute_device_usage
            found[operation.spec.type] = usage and type(usage.preferred_compute_device).__name__
        return found

    package = tmp_path / "gated.mlpackage"
    CoreMLRuntime().convert(Gated(), [torch.zeros(1, 4, 3, 8, 8)], ["x"], package)
    with phone:
        found = asyncio.run(plan())
    assert found["split"] is None
    assert found["conv"] == "MLGPUComputeDevice"  # the made-up rule of this phone for five dimensions


def test_an_array_that_is_not_contiguous_arrives_scrambled() -> None:
    """The client sends values in C order, along with the strides that they had before."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    file = io.BytesIO()
    descriptor = _TensorDescriptor.from_array(array, file)
    assert not np.array_equal(descriptor.to_array(file), array)
    descriptor = _TensorDescriptor.from_array(np.ascontiguousarray(array), file := io.BytesIO())
    assert np.array_equal(descriptor.to_array(file), array)


def test_a_folder_with_a_space_in_its_name_does_not_do(tmp_path: Path, phone: SimulatedPhone) -> None:
    """Nothing is quoted on the way to the shell: the app is built elsewhere, and the client finds none."""
    with phone, pytest.raises(AttributeError, match="'NoneType' object has no attribute 'resolve'"):
        asyncio.run(client.prepared(tmp_path / "my work"))
