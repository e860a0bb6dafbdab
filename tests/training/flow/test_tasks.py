from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas.data import MovingShapes
from nas.models import SuperNet, VideoModel, VideoUNet, make_codec, make_text_encoder
from nas.space import SearchSpace, layer_kinds
from nas.training import FlowTask, SuperNetConfig, SuperNetTask, TrainingConfig
from nas.training.engine.processes import make_accelerator
from nas.training.flow.batches import Batch, BatchSource
from tests.tiny import TINY


def _batch(space: SearchSpace, clips: MovingShapes, video: int = 3, image: int = 2, **settings: float) -> Batch:
    source = BatchSource(clips.latents(make_codec(space)), make_text_encoder(space), video, image, 0.0, seed=1)
    return source(0)


def test_clips_and_frames_weigh_by_their_number(model: VideoModel, clips: MovingShapes) -> None:
    losses = FlowTask(model.unet, model.text_encoder, TrainingConfig())(_batch(model.space, clips), 0)
    expected = (3 * losses["video_loss"] + 2 * losses["image_loss"]) / 5
    torch.testing.assert_close(losses["loss"].detach(), expected)


def test_a_batch_without_frames_has_no_image_loss(model: VideoModel, clips: MovingShapes) -> None:
    losses = FlowTask(model.unet, model.text_encoder, TrainingConfig())(_batch(model.space, clips, image=0), 0)
    assert set(losses) == {"loss", "video_loss"}
    torch.testing.assert_close(losses["loss"].detach(), losses["video_loss"])


def test_frames_are_single_frames_of_clips(space: SearchSpace, clips: MovingShapes) -> None:
    batch = _batch(space, clips)
    assert batch.video_BTCHW.shape == (3, 4, 48, 4, 4)
    assert batch.image_BTCHW.shape == (2, 1, 48, 4, 4)
    pixels = make_codec(space).decode(batch.image_BTCHW)
    every = torch.stack([clip.video_TCHW for clip in clips]).flatten(0, 1).float() / 127.5 - 1
    distance = (every[None] - pixels).abs().amax(dim=(2, 3, 4))
    assert (distance.amin(dim=1) < 1e-6).all()


def test_captions_are_dropped_at_the_given_rate(space: SearchSpace, clips: MovingShapes) -> None:
    encoder = make_text_encoder(space)
    empty = encoder.tokenize([""])[0]
    source = BatchSource(clips.latents(make_codec(space)), encoder, 8, 0, 0.25, seed=1)
    dropped = torch.cat([(source(step).video_tokens_BL == empty).all(dim=1) for step in range(100)])
    assert 0.2 < dropped.float().mean() < 0.3


def test_processes_share_each_step_without_overlap(space: SearchSpace, clips: MovingShapes) -> None:
    codec, encoder = make_codec(space), make_text_encoder(space)
    whole = BatchSource(clips.latents(codec), encoder, 4, 0, 0.0, seed=1)(5).video_BTCHW
    parts = [BatchSource(clips.latents(codec), encoder, 2, 0, 0.0, 1, rank, 2)(5).video_BTCHW for rank in range(2)]
    joined = torch.stack(parts, dim=1).flatten(0, 1)
    assert torch.equal(whole, joined)


@pytest.mark.parametrize("kind", sorted(layer_kinds()))
def test_a_network_alone_uses_every_parameter_of_clips_and_of_single_frames(kind: str, clips: MovingShapes) -> None:
    space = SearchSpace.from_dict(TINY | {"slots": [{"stage": "mid", "candidates": ["none", kind]}]})
    network, batch = VideoUNet(space.lower(space.architecture([kind]))), _batch(space, clips, image=0)
    task = FlowTask(network, make_text_encoder(space), TrainingConfig())
    assert task.uses_all_parameters()
    assert not make_accelerator(task.config, all_used=True).ddp_handler.find_unused_parameters
    for each in (batch, replace(batch, video_BTCHW=batch.video_BTCHW[:, :1])):
        task.zero_grad()
        task(each, 0)["loss"].backward()
        assert [name for name, parameter in task.named_parameters() if parameter.grad is None] == []


def test_a_supernet_step_touches_only_the_sampled_path(space: SearchSpace, clips: MovingShapes) -> None:
    supernet = SuperNet(space)
    task = SuperNetTask(supernet, make_text_encoder(space), SuperNetConfig(seed=5))
    task(_batch(space, clips), 7)["loss"].backward()
    assert not task.uses_all_parameters()
    plan = supernet.plan(task.strategy.paths(7)[0])
    used = {node.name for node in plan.nodes}
    for name, parameter in supernet.named_parameters():
        on_path = any(name.startswith(node + ".") for node in used)
        assert (parameter.grad is not None) == on_path, name


def test_every_architecture_is_drawn(space: SearchSpace) -> None:
    task = SuperNetTask(SuperNet(space), make_text_encoder(space), SuperNetConfig(seed=5))
    drawn = [task.strategy.paths(step)[0] for step in range(300)]
    counts = {architecture: drawn.count(architecture) for architecture in space.enumerate()}
    assert len(counts) == 6
    assert min(counts.values()) > 25
