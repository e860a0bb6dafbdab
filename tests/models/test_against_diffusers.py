"""The backbone is `UNet2DConditionModel`: same names, same weights, same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from nas.errors import CheckpointError
from nas.models import SuperNet, VideoUNet, load_pretrained
from nas.models.network import load_spatial
from nas.space import SearchSpace
from tests.space.spaces import tiny, tiny_space

THREE_LEVELS = {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [16, 32, 16],
}
CONVOLUTIONS = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}

BACKBONES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no mid block": {"mid_block_type": None},
    "mid block without attention": {"mid_block_type": "UNetMidBlock2D"},
    "convolutions only": CONVOLUTIONS | {"mid_block_type": None},
    "two layers": {"layers_per_block": 2},
    "layers per level": {"layers_per_block": [2, 1]},
    "heads per level": {"attention_head_dim": [2, 8]},
    "linear projection": {"use_linear_projection": True},
    "transformer layers": {"transformer_layers_per_block": [1, 2]},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "three levels": THREE_LEVELS | {"layers_per_block": [1, 2, 1], "attention_head_dim": [2, 4, 8]},
    "one level": {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [16]},
    "downsampling without padding": {"downsample_padding": 0},
    "pooled text": {"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
    "other scalars": {
        "act_fn": "gelu",
        "norm_eps": 1e-3,
        "norm_num_groups": 4,
        "mid_block_scale_factor": 2.0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    },
}


def _pair(backbone: dict[str, Any]) -> tuple[SearchSpace, VideoUNet, UNet2DConditionModel]:
    space = tiny_space(backbone=backbone, slots=[])
    torch.manual_seed(0)
    theirs = UNet2DConditionModel(**(tiny(backbone=backbone)["backbone"] | {"in_channels": 12, "out_channels": 12}))
    return space, VideoUNet(space.lower(space.smallest())).eval(), theirs.eval()


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_load_both_ways_and_outputs_are_equal(name: str) -> None:
    space, ours, theirs = _pair(BACKBONES[name])
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    load_spatial(ours, ours.plan, theirs.state_dict(), where="theirs")
    theirs.load_state_dict(ours.state_dict())

    video, context = torch.randn(2, *space.latent_shape), torch.randn(2, *space.context_shape)
    timestep = torch.tensor([3.0, 700.0])
    with torch.no_grad():
        image = ours(video[:, :1], timestep, context)
        expected = theirs(video[:, 0], timestep, context, return_dict=False)[0]
        assert torch.equal(image[:, 0], expected)
        output = ours(video, timestep, context)
        frames = [theirs(video[:, t], timestep, context, return_dict=False)[0] for t in range(video.shape[1])]
    torch.testing.assert_close(output, torch.stack(frames, dim=1), rtol=1e-4, atol=1e-5)


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, UNet2DConditionModel]:
    _, _, theirs = _pair({})
    theirs.save_pretrained(tmp_path / "pipeline" / "unet")
    return tmp_path / "pipeline", theirs


@pytest.mark.parametrize("folder", ["", "unet"])
def test_checkpoint_that_diffusers_saved(checkpoint: tuple[Path, UNet2DConditionModel], folder: str) -> None:
    root, theirs = checkpoint
    space, ours, _ = _pair({})
    load_pretrained(ours, space, root / folder)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


def test_supernet_starts_from_the_pretrained_backbone(checkpoint: tuple[Path, UNet2DConditionModel]) -> None:
    root, theirs = checkpoint
    value = tiny(backbone={"pretrained": "pipeline"})
    space = SearchSpace.from_dict(value, where=root.parent / "space.yaml")
    supernet = SuperNet(space).eval()
    video, context = torch.randn(1, *space.latent_shape), torch.randn(1, *space.context_shape)
    with torch.no_grad():  # every layer starts as the identity, so any architecture is the pretrained network
        for architecture in space.covering():
            output = supernet(video, torch.tensor([5.0]), context, architecture)
            expected = theirs(video[0], 5.0, context.expand(3, -1, -1), return_dict=False)[0]
            torch.testing.assert_close(output[0], expected, rtol=1e-4, atol=1e-5)


def test_checkpoint_of_another_backbone_is_refused(checkpoint: tuple[Path, UNet2DConditionModel]) -> None:
    root, _ = checkpoint
    file = root / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    _, deeper, _ = _pair({"layers_per_block": 2})
    with pytest.raises(
        CheckpointError, match=r"\d+ weights missing and 0 unexpected, such as down_blocks.* give the"
    ) as e:
        load_spatial(deeper, deeper.plan, weights, where=file)
    assert str(e.value).startswith(f"{file}: ")
    _, shallower, _ = _pair({"mid_block_type": None})
    with pytest.raises(CheckpointError, match=r"0 weights missing and .* unexpected, such as mid_block"):
        load_spatial(shallower, shallower.plan, weights, where=file)
    _, wider, _ = _pair({"block_out_channels": [16, 48]})
    with pytest.raises(CheckpointError, match="has the wrong shape for"):
        load_spatial(wider, wider.plan, weights, where=file)


def test_a_checkpoint_that_does_not_fit_changes_nothing(checkpoint: tuple[Path, UNet2DConditionModel]) -> None:
    root, _ = checkpoint
    space, wider, _ = _pair({"block_out_channels": [16, 48]})
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"config.json: block_out_channels: got \[16, 32\], expected \[16, 48\]"):
        load_pretrained(wider, space, root)
    assert all(torch.equal(value, before[name]) for name, value in wider.state_dict().items())


def test_missing_and_damaged_checkpoints(checkpoint: tuple[Path, UNet2DConditionModel], tmp_path: Path) -> None:
    root, _ = checkpoint
    space, ours, _ = _pair({})
    with pytest.raises(CheckpointError, match=r"absent.*no such file"):
        load_pretrained(ours, space, tmp_path / "absent")
    file = root / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.safetensors: not a valid safetensors file"):
        load_pretrained(ours, space, root)


def test_weights_of_a_temporal_layer_are_no_part_of_a_backbone(tmp_path: Path) -> None:
    space = tiny_space()
    network = VideoUNet(space.lower(space.covering()[1]))
    save_file(network.state_dict(), tmp_path / "all.safetensors")
    with pytest.raises(CheckpointError, match=r"unexpected, such as .*temporal"):
        load_spatial(network, network.plan, load_file(tmp_path / "all.safetensors"), where="all.safetensors")
