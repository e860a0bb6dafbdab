from __future__ import annotations

import math

import pytest
import torch

from nas.models import VideoUNet, block_cost, build_module, extreme_architectures, network_cost, parameter_range
from nas.models.costs import slot_parameters
from nas.space import TensorSpec
from nas.space.plan import Scalar, make_block
from tests.space.spaces import tiny_space

T, C, H, W, L, D = 3, 32, 4, 6, 5, 24
N = T * H * W
VIDEO = (1, T, C, H, W)
R = C // 4
"""Channels of a bottleneck."""


@pytest.mark.parametrize(
    ("kind", "config", "parameters", "macs"),
    [
        ("conv", {}, 9 * C * C + C, 9 * C * C * N),
        ("conv1d", {"kernel_size": 3}, 3 * C * C + C + 2 * C, 3 * C * C * N),
        ("separable_conv1d", {"kernel_size": 5}, 5 * C + C + C * C + C + 2 * C, (5 * C + C * C) * N),
        ("conv3d", {"kernel_size": 3}, 27 * C * C + C + 2 * C, 27 * C * C * N),
        ("upsample", {}, 9 * C * C + C, 9 * C * C * 4 * N),
        ("downsample", {"padding": 1}, 9 * C * C + C, 9 * C * C * N // 4),
        ("norm_act", {"groups": 8, "eps": 1e-5, "act_fn": "silu"}, 2 * C, 0),
        # q, k, v and output projections; then scores and weighted sums, T*T per pixel or N*N in all
        ("self_attention_1d", {"heads": 4}, 4 * C * C + C + 2 * C, 4 * C * C * N + 2 * C * T * T * H * W),
        ("self_attention_3d", {"heads": 4}, 4 * C * C + C + 2 * C, 4 * C * C * N + 2 * C * N * N),
        ("conv3d", {"kernel_size": 3, "form": "conv2d"}, 27 * C * C + C + 2 * C, 27 * C * C * N),
        (
            "bottleneck_conv1d",
            {"kernel_size": 3, "reduction": 4},
            2 * C + C * R + R + 3 * R * R + R + R * C + C,
            (2 * C * R + 3 * R * R) * N,
        ),
        (
            "bottleneck_attention_1d",
            {"heads": 4, "reduction": 4},
            C * R + R + (4 * R * R + R + 2 * R) + R * C + C,
            (2 * C * R + 4 * R * R) * N + 2 * R * T * T * H * W,
        ),
        # query and key of T frames; value and output of all pixels; one T*T map, with which all pixels are weighted
        (
            "shared_attention_1d",
            {"heads": 4},
            4 * C * C + C + 2 * C,
            2 * C * C * T + 2 * C * C * N + C * T * T + C * T * T * H * W,
        ),
        # attention as above; the gated network takes C channels to 2 * 4 * C, and 4 * C back
        (
            "transformer_1d",
            {"heads": 4, "expansion": 4},
            4 * C * C + C + 2 * C + 2 * C + 8 * C * C + 8 * C + 4 * C * C + C,
            4 * C * C * N + 2 * C * T * T * H * W + 12 * C * C * N,
        ),
        # keys and values of N / 4 places
        (
            "pooled_attention_3d",
            {"heads": 4, "pool": 2},
            4 * C * C + C + 2 * C,
            2 * C * C * N + 2 * C * C * N // 4 + 2 * C * N * N // 4,
        ),
        # windows of 2 x 3 pixels, which fill frames of 4 x 6
        (
            "window_attention_3d",
            {"heads": 4, "window": 3},
            4 * C * C + C + 2 * C,
            4 * C * C * N + 2 * C * N * T * 2 * 3,
        ),
        (
            "cross_attention_1d",
            {"heads": 4},
            2 * C * C + 2 * C * D + C + 2 * C,
            2 * C * C * T + 2 * C * D * L + 2 * C * T * L,
        ),
        (
            "cross_attention_3d",
            {"heads": 4},
            2 * C * C + 2 * C * D + C + 2 * C,
            2 * C * C * N + 2 * C * D * L + 2 * C * N * L,
        ),
    ],
)
def test_costs_of_a_block_by_hand(kind: str, config: dict[str, Scalar], parameters: int, macs: int) -> None:
    scale = {"upsample": 2, "downsample": 0.5}.get(kind, 1)
    inputs = (TensorSpec("x", VIDEO),) + ((TensorSpec("context", (1, L, D)),) if "cross" in kind else ())
    block = make_block(kind, config, inputs, (1, T, C, int(H * scale), int(W * scale)))
    cost = block_cost(block)
    assert (cost.parameters, cost.macs) == (parameters, macs)
    assert cost.parameters == sum(parameter.numel() for parameter in build_module(block).parameters())


def test_costs_of_a_network_are_those_of_the_network_built() -> None:
    space = tiny_space()
    for architecture in space.covering():
        plan = space.lower(architecture)
        cost = network_cost(plan)
        assert cost.parameters == sum(parameter.numel() for parameter in VideoUNet(plan).parameters())
        assert cost.macs == sum(block_cost(node.block).macs for node in plan.nodes)
        assert cost.peak_activation_bytes >= 4 * math.prod(space.latent_shape)


def test_costs_are_counted_without_touching_random_numbers_or_devices() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    block_cost.cache_clear()
    network_cost(tiny_space().lower(tiny_space().covering()[1]))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.empty(1).device == torch.device("cpu")


def test_parameter_range_is_that_of_all_architectures() -> None:
    space = tiny_space(slots=tiny_space().to_dict()["slots"][:3])
    counted = {architecture: network_cost(space.lower(architecture)).parameters for architecture in space.enumerate()}
    assert parameter_range(space) == (min(counted.values()), max(counted.values()))
    fewest, most = extreme_architectures(space)
    assert (counted[fewest], counted[most]) == parameter_range(space)


def test_parameters_by_slot_and_candidate() -> None:
    parameters = slot_parameters(tiny_space())
    assert parameters["down.0/0"]["none"] == 0
    assert parameters["down.0/0"]["conv1d"] == 3 * 16 * 16 + 16 + 32
    assert parameters["down.0/0"]["wide"] == 5 * 16 * 16 + 16 + 32
    assert list(parameters["up.0/1"]) == ["separable_conv1d", "cross_attention_3d"]


def test_space_without_slots_has_one_size() -> None:
    fewest, most = parameter_range(tiny_space(slots=[]))
    assert fewest == most > 0
