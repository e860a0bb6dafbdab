"""Every registered layer keeps the contract, and the conformance class notices layers that break it."""

from __future__ import annotations

import inspect
import re
from typing import Literal

import pytest
import torch
from torch import nn

from nas.models.temporal import LayerConfig, TemporalLayer, attention, layer_class, zero_init
from nas.space import layer_kinds
from nas.space.implementations import implementations_of
from nas.space.layers import layer_config
from nas.space.resolve import NAMES_OF_MODULES
from nas.testing import TemporalLayerConformance


class TestConv1D(TemporalLayerConformance):
    layer = "conv1d"


class TestWideConv1D(TemporalLayerConformance):
    layer = "conv1d"
    config = {"kernel_size": 7}
    shape = (1, 3, 6, 2, 5)


class TestPointwiseConv1D(TemporalLayerConformance):
    layer = "conv1d"
    config = {"kernel_size": 1}
    links_frames = False


class TestSeparableConv1D(TemporalLayerConformance):
    layer = "separable_conv1d"


class TestConv3D(TemporalLayerConformance):
    layer = "conv3d"


class TestConv3DAsConv2D(TemporalLayerConformance):
    layer = "conv3d"
    config = {"kernel_size": 5, "form": "conv2d"}


class TestBottleneckConv1D(TemporalLayerConformance):
    layer = "bottleneck_conv1d"


class TestBottleneckConv1DAsConv3D(TemporalLayerConformance):
    layer = "bottleneck_conv1d"
    config = {"reduction": 8, "form": "conv3d"}


class TestSelfAttention1D(TemporalLayerConformance):
    layer = "self_attention_1d"


class TestSharedAttention1D(TemporalLayerConformance):
    layer = "shared_attention_1d"


class TestBottleneckAttention1D(TemporalLayerConformance):
    layer = "bottleneck_attention_1d"


class TestBottleneckAttention1DAsMatmul(TemporalLayerConformance):
    layer = "bottleneck_attention_1d"
    config = {"form": "matmul", "reduction": 2}


class TestBottleneckAttention1DByHead(TemporalLayerConformance):
    layer = "bottleneck_attention_1d"
    config = {"form": "split_heads", "heads": 2}


class TestTransformer1D(TemporalLayerConformance):
    layer = "transformer_1d"


class TestTransformer1DAsMatmul(TemporalLayerConformance):
    layer = "transformer_1d"
    config = {"form": "matmul", "expansion": 1}


class TestTransformer1DByHead(TemporalLayerConformance):
    layer = "transformer_1d"
    config = {"form": "split_heads"}


class TestPooledAttention3D(TemporalLayerConformance):
    layer = "pooled_attention_3d"


class TestPooledAttention3DAsMatmul(TemporalLayerConformance):
    layer = "pooled_attention_3d"
    config = {"form": "matmul", "pool": 4}
    """Neither height nor width is a multiple of it."""


class TestPooledAttention3DByHead(TemporalLayerConformance):
    layer = "pooled_attention_3d"
    config = {"form": "split_heads", "pool": 3}


class TestWindowAttention3D(TemporalLayerConformance):
    layer = "window_attention_3d"
    config = {"window": 2}


class TestWindowAttention3DAsMatmul(TemporalLayerConformance):
    layer = "window_attention_3d"
    config = {"form": "matmul", "window": 5}
    """Windows of 3 x 4 pixels."""


class TestWindowAttention3DByHead(TemporalLayerConformance):
    layer = "window_attention_3d"
    config = {"form": "split_heads", "heads": 1}


class TestSelfAttention3D(TemporalLayerConformance):
    layer = "self_attention_3d"
    config = {"heads": 8}


class TestCrossAttention1D(TemporalLayerConformance):
    layer = "cross_attention_1d"
    links_frames = False


class TestCrossAttention3D(TemporalLayerConformance):
    layer = "cross_attention_3d"
    links_frames = False


class TestConv1DAsConv3D(TemporalLayerConformance):
    layer = "conv1d"
    config = {"kernel_size": 5, "form": "conv3d"}


class TestSeparableConv1DAsConv3D(TemporalLayerConformance):
    layer = "separable_conv1d"
    config = {"form": "conv3d"}


class TestSelfAttention1DAsMatmul(TemporalLayerConformance):
    layer = "self_attention_1d"
    config = {"form": "matmul"}


class TestSelfAttention1DByHead(TemporalLayerConformance):
    layer = "self_attention_1d"
    config = {"form": "split_heads"}


class TestSelfAttention3DAsMatmul(TemporalLayerConformance):
    layer = "self_attention_3d"
    config = {"form": "matmul", "heads": 8}


class TestSelfAttention3DByHead(TemporalLayerConformance):
    layer = "self_attention_3d"
    config = {"form": "split_heads", "heads": 1}


class TestCrossAttention1DAsMatmul(TemporalLayerConformance):
    layer = "cross_attention_1d"
    config = {"form": "matmul"}
    links_frames = False


class TestCrossAttention1DByHead(TemporalLayerConformance):
    layer = "cross_attention_1d"
    config = {"form": "split_heads"}
    links_frames = False


