"""The weights of a compressed torch module are those of a compressed package, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import pytest
import torch
from coremltools.optimize import coreml
from torch import nn
from torch.nn import functional as F

from nas.compression import COMPRESSED_KINDS, CompressedKind, compress_module
from nas.errors import ConfigError
from nas.runtimes import compare, get_runtime, to_arrays
from nas.runtimes.core_ml.program import read_program
from nas.runtimes.core_ml.weights import compress_model


class Mixed(nn.Module):
    """Every kind of operation that has weights, and one tensor that is too small to be compressed."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(96, 32)
        self.linear = nn.Linear(32, 80)
        self.attention = nn.MultiheadAttention(80, 2, batch_first=True)
        self.convolution = nn.Conv2d(1, 32, (3, 80), padding=(1, 0))
        self.up = nn.ConvTranspose2d(32, 48, (2, 1), stride=(2, 1))
        self.grouped = nn.Conv2d(48, 96, (9, 1), padding=(4, 0), groups=12)
        self.out = nn.Conv2d(96, 4, 1)

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        x_BLD = F.silu(self.linear(self.embedding(tokens_BL)))
        x_BLD = x_BLD + self.attention(x_BLD, x_BLD, x_BLD, need_weights=False)[0]
        x_BCL1 = F.silu(self.convolution(x_BLD.unsqueeze(1)))
        return self.out(F.silu(self.grouped(F.silu(self.up(x_BCL1)))))  # type: ignore[no-any-return]


INPUTS = (torch.arange(16).reshape(1, 16),)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Mixed().eval()


@pytest.fixture(scope="module")
def package(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module as a Core ML model in fp16, converted once."""
    path = tmp_path_factory.mktemp("package") / "mixed.mlpackage"
    get_runtime("coreml").convert(module, INPUTS, ["tokens"], path)
    return coremltools.models.MLModel(str(path), skip_model_load=True)


def weights_of(model: Any) -> Iterator[np.ndarray]:
    """The larger constants of a model, decompressed by coremltools."""
    plain = coreml.decompress_weights(model)
    yield from (item.val for item in coreml.get_weights_metadata(plain, weight_threshold=1000).values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMPRESSED_KINDS)
def test_a_package_has_the_weights_of_the_torch_module(kind: CompressedKind, module: nn.Module, package: Any) -> None:
    held = list(weights_of(compress_model(package, kind)))
    twin = copy.deepcopy(module)
    compress_module(twin, kind)
    expected = [value.detach().numpy() for value in twin.state_dict().values() if value.numel() > 1000]
    assert len(held) == len(expected) == 7
    for value in held:
        assert any(value.size == own.size and np.array_equal(value.ravel(), own.ravel()) for own in expected)
    changed = [not torch.equal(value, module.state_dict()[name].half().float()) for name, value in
               twin.state_dict().items() if value.numel() > 2048]  # fmt: skip
    assert all(changed)


@pytest.mark.slow
def test_a_compressed_package_is_smaller_and_has_the_same_operations(module: nn.Module, tmp_path: Path) -> None:
    programs = {}
    for kind in ("fp16", "palettized_6"):
        path = tmp_path / f"{kind}.mlpackage"
        get_runtime("coreml", weights=kind).convert(module, INPUTS, ["tokens"], path)
        programs[kind] = read_program(path)
    assert programs["palettized_6"].operations == programs["fp16"].operations
    saved = sum(value.numel() for value in module.parameters() if value.numel() > 2048) * 10 / 8
    assert programs["fp16"].size_bytes - programs["palettized_6"].size_bytes > 0.9 * saved


def test_onnx_runtime_computes_with_the_int8_weights_of_the_torch_module(module: nn.Module, tmp_path: Path) -> None:
    twin = copy.deepcopy(module)
    compress_module(twin, "int8")
    small = {name: value for name, value in module.state_dict().items() if value.numel() <= 2048}
    twin.load_state_dict(small, strict=False)  # what is not compressed stays in fp32
    runtime = get_runtime("onnxruntime", weights="int8")
    output = runtime.prepare(module, INPUTS, ["tokens"], tmp_path).run(to_arrays(INPUTS))
    with torch.no_grad():
        expected, uncompressed = (to_arrays([net(*INPUTS)])[0] for net in (twin, module))
    # The products of weights and scales are rounded to fp16 in the one and not in the other.
    assert compare(output, expected).psnr_db > 80 > compare(output, uncompressed).psnr_db
    size = (tmp_path / "module.onnx").stat().st_size
    assert size < 1.6 * sum(value.numel() for value in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["int8", "palettized_4"])
def test_core_ai_computes_with_the_weights_of_the_torch_module(
    kind: CompressedKind, module: nn.Module, tmp_path: Path
) -> None:
    pytest.importorskip("coreai_torch", reason="the extra coreai is not installed")
    twin = copy.deepcopy(module)
    compress_module(twin, kind)
    small = {name: value for name, value in module.state_dict().items() if value.numel() <= 2048}
    twin.load_state_dict(small, strict=False)  # what is not compressed stays in fp32
    runtime, before = get_runtime("coreai", weights=kind, precision="fp32"), copy.deepcopy(module.state_dict())
    output = runtime.prepare(module, INPUTS, ["tokens"], tmp_path).run(to_arrays(INPUTS))
    with torch.no_grad():
        expected, uncompressed = (to_arrays([net(*INPUTS)])[0] for net in (twin, module))
    assert compare(output, expected).psnr_db > 80 > compare(output, uncompressed).psnr_db
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("runtime", "options", "what"),
    [
        ("coreml", {"weights": "int3"}, "weights: .*palettized_6.*int3"),
        ("coreml", {"weights": "fp16", "precision": "fp32"}, "weights fp16 need precision=fp16, got fp32"),
        ("coreai", {"weights": "fp32"}, "weights fp32 need precision=fp32, got fp16"),
        ("coreml", {"weights": "palettized_4", "deployment_target": "iOS17"}, "needs iOS18 or later"),
        ("onnxruntime", {"weights": "palettized_6"}, "weights: .*int8.*palettized_6"),
        ("torch", {"weights": "int8"}, "runtime torch has no option 'weights'"),
    ],
)
def test_a_kind_that_a_runtime_cannot_store_is_one_line(runtime: str, options: dict[str, str], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        get_runtime(runtime, **options)
    assert "\n" not in str(caught.value)


def test_uncompressed_weights_are_the_same_settings_as_none() -> None:
    assert get_runtime("coreml", weights="fp16").settings == get_runtime("coreml").settings
    assert get_runtime("onnxruntime", weights="fp32").settings == get_runtime("onnxruntime").settings
    assert get_runtime("coreml", weights="palettized_6").settings.weights == "palettized_6"
    assert (get_runtime("coreml").settings.weights, get_runtime("onnxruntime").settings.weights) == ("fp16", "fp32")
