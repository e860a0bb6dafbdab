"""The discriminator: what it sees with, and what each kind of head can tell apart."""

from __future__ import annotations

import pytest
import torch

from nas.models import Generation, VideoModel
from nas.models.discriminator import Discriminator, DiscriminatorHead, Sees
from nas.space import SearchSpace
from nas.space.fragments import down_path
from tests.tiny import TINY

FEATURE = (2, 4, 16, 8, 8)


@pytest.fixture
def model() -> VideoModel:
    space = SearchSpace.from_dict(TINY)
    torch.manual_seed(0)
    return VideoModel.build(space, space.architecture(["conv1d", "self_attention_3d"]), Generation())


def _lively(head: DiscriminatorHead) -> DiscriminatorHead:
    torch.manual_seed(1)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def test_it_sees_with_the_down_path_alone(model: VideoModel) -> None:
    encoder, levels = down_path(model.unet.plan)
    assert [name.split(".")[:2] for name in levels] == [["down_blocks", "0"], ["down_blocks", "1"]]
    assert levels[0].endswith("downsamplers.0")
    assert "temporal" in levels[1]
    assert not any(node.name.startswith(("mid", "up_blocks", "conv_out")) for node in encoder.nodes)
    before = {name for name in model.unet.state_dict() if name.startswith(("down_blocks", "conv_in", "time_embedding"))}
    used = {name for name in model.unet.state_dict() if any(name.startswith(f"{n.name}.") for n in encoder.nodes)}
    assert used == before


def test_its_features_are_those_of_the_network(model: VideoModel) -> None:
    discriminator = Discriminator(model.unet.plan)
    sample, timestep = torch.randn(2, *model.space.latent_shape), torch.tensor([100.0, 700.0])
    context = model.text_encoder.encode(["a", "b"])
    seen: dict[str, torch.Tensor] = {}
    for name in discriminator.path.levels:
        model.unet.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    model.unet(sample, timestep, context)
    features = discriminator.path(model.unet, sample, timestep, context)
    assert all(torch.equal(seen[name], each) for name, each in zip(discriminator.path.levels, features, strict=True))
    logits = discriminator(features, context)
    assert [tuple(level.shape) for level in logits] == [(2, 4, 2, 2), (2, 4, 2, 2)]


@pytest.mark.parametrize("sees", ["both", "frames", "time"])
def test_a_frame_alone_passes_the_same_head(sees: Sees) -> None:
    head = DiscriminatorHead(FEATURE, 8, sees)
    assert head(torch.randn(3, 1, 16, 8, 8), torch.randn(3, 8)).shape == (3, 1, 8, 8)


@pytest.mark.parametrize(
    ("sees", "order", "places"), [("frames", False, True), ("time", True, False), ("both", True, True)]
)
def test_heads_on_frames_know_no_order_and_heads_along_time_no_neighbours(
    sees: Sees, order: bool, places: bool
) -> None:
    head = _lively(DiscriminatorHead(FEATURE, 8, sees))
    torch.manual_seed(2)
    feature, text = torch.randn(FEATURE), torch.randn(2, 8)
    shuffled = torch.tensor([2, 0, 3, 1])
    moved = head(feature[:, shuffled], text)[:, shuffled.argsort()]
    assert torch.allclose(moved, head(feature, text), atol=1e-4) != order
    rolled = head(feature.roll((3, 2), dims=(3, 4)), text).roll((-3, -2), dims=(2, 3))
    assert torch.allclose(rolled, head(feature, text), atol=1e-4) != places


def test_the_text_has_a_say(model: VideoModel) -> None:
    head = _lively(DiscriminatorHead(FEATURE, 8, "both"))
    feature = torch.randn(FEATURE)
    one, other = (head(feature, text.expand(2, 8)) for text in torch.randn(2, 8))
    assert not torch.allclose(one, other, atol=1e-2)