class TestCrossAttention3DAsMatmul(TemporalLayerConformance):
    layer = "cross_attention_3d"
    config = {"form": "matmul"}
    links_frames = False


class TestCrossAttention3DByHead(TemporalLayerConformance):
    layer = "cross_attention_3d"
    config = {"form": "split_heads"}
    links_frames = False


def test_every_registered_layer_is_checked_above_in_every_implementation() -> None:
    classes = [value for value in globals().values() if isinstance(value, type)]
    conformances = [cls for cls in classes if issubclass(cls, TemporalLayerConformance) and hasattr(cls, "layer")]
    checked = {(cls.layer, tuple(_implementation(layer_class(cls.layer).Config(**cls.config)))) for cls in conformances
               if isinstance(cls.layer, str)}  # fmt: skip
    every = {
        (kind, tuple(_implementation(config)))
        for kind in layer_kinds()
        for config in implementations_of(layer_class(kind).Config())
    }
    assert checked == every
    assert len(every) == 4 * 2 + 1 + 8 * 3


def test_settings_known_without_torch_are_those_of_the_layers() -> None:
    for kind in layer_kinds():
        assert layer_class(kind).Config is layer_config(kind), kind


def test_names_that_modules_have_are_refused_for_layers() -> None:
    # Read from the source: other libraries may add attributes of their own to torch's class.
    methods = re.findall(r"^    def ([a-z][a-z0-9_]*)\(", inspect.getsource(nn.Module), re.MULTILINE)
    assert len(methods) > 40
    assert {*methods, "training"} <= NAMES_OF_MODULES


def _implementation(config: LayerConfig) -> list[str]:
    return [getattr(config, name) for name in config.implementation_fields]


class _Mixer(TemporalLayer):
    """A third party's layer without hyper-parameters: mixes frames by a zero-initialised matrix."""

    def __init__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.frames = shape[1]
        self.mix = zero_init(nn.Linear(self.frames, self.frames, bias=False))

    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        weight = self.mix.weight[: x_BTCHW.shape[1], : x_BTCHW.shape[1]]
        return (weight @ x_BTCHW.flatten(2)).reshape(x_BTCHW.shape)

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        return x_BTCHW + self.residual(x_BTCHW)


class TestThirdParty(TemporalLayerConformance):
    layer = _Mixer


class _NotIdentity(_Mixer):
    def __init__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        nn.init.ones_(self.mix.weight)


class _SeesBatch(_Mixer):
    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return super().residual(x_BTCHW) - super().residual(x_BTCHW).mean(0, keepdim=True)


class _SixDimensions(_Mixer):
    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return super().residual(x_BTCHW.unflatten(2, (2, -1)).flatten(2, 3))


class _Remembers(_Mixer):
    def __init__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.calls = 0

    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.calls * super().residual(x_BTCHW)


class _Cuts(_Mixer):
    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x_BTCHW)[..., :-1]


class _NeverLearns(_Mixer):
    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return 0 * super().residual(x_BTCHW)


class _HidesWeights(_Mixer):
    def __init__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.hidden = torch.rand(())

    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return self.hidden.item() * super().residual(x_BTCHW)


class _Branches(_Mixer):
    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return super().residual(x_BTCHW) * (2 if x_BTCHW.sum() > 0 else 1)


class _Alone(_Mixer):
    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return self.mix.weight.sum() * x_BTCHW


class _FormedConfig(LayerConfig):
    form: Literal["plain", "scaled"] = "plain"
    implementation_fields = ("form",)


class _ImplementationsDiffer(_Mixer):
    Config = _FormedConfig

    def __init__(self, config: _FormedConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.scale = 1.01 if config.form == "scaled" else 1.0

    def residual(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        return self.scale * super().residual(x_BTCHW)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (_Cuts, "test_keeps_the_shape_at_any_batch_and_for_fewer_frames"),
        (_NotIdentity, "test_is_the_identity_when_freshly_built"),
        (_NeverLearns, "test_can_leave_the_identity_by_training"),
        (_SeesBatch, "test_clips_of_a_batch_do_not_see_each_other"),
        (_Alone, "test_frames_are_linked_as_stated"),
        (_Remembers, "test_is_deterministic_and_keeps_no_state"),
        (_SixDimensions, "test_no_tensor_has_more_than_five_dimensions"),
        (_HidesWeights, "test_weights_have_names"),
        (_ImplementationsDiffer, "test_every_implementation_computes_the_same"),
    ],
)
def test_conformance_notices(broken: type[TemporalLayer], test: str) -> None:
    conformance = type("Conformance", (TemporalLayerConformance,), {"layer": broken})()
    with pytest.raises(AssertionError):
        getattr(conformance, test)()


def test_conformance_notices_what_cannot_be_exported() -> None:
    conformance = type("Conformance", (TemporalLayerConformance,), {"layer": _Branches})()
    with pytest.raises(RuntimeError, match="data-dependent"):
        conformance.test_exports()


