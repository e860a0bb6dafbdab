"""Implementations of a layer in a supernet: one set of weights, the same output, whatever the implementation."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.models import SuperNet, VideoModel, VideoUNet, make_text_encoder
from nas.models.weights import load_into, load_safetensors, save_safetensors
from nas.space import Architecture, SearchSpace
from nas.training import SuperNetConfig, inherit_model, train_supernet
from nas.training.flow.tasks import SuperNetTask
from tests.space.spaces import IMPLEMENTATIONS, tiny, tiny_space

SLOTS = [
    {"stage": "down.0", "candidates": ["none", "conv1d", "conv1d_as_conv3d"]},
    {"stage": "mid", "candidates": ["split", "self_attention_3d", "matmul"]},
    {"stage": "up.1", "positions": [0], "candidates": ["as_conv3d", "separable_conv1d"]},
]
LAYERS = {
    "split": {"kind": "self_attention_3d", "form": "split_heads"},
    "matmul": {"kind": "self_attention_3d", "form": "matmul"},
    "as_conv3d": {"kind": "separable_conv1d", "form": "conv3d"},
}


@pytest.fixture
def space() -> SearchSpace:
    return tiny_space(layers=tiny()["layers"] | IMPLEMENTATIONS | LAYERS, slots=SLOTS)


def inputs(space: SearchSpace, frames: int | None = None) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shape = (frames or space.latent_shape[0], *space.latent_shape[1:])
    context = torch.randn(2, *space.context_shape, generator=generator)
    return torch.randn(2, *shape, generator=generator), torch.tensor([100.0, 900.0]), context


def randomised(space: SearchSpace) -> SuperNet:
    torch.manual_seed(0)
    supernet = SuperNet(space).eval()
    for parameter in supernet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return supernet


def in_every_implementation(space: SearchSpace) -> tuple[Architecture, ...]:
    """A network with a layer in every slot, in all its implementations."""
    choices = itertools.product(("conv1d", "conv1d_as_conv3d"), ("split", "self_attention_3d", "matmul"),
                                ("as_conv3d", "separable_conv1d"))  # fmt: skip
    return tuple(space.architecture(names) for names in choices)


def test_a_supernet_has_one_module_for_all_implementations(space: SearchSpace) -> None:
    supernet = SuperNet(space)
    distinct = SuperNet(space.distinct())
    assert list(supernet.state_dict()) == list(distinct.state_dict())
    assert len(supernet.temporal_parameters()) == len(distinct.temporal_parameters())
    assert ".temporal.0.conv1d_as_conv3d" not in " ".join(supernet.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, None])
def test_extracted_networks_of_every_implementation_compute_the_same(space: SearchSpace, frames: int | None) -> None:
    supernet, given = randomised(space), inputs(space, frames)
    outputs = []
    with torch.no_grad():
        for architecture in in_every_implementation(space):
            network = supernet.extract(architecture)
            outputs.append(network(*given))
            torch.testing.assert_close(supernet(*given, architecture), outputs[-1], rtol=1e-4, atol=1e-5)
    assert len(outputs) == 12
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-4, atol=1e-5)
    plain = supernet(*given, space.architecture(["none", "split", "as_conv3d"]))
    assert not torch.allclose(outputs[0], plain, atol=1e-3)


@pytest.mark.slow
def test_training_one_implementation_changes_the_others(space: SearchSpace) -> None:
    supernet, given = randomised(space), inputs(space)
    trained, *others = in_every_implementation(space)
    with torch.no_grad():
        before = [supernet.extract(other)(*given) for other in others]
    optimizer = torch.optim.SGD(supernet.temporal_parameters(), lr=5)
    supernet(*given, trained).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        reference = supernet(*given, trained)
        for other, old in zip(others, before, strict=True):
            new = supernet.extract(other)(*given)
            assert not torch.allclose(new, old, atol=1e-3)
            torch.testing.assert_close(new, reference, rtol=1e-4, atol=1e-5)


def test_weights_load_into_any_implementation_and_any_restriction_of_the_space(
    space: SearchSpace, tmp_path: Path
) -> None:
    supernet, given = randomised(space), inputs(space)
    trained, *others = in_every_implementation(space)
    save_safetensors(tmp_path / "weights.safetensors", supernet.extract(trained).state_dict())
    weights = load_safetensors(tmp_path / "weights.safetensors")
    restricted = space.without({"down.0/0": ["conv1d"], "mid/0": ["split"], "up.1/0": ["as_conv3d"]})
    with torch.no_grad():
        for other in others:
            network = VideoUNet(space.lower(other)).eval()
            load_into(network, weights, where="weights")
            torch.testing.assert_close(network(*given), supernet(*given, trained), rtol=1e-4, atol=1e-5)
        smaller = SuperNet(restricted).eval()
        load_into(smaller, supernet.state_dict(), where="supernet")
        last = others[-1]
        assert last in restricted.enumerate()
        torch.testing.assert_close(smaller(*given, last), supernet(*given, last), rtol=1e-4, atol=1e-5)


def test_a_trained_supernet_gives_out_models_in_any_implementation(space: SearchSpace, tmp_path: Path) -> None:
    video = space.file.video
    shape = ClipShape.of(video)
    clips = open_data(MovingShapesConfig(kind="moving_shapes", clips=20), shape, base=".")
    train_supernet(space, clips.train, SuperNetConfig(steps=2, batch_size=2, image_batch_size=1), tmp_path / "run")
    trained, *others = in_every_implementation(space)
    reference = inherit_model(space, tmp_path / "run", trained).generate(["a red circle"], seed=0, steps=2)
    model = inherit_model(space, tmp_path / "run", others[-1])
    torch.testing.assert_close(model.generate(["a red circle"], seed=0, steps=2), reference, rtol=1e-3, atol=1e-3)
    model.save(tmp_path / "model")
    loaded = VideoModel.load(tmp_path / "model")
    assert loaded.architecture.choices == ("conv1d_as_conv3d", "matmul", "separable_conv1d")
    assert torch.equal(
        loaded.generate(["a red circle"], seed=0, steps=2), model.generate(["a red circle"], seed=0, steps=2)
    )


def test_training_draws_every_function_alike_however_many_implementations_it_has(space: SearchSpace) -> None:
    task = SuperNetTask(SuperNet(space), make_text_encoder(space), SuperNetConfig(steps=1))
    drawn = [task.strategy.paths(step)[0].choices for step in range(300)]
    assert {choices[0] for choices in drawn} == {"none", "conv1d"}
    assert {choices[1:] for choices in drawn} == {("split", "as_conv3d")}
    assert 100 < sum(choices[0] == "none" for choices in drawn) < 200
