"""What a Core ML package holds is read off the package."""

from __future__ import annotations

from pathlib import Path

import coremltools
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas.errors import CheckpointError
from nas.runtimes import get_runtime
from nas.runtimes.core_ml.program import CoreMLProgram, operation_group, read_program


def converted(module: nn.Module, folder: Path, *inputs: torch.Tensor, **options: str) -> CoreMLProgram:
    names = [f"x{place}" for place in range(len(inputs))]
    get_runtime("coreml", **options).convert(module, inputs, names, folder / "m.mlpackage")
    return read_program(folder / "m.mlpackage")


class _Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x)


class _Sinusoid(nn.Module):
    def forward(self, timestep: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.sin(timestep * 3.0))


def test_operations_are_those_of_the_package(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.SiLU(), nn.Conv2d(8, 4, 1))
    program = converted(module, tmp_path, torch.randn(1, 4, 8, 8))
    assert program.operations == {"conv": 2, "silu": 1}
    assert {name: count for name, count in program.groups.items() if count} == {"conv": 2, "activation": 1}
    assert program.highest_rank == 4
    assert program.fp32_operations == {}
    weights = 2 * sum(parameter.numel() for parameter in module.parameters())
    assert weights < program.size_bytes < 100 * weights


def test_attention_is_one_operation_from_ios_18_on(tmp_path: Path) -> None:
    found = {
        target: converted(_Attention(), tmp_path, torch.randn(1, 2, 8, 4), deployment_target=target)
        for target in ("iOS17", "iOS18")
    }
    assert (found["iOS18"].groups["attention"], found["iOS18"].groups["matmul"]) == (1, 0)
    assert (found["iOS17"].groups["attention"], found["iOS17"].groups["matmul"]) == (0, 2)
    assert found["iOS17"].operations["softmax"] == 1


def test_constants_count_towards_the_rank_but_not_as_operations(tmp_path: Path) -> None:
    class Weighs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4, 3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.conv3d(x, self.weight)

    program = converted(Weighs(), tmp_path, torch.randn(1, 4, 3, 2, 2))
    assert program.highest_rank == 5
    assert program.operations == {"conv": 1}


def test_operations_in_fp32_are_named(tmp_path: Path) -> None:
    timestep = torch.tensor([500.0])
    assert converted(_Sinusoid(), tmp_path, timestep).fp32_operations == {"mul": 1, "sin": 1}
    everything = converted(_Sinusoid(), tmp_path, timestep, precision="fp32")
    assert everything.fp32_operations == {"mul": 1, "sin": 1, "relu": 1}


def test_every_known_operation_has_a_group_and_others_are_other() -> None:
    assert operation_group("reduce_mean") == "reduce"
    assert operation_group("an_operation_of_tomorrow") == "other"


def test_what_is_no_package_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.mlpackage: no such model package"):
        read_program(tmp_path / "absent.mlpackage")
    (tmp_path / "empty.mlpackage").mkdir()
    with pytest.raises(CheckpointError, match=r"empty\.mlpackage: not a valid Core ML model: ") as caught:
        read_program(tmp_path / "empty.mlpackage")
    assert "\n" not in str(caught.value)


def test_a_damaged_package_and_one_without_a_program_are_errors(tmp_path: Path) -> None:
    converted(nn.ReLU(), tmp_path, torch.randn(1, 4))
    (specification,) = (tmp_path / "m.mlpackage").rglob("*.mlmodel")
    model = coremltools.utils.load_spec(str(specification))
    model.neuralNetwork.SetInParent()
    specification.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="holds no program but a neuralNetwork"):
        read_program(tmp_path / "m.mlpackage")
    specification.write_bytes(b"\xff\xff no message")
    with pytest.raises(CheckpointError, match="not a valid Core ML model"):
        read_program(tmp_path / "m.mlpackage")
