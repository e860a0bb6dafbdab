from __future__ import annotations

import random

import pytest
import torch

from nas.models import SuperNet, VideoUNet, build_module, example_inputs, network_cost
from nas.space import SearchSpace, layer_kinds
from tests.space.spaces import QUICKSTART, tiny_space


def _randomised(space: SearchSpace) -> SuperNet:
    """A supernet in which no layer is the identity."""
    torch.manual_seed(0)
    supernet = SuperNet(space).eval()
    for parameter in supernet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return supernet


def _inputs(space: SearchSpace, batch: int = 2, frames: int | None = None) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shape = (frames or space.latent_shape[0], *space.latent_shape[1:])
    video = torch.randn(batch, *shape, generator=generator)
    context = torch.randn(batch, *space.context_shape, generator=generator)
    return video, torch.tensor([100.0, 900.0, 500.0])[:batch], context


@pytest.mark.parametrize("prediction", ["velocity", "data"])
def test_extracted_network_is_bit_identical(prediction: str) -> None:
    space = tiny_space(prediction=prediction)
    supernet, inputs = _randomised(space), _inputs(space)
    plain = supernet(*inputs, space.smallest())
    for architecture in space.sample_distinct(random.Random(0), 6):
        network = supernet.extract(architecture)
        with torch.no_grad():
            inside, outside = supernet(*inputs, architecture), network(*inputs)
        assert torch.equal(inside, outside)
        assert inside.isfinite().all()
        assert torch.equal(inside, plain) == (architecture == space.smallest())
        assert sum(parameter.numel() for parameter in network.parameters()) == network_cost(network.plan).parameters


def test_extracted_network_is_a_copy() -> None:
    space = tiny_space()
    supernet, inputs = _randomised(space), _inputs(space)
    network = supernet.extract(space.covering()[1])
    before = network(*inputs)
    for parameter in supernet.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(network(*inputs), before)
    assert not network.training
    assert supernet.train().extract(space.smallest()).training


def test_supernet_holds_every_candidate_of_every_slot() -> None:
    space = tiny_space()
    supernet = SuperNet(space)
    names = set(supernet.state_dict())
    for architecture in space.enumerate():
        assert {node.name for node in space.lower(architecture).nodes if node.slot} <= {
            name for name, _ in supernet.named_modules()
        }
    smallest = set(VideoUNet(space.lower(space.smallest())).state_dict())
    assert smallest < names


def test_temporal_parameters_are_those_of_the_layers() -> None:
    space = tiny_space()
    supernet = SuperNet(space)
    temporal = {id(parameter) for parameter in supernet.temporal_parameters()}
    for name, parameter in supernet.named_parameters():
        assert (id(parameter) in temporal) == (".temporal." in name)


def test_every_architecture_of_a_fresh_supernet_is_the_backbone() -> None:
    space = tiny_space(
        slots=[{"stage": "mid", "candidates": ["none", "conv3d"]}, {"stage": "up.1", "candidates": ["none", "conv1d"]}]
    )
    supernet, inputs = SuperNet(space).eval(), _inputs(space)
    outputs = [supernet(*inputs, architecture) for architecture in space.enumerate()]
    assert len(outputs) == 8
    assert all(torch.equal(output, outputs[0]) for output in outputs)


def test_images_pass_as_videos_of_one_frame() -> None:
    space = tiny_space()
    supernet, inputs = _randomised(space), _inputs(space, batch=3, frames=1)
    for architecture in space.covering():
        assert supernet(*inputs, architecture).shape == inputs[0].shape


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    space = tiny_space()
    supernet, inputs = _randomised(space), _inputs(space, batch=3)
    for architecture in space.covering():
        together = supernet(*inputs, architecture)
        alone = torch.cat([supernet(*(value[i : i + 1] for value in inputs), architecture) for i in range(3)])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_frames_are_linked_exactly_by_layers_that_do_so() -> None:
    space = tiny_space()
    supernet, (video, timestep, context) = _randomised(space), _inputs(space, batch=1)
    changed = video.clone()
    changed[:, -1] += 1
    linking = {"conv1d", "wide", "conv3d", "separable_conv1d", "self_attention_1d", "self_attention_3d"}
    for architecture in space.covering():
        first, second = (supernet(x, timestep, context, architecture)[:, 1] for x in (video, changed))
        assert torch.equal(first, second) == linking.isdisjoint(architecture.choices)


def test_every_block_alone_has_the_shape_the_plan_says() -> None:
    space = SearchSpace.load(QUICKSTART)
    blocks = {block for architecture in space.covering() for block in space.lower_pipeline(architecture).blocks}
    assert len(blocks) > 20
    for block in blocks:
        with torch.no_grad():
            assert build_module(block).eval()(*example_inputs(block)).shape == block.output_shape, block.key


def test_example_inputs_are_the_same_for_the_same_seed() -> None:
    block = tiny_space().lower(tiny_space().smallest()).blocks[2]
    first, again, other = (example_inputs(block, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert [tuple(tensor.shape) for tensor in first] == [spec.shape for spec in block.inputs]


def test_gradients_reach_the_backbone_and_the_chosen_layers_only() -> None:
    space = tiny_space()
    supernet = _randomised(space)
    architecture = space.covering()[2]
    supernet(*_inputs(space), architecture).square().mean().backward()
    chosen = {node.name for node in space.lower(architecture).nodes}
    for name, parameter in supernet.named_parameters():
        used = any(name.startswith(f"{node}.") for node in chosen)
        assert (parameter.grad is not None) == used, name


@pytest.mark.parametrize("kind", layer_kinds())
def test_every_layer_learns_inside_a_supernet(kind: str) -> None:
    """Only the layer's weights are trained, so that only the layer can bring the loss down."""
    space = tiny_space(slots=[{"stage": "down.0", "candidates": ["none", *layer_kinds()]}])
    supernet, inputs = SuperNet(space), _inputs(space)
    architecture = space.architecture([kind])
    (layer,) = (node.name for node in space.lower(architecture).nodes if node.block.kind == kind)
    weights = [parameter for name, parameter in supernet.named_parameters() if name.startswith(f"{layer}.")]
    with torch.no_grad():
        goal = supernet(*inputs, space.smallest()).flip(1)  # frames in another order
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    losses = []
    for _ in range(4):
        loss = (supernet(*inputs, architecture) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[1] < losses[0]
