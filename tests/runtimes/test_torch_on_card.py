"""The torch runtime on a graphics card: it keeps the contract, its calls last as long as the card's, tables name it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.latency import LatencyTable, MeasurementSettings, profile, space_blocks
from nas.models import VideoUNet
from nas.runtimes import get_runtime, to_arrays
from nas.space import SearchSpace
from nas.testing import RuntimeConformance
from tests.tiny import TINY

pytestmark = pytest.mark.gpu


class TestTorchOnCard(RuntimeConformance):
    name = "torch"
    options: dict[str, Any] = {"compute_unit": "gpu"}


class Products(torch.nn.Module):
    """Enough work that a card needs milliseconds for what is asked of it in microseconds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(20):
            x = (x @ x) / x.shape[0]
        return x


def test_a_timed_call_ends_when_the_card_has(tmp_path: Path) -> None:
    inputs = (torch.randn(4096, 4096),)
    call = (
        get_runtime("torch", compute_unit="gpu").prepare(Products(), inputs, ("x",), tmp_path).bind(to_arrays(inputs))
    )
    call()
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    clock = time.perf_counter()
    call()
    wall_ms = 1e3 * (time.perf_counter() - clock)
    ended.record()
    ended.synchronize()
    by_events_ms = began.elapsed_time(ended)
    assert by_events_ms > 5
    assert 0.8 * by_events_ms < wall_ms < 1.25 * by_events_ms


def test_convolutions_are_not_rounded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, inputs = torch.nn.Conv2d(256, 256, 3, padding=1), (torch.randn(2, 256, 32, 32),)
    made = get_runtime("torch", compute_unit="gpu").prepare(module, inputs, ("x",), tmp_path).run(to_arrays(inputs))
    with torch.no_grad():
        expected = module.double()(inputs[0].double())
    assert float((torch.from_numpy(made) - expected).norm() / expected.norm()) < 1e-5


def test_a_table_names_the_card_and_holds_all_blocks(tmp_path: Path) -> None:
    space, runtime = SearchSpace.from_dict(TINY), get_runtime("torch", compute_unit="gpu")
    profile(
        space,
        runtime,
        tmp_path / "table.csv",
        measurement=MeasurementSettings(rounds=5, max_seconds=0.1, min_seconds=0),
    )
    table = LatencyTable.load(tmp_path / "table.csv")
    metadata = table.metadata
    assert (metadata.device, metadata.compute_unit, metadata.threads) == (torch.cuda.get_device_name(), "gpu", None)
    assert all(table.latency_ms(block) > 0 for block in space_blocks(space))
    assert all((table.row(block).memory_bytes or 0) > 0 for block in space_blocks(space))


def test_a_network_computes_what_it_does_on_the_processor(tmp_path: Path) -> None:
    space = SearchSpace.from_dict(TINY)
    torch.manual_seed(0)
    unet = VideoUNet(space.lower(space.architecture(["self_attention_1d", "self_attention_3d"]))).eval()
    inputs = torch.randn(2, *space.latent_shape), torch.tensor([20.0, 900.0]), torch.randn(2, *space.context_shape)
    found = [
        get_runtime("torch", compute_unit=unit).prepare(unet, inputs, ("a", "b", "c"), tmp_path).run(to_arrays(inputs))
        for unit in ("cpu", "gpu")
    ]
    torch.testing.assert_close(*map(torch.from_numpy, found), rtol=1e-3, atol=1e-3)
