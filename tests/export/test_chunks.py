"""The denoising network in two programs: where it is cut, and that both compute what the whole does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.errors import ConfigError
from nas.export import BundleModel, Manifest, export_bundle
from nas.export.writing.chunks import MOST_SHARE, best_cut
from nas.models import VideoModel, VideoUNet
from nas.models.network import NetworkPart
from nas.runtimes import get_runtime
from nas.space import Plan, SearchSpace
from nas.space.fragments import cuts
from tests.tiny import TINY

SPACE = SearchSpace.from_dict(TINY)
PLAN = SPACE.lower(SPACE.architecture(["conv1d", "self_attention_3d"]))


@pytest.fixture(scope="module")
def network() -> VideoUNet:
    return VideoUNet(PLAN).eval()


def bytes_of(network: VideoUNet, plan: Plan) -> int:
    blocks = [network.get_submodule(node.name) for node in plan.nodes]
    return sum(4 * value.numel() for block in blocks for value in (*block.parameters(), *block.buffers()))


def test_the_least_crosses_where_neither_program_is_too_large(network: VideoUNet) -> None:
    whole = bytes_of(network, PLAN)
    for limit in (whole, int(0.6 * whole)):
        chosen = best_cut(PLAN, network, "fp32", limit)
        fitting = [
            cut for cut in cuts(PLAN)
            if max(bytes_of(network, cut.before), bytes_of(network, cut.after)) <= min(limit, MOST_SHARE * whole)
        ]  # fmt: skip
        assert len(fitting) > 1
        assert chosen.crossing_bytes == min(cut.crossing_bytes for cut in fitting)
        assert chosen in fitting
    assert len(cuts(PLAN)) == len(PLAN.nodes) - 1


def test_what_crosses_is_all_that_the_second_half_needs(network: VideoUNet) -> None:
    sample = torch.randn(1, *SPACE.latent_shape)
    given = {"sample": sample, "timestep": torch.tensor([500.0]), "context": torch.randn(1, *SPACE.context_shape)}
    with torch.no_grad():
        expected = network(*given.values())
        for cut in cuts(PLAN):
            names = {spec.name: spec.name for spec in cut.crossing}
            assert cut.crossing_bytes == 4 * sum(math.prod(spec.shape) for spec in cut.crossing)
            before = NetworkPart(network, cut.before, names)(*(given[spec.name] for spec in cut.before.inputs))
            values = given | dict(zip(names, before, strict=True))
            after = NetworkPart(network, cut.after, {"output": PLAN.output})
            (made,) = after(*(values[spec.name] for spec in cut.after.inputs))
            assert torch.equal(made, expected)


def test_a_network_that_no_cut_makes_small_enough(network: VideoUNet) -> None:
    whole = bytes_of(network, PLAN)
    with pytest.raises(
        ConfigError, match=r"chunks: no cut leaves programs of at most .* of fp32; compress the weights"
    ):
        best_cut(PLAN, network, "fp32", whole // 2 - 1)
    assert best_cut(PLAN, network, "fp16", whole // 2 - 1).crossing


@pytest.mark.slow
def test_two_programs_make_the_clip_that_one_makes(guided: VideoModel, tmp_path: Path) -> None:
    export_bundle(guided, tmp_path / "bundle", ["onnx"], chunks=2, prompt="a red dog")
    manifest = Manifest.load(tmp_path / "bundle")
    first, second = (network for network in manifest.networks if network.part == "unet")
    assert (first.path, second.path) == ("onnx/unet_1.onnx", "onnx/unet_2.onnx")
    crossing = {item.name: item.shape for item in first.outputs}
    assert len(crossing) > 1
    assert crossing.items() <= {item.name: item.shape for item in second.inputs}.items()
    assert [item.name for item in second.outputs] == ["output"]
    assert all(item.parity.psnr_db is None or item.parity.psnr_db > 100 for item in (first, second))
    model = BundleModel.open(tmp_path / "bundle", get_runtime("onnxruntime"))
    made = model.make(model.tokenize("a blue cat"), guided.noise(1, seed=7).numpy())
    np.testing.assert_allclose(made.frames_BTCHW, guided.generate(["a blue cat"], seed=7).numpy(), atol=1e-4)
