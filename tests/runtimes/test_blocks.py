"""Every kind of block converts, and computes in ONNX Runtime what it computes in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import coremltools
import pytest
import torch

from nas.runtimes import Runtime, block_convertible, compare, get_runtime, to_arrays
from nas.runtimes.core_ml.program import read_program
from nas.space import Block, SearchSpace, TensorSpec, layer_kinds
from nas.space.implementations import block_implementations
from nas.space.plan import make_block
from tests.tiny import TINY

KINDS = layer_kinds()
SPACE = TINY | {
    "name": "every_kind",
    "video": {"frames": 3, "height": 16, "width": 24, "fps": 8},
    "codec": {"kind": "space_to_depth", "factor": 2},
    "text": TINY["text"] | {"tokens": 5, "width": 24, "vocabulary": 4096},
    "prediction": "velocity",
    "backbone": TINY["backbone"]
    | {
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "block_out_channels": [16, 32],
        "cross_attention_dim": 24,
    },
    "slots": [{"stage": "down.0", "candidates": ["none", *KINDS]}],
}


@cache
def space() -> SearchSpace:
    return SearchSpace.from_dict(SPACE)


@cache
def blocks() -> dict[str, Block]:
    """One block of each kind; the resnet with a skip beside the one without."""
    found: dict[str, Block] = {}
    for architecture in space().covering():
        for block in space().lower_pipeline(architecture).blocks:
            label = "resnet_skip" if block.kind == "resnet" and len(block.inputs) == 3 else block.kind
            found.setdefault(label, block)
    return found | {
        f"{kind}_{form}": block for kind in KINDS for form, block in other_implementations(found[kind]).items()
    }


def other_implementations(block: Block) -> dict[str, Block]:
    """A block in the implementations that are not its layer's default one."""
    return {written.text("form"): written for written in block_implementations(block)[1:]}


SPATIAL = (
    "conv", "norm_act", "time_embedding", "resnet", "resnet_skip", "spatial_transformer", "downsample", "upsample",
    "text_learned", "decode_space_to_depth",
)  # fmt: skip
ATTENTIONS = (
    "self_attention_1d", "self_attention_3d", "cross_attention_1d", "cross_attention_3d", "bottleneck_attention_1d",
    "transformer_1d", "pooled_attention_3d", "window_attention_3d",
)  # fmt: skip
IMPLEMENTATIONS = (
    "conv1d_conv3d", "separable_conv1d_conv3d", "bottleneck_conv1d_conv3d", "conv3d_conv2d",
    *(f"{kind}_{form}" for kind in ATTENTIONS for form in ("matmul", "split_heads")),
)  # fmt: skip


def test_the_kinds_below_are_all_there_are() -> None:
    assert blocks().keys() == {*SPATIAL, *KINDS, *IMPLEMENTATIONS}


@pytest.mark.parametrize("label", [*SPATIAL, *KINDS, *IMPLEMENTATIONS])
def test_onnx_equals_torch(label: str, tmp_path: Path) -> None:
    item = block_convertible(blocks()[label])
    executable = get_runtime("onnxruntime").prepare(item.module, item.inputs, item.names, tmp_path)
    with torch.no_grad():
        reference = to_arrays([item.module.eval()(*item.inputs)])[0]
    parity = compare(executable.run(to_arrays(item.inputs)), reference)
    assert parity.psnr_db > 110
    residual = to_arrays([item.inputs[0]])[0]
    if label not in SPATIAL:
        assert compare(reference, residual).psnr_db < 60, "the layer does nothing, so nothing was compared"


def with_edges(kind: str, **config: int) -> Block:
    """A layer on frames of 5 x 7 pixels, which squares of pixels do not fill."""
    shape = (1, 3, 32, 5, 7)
    return make_block(kind, {"heads": 4, **config}, (TensorSpec("x", shape),), shape)


EDGES = [
    with_edges("pooled_attention_3d", pool=2),
    with_edges("pooled_attention_3d", pool=16),
    with_edges("window_attention_3d", window=4),
]


@pytest.mark.parametrize("label", [*KINDS, "conv3d_conv2d"])
def test_core_ai_equals_torch(label: str, tmp_path: Path) -> None:
    _check_as_torch(blocks()[label], get_runtime("coreai", precision="fp32"), tmp_path)


@pytest.mark.parametrize("block", EDGES, ids=["pool 2", "pool 16", "window 4"])
@pytest.mark.parametrize(("runtime", "options"), [("onnxruntime", {}), ("coreai", {"precision": "fp32"})])
def test_frames_that_squares_of_pixels_do_not_fill_convert(
    runtime: str, options: dict[str, str], block: Block, tmp_path: Path
) -> None:
    _check_as_torch(block, get_runtime(runtime, **options), tmp_path)