def test_separable_convolution_is_cheaper() -> None:
    sizes = {}
    for kind in ("conv1d", "separable_conv1d"):
        layer = layer_class(kind)
        module = layer(layer.Config(), (1, 4, 32, 4, 4), None)
        sizes[kind] = sum(parameter.numel() for parameter in module.parameters())
    assert sizes == {"conv1d": 64 + 3 * 32 * 32 + 32, "separable_conv1d": 64 + 3 * 32 + 32 + 32 * 32 + 32}


@pytest.mark.parametrize("form", ["conv2d", "conv3d"])
def test_conv1d_is_conv1d_at_every_pixel(form: str) -> None:
    layer = layer_class("conv1d")
    module = layer(layer.Config(form=form), (1, 4, 8, 3, 2), None)
    nn.init.normal_(module.convolution.weight)
    x = torch.randn(2, 4, 8, 3, 2)
    h = nn.functional.silu(module.norm(x.flatten(0, 1)).reshape(x.shape))
    rows = h.permute(0, 3, 4, 2, 1).reshape(-1, 8, 4)
    expected = nn.functional.conv1d(rows, module.convolution.weight[..., 0], module.convolution.bias, padding=1)
    expected = x + expected.reshape(2, 3, 2, 8, 4).permute(0, 4, 3, 1, 2)
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["native", "matmul", "split_heads"])
def test_self_attention_1d_is_tokens_plus_softmax_attention_along_time(form: str) -> None:
    layer = layer_class("self_attention_1d")
    module = layer(layer.Config(heads=2, form=form), (1, 4, 8, 2, 2), None)
    nn.init.normal_(module.to_out.weight)
    x = torch.randn(1, 4, 8, 2, 2)
    h = module.norm(x[0])[:, :, 1, 0] + module.positions
    q, (k, v) = module.to_q(h), module.to_kv(h).chunk(2, dim=-1)
    heads = [torch.softmax(q[:, part] @ k[:, part].T / 2, dim=-1) @ v[:, part] for part in (slice(0, 4), slice(4, 8))]
    expected = x[0, :, :, 1, 0] + module.to_out(h + torch.cat(heads, dim=-1))
    torch.testing.assert_close(module(x)[0, :, :, 1, 0], expected, rtol=1e-5, atol=1e-5)


def test_positions_of_3d_attention_follow_the_order_of_pixels() -> None:
    """Two pixels in one row share the row's part of the code, two in one column the column's."""
    layer = layer_class("self_attention_3d")
    table = layer(layer.Config(), (1, 2, 32, 3, 5), None).positions.reshape(2, 3, 5, 32)
    time, space = table[..., :8], table[..., 8:]
    assert torch.equal(time[0, 0, 0], time[0, 2, 4])
    assert not torch.equal(time[0, 0, 0], time[1, 0, 0])
    along_row, along_column = (space[0, 0, :] - space[0, 0, :1]).abs(), (space[0, :, 0] - space[0, :1, 0]).abs()
    changed_by_row, changed_by_column = along_column.sum(0) > 0, along_row.sum(0) > 0
    assert changed_by_row.any()
    assert changed_by_column.any()
    assert not (changed_by_row & changed_by_column).any()
    assert len({tuple(code.tolist()) for code in table.reshape(-1, 32)}) == 30


@pytest.mark.parametrize(
    "kind", ["self_attention_3d", "cross_attention_3d", "pooled_attention_3d", "window_attention_3d"]
)
def test_3d_attention_at_another_size_is_a_layer_built_for_it(kind: str) -> None:
    layer = layer_class(kind)
    width = 16 if layer.Config.uses_context else None
    config = layer.Config()
    torch.manual_seed(0)
    built, other = (layer(config, (1, 4, 16, *size), width) for size in ((4, 4), (2, 6)))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter)
    other.load_state_dict(built.state_dict())
    inputs = [torch.randn(2, 3, 16, 2, 6)] + ([torch.randn(2, 5, 16)] if width else [])
    assert torch.equal(built(*inputs), other(*inputs))


def test_attention_takes_more_sequences_than_a_grid_of_cuda_has_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    query_BNC, key_BMC, value_BMC = (torch.randn(10, size, 8) for size in (3, 5, 5))
    whole = attention._ATTENTION["native"](query_BNC, key_BMC, value_BMC, 2)
    monkeypatch.setattr(attention, "MOST_SEQUENCES", 4)
    torch.testing.assert_close(attention._ATTENTION["native"](query_BNC, key_BMC, value_BMC, 2), whole)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_attention_along_time_takes_every_place_of_many_clips_on_a_card(precision: torch.dtype) -> None:
    x_BNC = torch.randn(2**16 + 5, 4, 16, device="cuda", dtype=precision, requires_grad=True)
    made, expected = (attention._ATTENTION[form](x_BNC, x_BNC, x_BNC, 2) for form in ("native", "matmul"))
    torch.testing.assert_close(made, expected, rtol=2e-2, atol=2e-2)
    made.float().sum().backward()
    assert x_BNC.grad is not None
    assert torch.isfinite(x_BNC.grad).all()
