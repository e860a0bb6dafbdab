"""Core AI: what it computes here, what it refuses, and that it says nothing meanwhile."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import CheckpointError, RuntimeUnavailableError
from nas.latency import profile
from nas.runtimes import block_convertible, compare, devices, get_runtime, to_arrays
from nas.runtimes.core_ai.narrowing import in_half
from nas.space import SearchSpace
from tests.tiny import TINY

INTERPRETED = pytest.mark.skipif(sys.platform == "darwin", reason="the system may execute Core AI here")
X = torch.linspace(-1, 1, 48).reshape(1, 3, 4, 4)


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("core_ai") / "conv.aimodel"
    torch.manual_seed(0)
    get_runtime("coreai", precision="fp32").convert(nn.Conv2d(3, 2, 3), (X,), ("x",), path)
    return path


def test_nothing_is_printed_and_no_folder_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    """The converter prints, and so does the native code that loads an asset."""
    get_runtime("coreai").prepare(nn.Conv2d(3, 2, 3), (X,), ("x",), tmp_path).run(to_arrays([X]))
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"site-packages" not in written
    assert str(Path(__file__).parent).encode() not in written


def test_it_can_be_called_where_an_event_loop_runs(asset: Path) -> None:
    """As in a notebook, whose cells run within one."""

    async def cell() -> np.ndarray:
        return get_runtime("coreai", precision="fp32").load(asset).run(to_arrays([X]))

    torch.manual_seed(0)
    expected = nn.Conv2d(3, 2, 3)(X).detach().numpy()
    assert compare(asyncio.run(cell()), expected).psnr_db > 120


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("main.mlirb", b"", "damaged: main.mlirb is not the file that main.hash describes"),
        ("main.mlirb", None, "not a Core AI asset: it has no main.mlirb"),
        ("main.hash", None, "not a Core AI asset: it has no main.mlirb with main.hash"),
    ],
)
def test_a_damaged_asset_is_an_error_and_not_the_end_of_the_process(
    asset: Path, tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    damaged = tmp_path / "damaged.aimodel"
    damaged.mkdir()
    for part in asset.iterdir():
        (damaged / part.name).write_bytes(part.read_bytes())
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"damaged\.aimodel: {message}"):
        get_runtime("coreai").load(damaged)


def test_half_precision_keeps_timesteps_apart_that_fp16_cannot_hold(tmp_path: Path) -> None:
    """Between 512 and 1024, fp16 has steps of 0.5; the sinusoids of 999.2 and of 999.0 differ."""
    blocks = SearchSpace.from_dict(TINY).lower(SearchSpace.from_dict(TINY).smallest()).blocks
    item = block_convertible(next(block for block in blocks if block.kind == "time_embedding"))
    timestep = torch.tensor([999.2])
    executable = get_runtime("coreai").prepare(item.module, (timestep,), item.names, tmp_path)
    with torch.no_grad():
        right, rounded = (to_arrays([item.module(at)])[0] for at in (timestep, timestep.half().float()))
    made = executable.run(to_arrays([timestep]))
    assert made.dtype == np.float16
    assert compare(made, right).psnr_db > compare(rounded, right).psnr_db + 10
    assert compare(made, right).psnr_db > 60


def test_a_copy_in_half_precision_shares_what_the_module_shares() -> None:
    module = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4), nn.BatchNorm1d(4))
    module[1].weight = module[0].weight
    narrow = in_half(module)
    assert narrow[0].weight is narrow[1].weight
    assert narrow[0].weight.dtype == narrow[2].running_mean.dtype == torch.float16
    assert narrow[2].num_batches_tracked.dtype == torch.int64
    assert module[0].weight.dtype == torch.float32


def test_a_linear_layer_of_tokens_that_are_not_contiguous_is_written_once(tmp_path: Path) -> None:
    """Attention along time has such tokens, one sequence for each place of a frame."""

    class AlongTime(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 64)

        def forward(self, x_BTCN: torch.Tensor) -> torch.Tensor:
            return self.layer(x_BTCN.permute(0, 3, 1, 2).flatten(0, 1))  # type: ignore[no-any-return]

    module, x_BTCN = AlongTime(), torch.randn(1, 2, 64, 128)
    path = tmp_path / "layer.aimodel"
    get_runtime("coreai").convert(module, (x_BTCN,), ("x",), path)
    assert sum(file.stat().st_size for file in path.iterdir()) < 2 * 2 * 64 * 64
    expected = module(x_BTCN).detach().numpy()
    assert compare(get_runtime("coreai").load(path).run(to_arrays([x_BTCN])), expected).psnr_db > 60


@INTERPRETED
def test_the_interpreters_time_is_no_latency(tmp_path: Path) -> None:
    refusal = (
        "runtime coreai cannot measure here: Core AI runs on macOS 27; .* an interpreter stands in.*; measure with"
    )
    with pytest.raises(RuntimeUnavailableError, match=refusal):
        profile(SearchSpace.from_dict(TINY), get_runtime("coreai"), tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())
    assert get_runtime("coreai").unavailable_reason() is None


@INTERPRETED
def test_devices_say_what_core_ai_can_do_here() -> None:
    (mac,) = (device for device in devices() if device.runtimes == ("coreai",))
    assert not mac.ready
    assert mac.reason == get_runtime("coreai").unmeasurable_reason()
    said = CliRunner().invoke(app, ["devices"]).stdout
    assert "Core AI: none: Core AI runs on macOS 27" in said
    assert "this Mac" not in said  # it is none
    assert "iphone-15-pro, " in said
    assert "nas export --formats coreai compares with torch" in said


def test_without_the_extra_each_use_says_what_to_install(
    asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coreai_torch", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    runtime = get_runtime("coreai")
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'nas-video\[coreai\]'"):
        runtime.convert(nn.Conv2d(3, 2, 3), (X,), ("x",), tmp_path / "m.aimodel")
    with pytest.raises(RuntimeUnavailableError, match=r"coreai-torch is not installed \(the extra `coreai`"):
        runtime.load(asset)
    assert runtime.unmeasurable_reason() == runtime.unavailable_reason()
