"""Layers made for phones, against the layers they save work of, diffusers, and plain loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.activations import GEGLU
from torch import nn
from torch.nn import functional as F

from nas.errors import ConfigError
from nas.models.temporal import TemporalLayer, layer_class
from nas.models.temporal.attention_1d import SharedAttention1D, Transformer1D
from nas.models.temporal.attention_3d import PooledAttention3D, WindowAttention3D
from nas.models.temporal.convolution import BottleneckConv1D
from tests.space.spaces import tiny_space

SHAPE = (1, 3, 16, 5, 6)


def _built(kind: str, shape: tuple[int, ...] = SHAPE, **config: Any) -> Any:
    layer = layer_class(kind)
    torch.manual_seed(0)
    module = layer(layer.Config(**config), shape, None)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def _video(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(2, *shape[1:], generator=torch.Generator().manual_seed(1))


def _attended(module: TemporalLayer, query_NC: torch.Tensor, source_MC: torch.Tensor, heads: int) -> torch.Tensor:
    """What `Attention.attend` should return, one head at a time."""
    key_MC, value_MC = module.to_kv(source_MC).chunk(2, dim=-1)
    parts = zip(*(each.chunk(heads, dim=-1) for each in (module.to_q(query_NC), key_MC, value_MC)), strict=True)
    mixed = [torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v for q, k, v in parts]
    made: torch.Tensor = module.to_out(query_NC + torch.cat(mixed, -1))
    return made


@pytest.mark.parametrize(
    ("kind", "config"), [("pooled_attention_3d", {"pool": 1}), ("window_attention_3d", {"window": 8})]
)
def test_without_a_saving_it_is_self_attention_3d(kind: str, config: dict[str, int]) -> None:
    full, saving = _built("self_attention_3d"), _built(kind, **config)
    saving.load_state_dict(full.state_dict())
    torch.testing.assert_close(saving(_video()), full(_video()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(5, 6), (4, 4), (1, 3)])
def test_pooled_attention_reads_averages_of_squares(size: tuple[int, int]) -> None:
    module: PooledAttention3D = _built("pooled_attention_3d", pool=2)
    x = _video((1, 3, 16, *size))[:1]
    height, width = size
    tokens_NC = module.tokens(x)[0]
    grid = tokens_NC.reshape(3, height, width, 16)
    squares = [grid[t, y : y + 2, z : z + 2].mean((0, 1))
               for t in range(3) for y in range(0, height, 2) for z in range(0, width, 2)]  # fmt: skip
    expected = _attended(module, tokens_NC, torch.stack(squares), 4).reshape(3, height, width, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(x)[0], x[0] + expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "inside"), [((4, 6), (2, 3)), ((5, 6), (1, 3)), ((3, 3), (3, 3))])
def test_window_attention_fills_any_frame_with_windows(size: tuple[int, int], inside: tuple[int, int]) -> None:
    module: WindowAttention3D = _built("window_attention_3d", window=3)
    x = _video((1, 3, 16, *size))[:1]
    (height, width), (tall, wide) = size, inside
    grid = module.tokens(x)[0].reshape(3, height, width, 16)
    expected = torch.zeros_like(grid)
    for y in range(0, height, tall):
        for z in range(0, width, wide):
            window = grid[:, y : y + tall, z : z + wide]
            tokens_NC = window.reshape(-1, 16)
            expected[:, y : y + tall, z : z + wide] = _attended(module, tokens_NC, tokens_NC, 4).reshape(window.shape)
    torch.testing.assert_close(module(x)[0], x[0] + expected.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


def test_windows_of_four_pixels_see_each_other_over_time_alone() -> None:
    module = _built("window_attention_3d", (1, 3, 16, 4, 4), window=2)
    x = _video((1, 3, 16, 4, 4))[:1]
    changed = x.clone()
    changed[:, :, :, 0, 0] += 1e-3 * torch.randn(1, 3, 16)
    module.norm = nn.Identity()  # the norm of a frame sees all of it
    differs = (module(x) != module(changed)).any(dim=2)[0]
    assert differs[:, :2, :2].all()
    assert not differs[:, 2:].any()
    assert not differs[:, :, 2:].any()


def test_shared_attention_mixes_every_pixel_with_the_weights_of_whole_frames() -> None:
    module: SharedAttention1D = _built("shared_attention_1d", heads=2)
    x = _video()[:1]
    h = module.norm(x[0])
    frames_TC = h.mean((2, 3)) + module.positions
    query_TC, key_TC = module.to_qk(frames_TC).chunk(2, -1)
    expected = torch.zeros_like(h)
    for y in range(5):
        for z in range(6):
            value_TC = h[:, :, y, z] @ module.to_v.weight[:, :, 0, 0].T
            for part in (slice(0, 8), slice(8, 16)):
                weights_TT = torch.softmax(query_TC[:, part] @ key_TC[:, part].T / 8**0.5, -1)
                expected[:, part, y, z] = weights_TT @ value_TC[:, part]
    torch.testing.assert_close(module(x)[0], x[0] + module.to_out(h + expected), rtol=1e-4, atol=1e-4)


def test_bottleneck_convolution_is_a_narrow_conv1d_at_every_pixel() -> None:
    module: BottleneckConv1D = _built("bottleneck_conv1d", kernel_size=5)
    x = _video()
    rows = F.silu(module.norm(x.flatten(0, 1)).reshape(x.shape)).permute(0, 3, 4, 2, 1).reshape(-1, 16, 3)
    narrow = F.conv1d(rows, module.down.weight[..., 0], module.down.bias)
    assert narrow.shape[1] == 4
    narrow = F.conv1d(narrow, module.convolution.weight[..., 0], module.convolution.bias, padding=2)
    rows = F.conv1d(F.silu(narrow), module.up.weight[..., 0], module.up.bias)
    expected = x + rows.reshape(2, 5, 6, 16, 3).permute(0, 4, 3, 1, 2)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)


def test_bottleneck_attention_is_self_attention_of_fewer_channels() -> None:
    module = _built("bottleneck_attention_1d")
    narrow = _built("self_attention_1d", (1, 3, 4, 5, 6))
    narrow.load_state_dict(module.attention.state_dict())
    x = _video()
    smaller = module.down(x.flatten(0, 1)).reshape(2, 3, 4, 5, 6)
    expected = x + module.up(narrow(smaller).flatten(0, 1)).reshape(x.shape)
    torch.testing.assert_close(module(x), expected)


def test_the_feed_forward_network_is_the_one_of_diffusers() -> None:
    module: Transformer1D = _built("transformer_1d")
    theirs = GEGLU(16, 64)
    theirs.proj.weight, theirs.proj.bias = nn.Parameter(module.expand.weight[..., 0, 0]), module.expand.bias
    tokens_NC = torch.randn(7, 16)
    expected = theirs(tokens_NC) @ module.contract.weight[..., 0, 0].T + module.contract.bias
    torch.testing.assert_close(module.feed_forward(tokens_NC[..., None, None])[..., 0, 0], expected)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"kind": "bottleneck_conv1d", "reduction": 5}, "not divisible by a reduction of 5"),
        (
            {"kind": "bottleneck_attention_1d", "reduction": 8},
            "a reduction of 8 leaves .* channels: .* not divisible by 4 heads",
        ),
        ({"kind": "shared_attention_1d", "heads": 3}, "not divisible by 3 heads"),
        ({"kind": "pooled_attention_3d", "pool": 0}, "pool"),
    ],
)
def test_what_cannot_work_is_refused_when_the_space_is_read(layer: dict[str, Any], message: str) -> None:
    slots = [{"stage": "down.0", "candidates": ["none", "mine"]}]
    with pytest.raises(ConfigError, match=message):
        tiny_space(layers={"mine": layer}, slots=slots)