def _check_as_torch(block: Block, runtime: Runtime, folder: Path) -> None:
    item = block_convertible(block)
    executable = runtime.prepare(item.module, item.inputs, item.names, folder)
    with torch.no_grad():
        reference = to_arrays([item.module.eval()(*item.inputs)])[0]
    assert compare(executable.run(to_arrays(item.inputs)), reference).psnr_db > 110


Packages = Callable[..., Path]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Converts a block for Core ML when it is first asked for, once for all tests."""
    folder = tmp_path_factory.mktemp("packages")

    @cache
    def convert(label: str, target: str) -> Path:
        item, path = block_convertible(blocks()[label]), folder / f"{label}_{target}.mlpackage"
        get_runtime("coreml", deployment_target=target).convert(item.module, item.inputs, item.names, path)
        return path

    return lambda label, target="iOS18": convert(label, target)


@pytest.mark.parametrize("label", [*KINDS, *IMPLEMENTATIONS, "time_embedding", "text_learned"])
def test_core_ml_package_has_the_blocks_interface(label: str, package: Packages) -> None:
    spec = coremltools.utils.load_spec(str(package(label)))
    shapes = {entry.name: tuple(entry.type.multiArrayType.shape) for entry in spec.description.input}
    assert shapes == {entry.name: entry.shape for entry in blocks()[label].inputs}
    assert [entry.name for entry in spec.description.output] == ["output"]


@pytest.mark.parametrize("label", [*KINDS, *IMPLEMENTATIONS])
def test_a_layer_has_no_operation_that_keeps_it_off_the_neural_engine(label: str, package: Packages) -> None:
    """Except 3D convolutions, which the implementation named so asks for."""
    program = read_program(package(label))
    assert program.highest_rank <= 5
    assert program.groups["gather"] == program.groups["other"] == 0
    assert not program.fp32_operations


def operations(path: Path) -> list[Any]:
    """The operations of a saved Core ML program."""
    program = coremltools.utils.load_spec(str(path)).mlProgram
    (function,) = program.functions.values()
    (body,) = function.block_specializations.values()
    return list(body.operations)


def output_type(operation: Any) -> str:
    types = coremltools.proto.MIL_pb2.DataType
    return str(types.Name(operation.outputs[0].type.tensorType.dataType))


def test_core_ml_keeps_timesteps_exact(package: Packages) -> None:
    """In fp16, 743.3 would become 743.5, and its sine another number altogether."""
    types = {operation.type: output_type(operation) for operation in operations(package("time_embedding"))}
    assert types["sin"] == types["cos"] == types["mul"] == "FLOAT32"
    assert types["linear"] == "FLOAT16"


def test_core_ml_takes_tokens_as_integers(package: Packages) -> None:
    """As fp16 numbers, tokens above 2048 would be rounded to their neighbours."""
    (tokens,) = coremltools.utils.load_spec(str(package("text_learned"))).description.input
    assert tokens.type.multiArrayType.dataType == coremltools.proto.FeatureTypes_pb2.ArrayFeatureType.INT32


@pytest.mark.parametrize(("target", "whole"), [("iOS17", False), ("iOS18", True)])
def test_core_ml_target_decides_whether_attention_stays_one_operation(
    target: str, whole: bool, package: Packages
) -> None:
    kinds = {operation.type for operation in operations(package("self_attention_1d", target))}
    assert ("scaled_dot_product_attention" in kinds) == whole


@pytest.mark.parametrize("target", ["iOS17", "iOS18"])
def test_core_ml_keeps_the_implementation_that_was_asked_for(target: str, package: Packages) -> None:
    def ranks(label: str, kind: str) -> list[int]:
        """Ranks of the outputs of the operations of a kind."""
        of_kind = [operation for operation in operations(package(label, target)) if operation.type == kind]
        return [operation.outputs[0].type.tensorType.rank for operation in of_kind]

    assert {label: ranks(label, "conv") for label in ("conv1d", "conv1d_conv3d")} == {
        "conv1d": [4],
        "conv1d_conv3d": [5],
    }
    assert ranks("self_attention_3d_matmul", "matmul") == [4, 4]
    assert ranks("self_attention_3d_split_heads", "matmul") == [3] * 8


def test_large_weights_go_into_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.runtimes.onnx.runtime.EMBEDDED_BYTES", 1000)
    item, path = block_convertible(blocks()["conv3d"]), tmp_path / "block.onnx"
    runtime = get_runtime("onnxruntime")
    runtime.convert(item.module, item.inputs, item.names, path)
    assert (tmp_path / "block.onnx.data").stat().st_size > 1000
    with torch.no_grad():
        reference = to_arrays([item.module.eval()(*item.inputs)])[0]
    assert compare(runtime.load(path).run(to_arrays(item.inputs)), reference).psnr_db > 110


def test_random_weights_are_the_same_every_time_and_hold_no_zeros() -> None:
    first, second = (block_convertible(blocks()["conv1d"]) for _ in range(2))
    for name, value in first.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name])
        assert bool((value != 0).all()), f"{name} holds zeros"
