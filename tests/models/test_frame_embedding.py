from __future__ import annotations

import torch

from nas.models import VideoUNet
from nas.models.network import spatial_names
from nas.space import SearchSpace
from tests.tiny import TINY


def _networks() -> tuple[VideoUNet, VideoUNet]:
    value = TINY | {"backbone": TINY["backbone"] | {"addition_embed_type": "text", "addition_embed_type_num_heads": 4}}
    spaces = [SearchSpace.from_dict(value | {"frame_embedding": flag}) for flag in (False, True)]
    plain, with_frames = (VideoUNet(space.lower(space.smallest())).eval() for space in spaces)
    with_frames.load_state_dict(plain.state_dict(), strict=False)
    return plain, with_frames


def _inputs(frames: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return torch.randn(2, frames, 48, 4, 4), torch.tensor([100.0, 900.0]), torch.randn(2, 8, 16)


def test_it_changes_nothing_at_the_start_and_is_not_a_part_of_diffusers_network() -> None:
    plain, with_frames = _networks()
    for frames in (1, 4):
        assert torch.equal(plain(*_inputs(frames)), with_frames(*_inputs(frames)))
    assert spatial_names(with_frames.plan, with_frames) == set(plain.state_dict())


def test_equal_frames_are_told_apart_once_it_is_trained() -> None:
    plain, with_frames = _networks()
    torch.nn.init.normal_(with_frames.get_submodule("frame_embedding.network.2").weight)
    sample, timestep, context = _inputs(1)
    sample = sample.expand(-1, 4, -1, -1, -1)
    same, different = plain(sample, timestep, context), with_frames(sample, timestep, context)
    torch.testing.assert_close(same[:, 0], same[:, 3])
    assert (different[:, 0] - different[:, 3]).abs().max() > 1e-3
