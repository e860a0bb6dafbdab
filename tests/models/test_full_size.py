"""The full-size space: what of it can be seen without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from typer.testing import CliRunner

from nas.cli.space import app
from nas.models import VideoUNet
from nas.models.network import spatial_names
from nas.space import SearchSpace

SPACES = Path(__file__).parents[2] / "search_spaces"
FILE = SPACES / "snapgen_v.yaml"
BK_SDM_TINY: dict[str, Any] = {
    "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280], "center_input_sample": False,
    "cross_attention_dim": 768, "down_block_types": ["CrossAttnDownBlock2D"] * 3, "downsample_padding": 1,
    "dual_cross_attention": False, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 1,
    "mid_block_scale_factor": 1, "mid_block_type": None, "norm_eps": 1e-05, "norm_num_groups": 32,
    "num_class_embeds": None, "only_cross_attention": False, "out_channels": 4, "resnet_time_scale_shift": "default",
    "sample_size": 64, "up_block_types": ["CrossAttnUpBlock2D"] * 3, "upcast_attention": False,
    "use_linear_projection": False,
}  # fmt: skip
"""The `config.json` of the published checkpoint's `unet` folder."""

SDXS = BK_SDM_TINY | {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
"""The layout of SDXS-512-dreamshaper: no attention at the highest resolution."""

BACKBONES = {"snapgen_v": (SDXS, 315_746_244), "bk_sdm_tiny": (BK_SDM_TINY, 323_384_964)}


@pytest.fixture(scope="module", params=BACKBONES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SearchSpace.load(SPACES / f"{request.param}.yaml")


def test_backbone_has_the_weights_of_the_checkpoint_by_diffusers_names(space: SearchSpace) -> None:
    layout, parameters = BACKBONES[space.name]
    with torch.device("meta"):
        theirs = UNet2DConditionModel(**layout).state_dict()
        ours = VideoUNet(space.lower(space.smallest()))
    assert spatial_names(ours.plan, ours) == theirs.keys() == ours.state_dict().keys()
    assert {name: weight.shape for name, weight in theirs.items()} == {
        n: weight.shape for n, weight in ours.state_dict().items()
    }
    assert sum(weight.numel() for weight in theirs.values()) == parameters


def test_a_config_that_diffusers_wrote_can_be_pasted_in(space: SearchSpace, tmp_path: Path) -> None:
    with torch.device("meta"):
        UNet2DConditionModel(**BACKBONES[space.name][0]).save_config(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    fields = {name: written[name] for name in BK_SDM_TINY}
    pasted = SearchSpace.from_dict(space.to_dict() | {"backbone": fields})
    assert pasted.lower(pasted.smallest()) == space.lower(space.smallest())


@pytest.mark.slow
def test_show_counts_it_all_without_memory_for_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    chosen = SearchSpace.load(FILE).uniform("conv1d")
    assert chosen is not None
    chosen.save(tmp_path / "chosen.yaml")
    done = CliRunner().invoke(app, ["show", str(FILE), "--json", "--architecture", str(tmp_path / "chosen.yaml")])
    assert done.exit_code == 0, done.output
    shown: dict[str, Any] = json.loads(done.stdout)
    assert shown["parameters"][0] == 315_746_244
    assert 0.58e9 < shown["parameters"][1] < 0.65e9
    assert shown["latent_shape"] == [16, 4, 64, 64]
    assert shown["video"]["frames"] / shown["video"]["fps"] == 5
    (counted,) = shown["chosen"]
    assert counted["id"] == chosen.id
    assert shown["smallest"]["macs"] < counted["macs"]
    # The text encoder of Stable Diffusion 1.5: 12 layers of 7.1 M, 49,408 words and 77 places of 768 channels.
    layer = 4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert shown["pipeline"]["text_encoder"]["parameters"] == 12 * layer + (49408 + 77) * 768 + 2 * 768
    assert shown["pipeline"]["decoder"]["macs"] > 1e11


def test_every_place_offers_the_six_candidates_of_the_paper_and_none() -> None:
    space = SearchSpace.load(SPACES / "bk_sdm_tiny.yaml")
    six = {f"{kind}{axes}d" for kind in ("conv", "self_attention_", "cross_attention_") for axes in (1, 3)}
    assert len(space.slots) == 9
    for slot in space.slots:
        assert {*six, "separable_conv1d", "none"} <= set(slot.candidates)
