"""A checkpoint of diffusers is loaded where it computes what the search space says, and refused anywhere else."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from nas.errors import CheckpointError, NasError
from nas.models import VideoUNet, load_pretrained
from nas.space import SearchSpace
from tests.space.spaces import tiny, tiny_space

FIELDS = [name for name in inspect.signature(UNet2DConditionModel.__init__).parameters if name != "self"]

OTHERS: dict[str, tuple[Any, ...]] = {
    "sample_size": (32, None),
    "dropout": (0.25,),
    "in_channels": (4,),
    "out_channels": (4,),
    "down_block_types": (["DownBlock2D", "DownBlock2D"], ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]),
    "mid_block_type": (None, "UNetMidBlock2D"),
    "up_block_types": (["UpBlock2D", "UpBlock2D"],),
    "block_out_channels": ([16, 48], [32, 32]),
    "layers_per_block": (2, [1, 1], [1, 2]),
    "downsample_padding": (0, True),
    "mid_block_scale_factor": (1.5, 1.0),
    "act_fn": ("gelu", "swish", "SiLU"),
    "norm_num_groups": (4, None),
    "cross_attention_dim": (32, [16, 16]),
    "transformer_layers_per_block": (2, [1, 1], [1, [1, 1]]),
    "attention_head_dim": (2, [4, 4], [2, 4], [8, 4]),
    "num_attention_heads": (4,),
    "resnet_time_scale_shift": ("scale_shift",),
    "time_embedding_type": ("fourier",),
    "time_embedding_act_fn": ("silu",),
    "timestep_post_act": ("silu",),
    "time_cond_proj_dim": (8,),
    "time_embedding_dim": (64, 32),
    "encoder_hid_dim": (8,),
    "encoder_hid_dim_type": ("text_proj",),
    "class_embed_type": ("timestep", "identity"),
    "addition_embed_type": ("text",),
    "num_class_embeds": (4,),
    "conv_in_kernel": (1, 5),
    "conv_out_kernel": (1, 5),
    "attention_type": ("gated",),
    "cross_attention_norm": ("layer_norm",),
    "reverse_transformer_layers_per_block": ([1, 1],),
    "freq_shift": (1, False),
    "upcast_attention": (True, None),
    "use_linear_projection": (True, None),
    "resnet_out_scale_factor": (2.0, 1),
}
"""Values to try in the place of a field's own; what is not here is tried with the opposite, or with another number."""


def _values(name: str) -> tuple[Any, ...]:
    default = inspect.signature(UNet2DConditionModel.__init__).parameters[name].default
    return OTHERS.get(name) or ((not default,) if isinstance(default, bool) else ((default or 0) + 0.25,))


def _space(**backbone: Any) -> SearchSpace:
    return tiny_space(backbone=backbone, slots=[])


def _theirs(**changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    fields = tiny()["backbone"] | {"in_channels": 12, "out_channels": 12} | changes
    return UNet2DConditionModel(**fields).eval()


def _outputs(space: SearchSpace, ours: VideoUNet, theirs: UNet2DConditionModel) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 1, *space.latent_shape[1:], generator=generator)
    context, timestep = torch.randn(1, *space.context_shape, generator=generator), torch.tensor([700.0])
    with torch.no_grad():
        return ours(image, timestep, context)[:, 0], theirs(image[:, 0], timestep, context, return_dict=False)[0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that fits the space `_space()`."""
    folder = tmp_path_factory.mktemp("saved") / "unet"
    _theirs().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(saved, tmp_path / "unet"))


def _change(folder: Path, **fields: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def _load(folder: Path, **backbone: Any) -> VideoUNet:
    space = _space(**backbone)
    ours = VideoUNet(space.lower(space.smallest())).eval()
    load_pretrained(ours, space, folder)
    return ours


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
def test_a_changed_field_is_refused_by_name_or_computes_the_same(name: str, folder: Path) -> None:
    loaded = 0
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    for value in _values(name):
        _change(folder, **{name: value})
        try:
            ours = _load(folder)
        except CheckpointError as error:
            refusal = str(error)
        else:
            refusal = ""
        if refusal:
            assert refusal.startswith(f"{folder / 'config.json'}: ")
            assert f"{name}: got {value!r}, expected " in refusal
            continue
        loaded += 1
        theirs = _theirs(**{name: value})
        theirs.load_state_dict(weights)
        made, expected = _outputs(_space(), ours, theirs)
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)
    assert loaded < len(_values(name)) or name in {"sample_size", "dropout"}


def test_two_differing_fields_are_both_named(folder: Path) -> None:
    _change(folder, act_fn="gelu", norm_eps=0.1)
    with pytest.raises(CheckpointError) as caught:
        _load(folder)
    assert str(caught.value) == (
        f"{folder / 'config.json'}: act_fn: got 'gelu', expected 'silu'; norm_eps: got 0.1, expected 1e-05; "
        "give the search space's backbone the values of this file, or choose another checkpoint"
    )


OTHER_BACKBONE = {
    "attention_head_dim": [2, 8], "norm_num_groups": 4, "act_fn": "gelu", "flip_sin_to_cos": False, "freq_shift": 1,
    "norm_eps": 1e-3, "downsample_padding": 0, "mid_block_scale_factor": 2.0, "layers_per_block": [2, 1],
}  # fmt: skip


def test_a_space_that_says_what_the_checkpoint_does_computes_what_diffusers_does(tmp_path: Path) -> None:
    theirs = _theirs(**OTHER_BACKBONE)
    theirs.save_pretrained(tmp_path)
    made, expected = _outputs(_space(**OTHER_BACKBONE), _load(tmp_path, **OTHER_BACKBONE), theirs)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(CheckpointError, match="freq_shift: got 1, expected 0"):
        _load(tmp_path)


def test_fields_that_the_checkpoint_leaves_out_have_the_value_of_diffusers(folder: Path) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in config.items() if name != "norm_num_groups"}))
    with pytest.raises(CheckpointError, match="norm_num_groups: got 32, expected 8"):
        _load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected a mapping of keys, got list"),
        ('{"_class_name": "UNet3DConditionModel"}', "_class_name: got 'UNet3DConditionModel', expected 'UNet2D"),
        ('{"heads_of_the_future": 8}', "heads_of_the_future: got 8, but .* has no such field"),
        (None, "config.json: no such file"),
    ],
)
def test_a_config_that_cannot_be_compared_is_refused(folder: Path, text: str | None, message: str) -> None:
    file = folder / "config.json"
    file.unlink()
    if text is not None:
        file.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        _load(folder)


def test_weights_averaged_over_training_load(tmp_path: Path) -> None:
    theirs = _theirs()
    mean = EMAModel(theirs.parameters(), model_cls=UNet2DConditionModel, model_config=theirs.config)
    mean.save_pretrained(tmp_path)
    assert "decay" in json.loads((tmp_path / "config.json").read_text())
    made, expected = _outputs(_space(), _load(tmp_path), theirs)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)


def _equal(ours: VideoUNet, weights: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, weights[name].float()) for name, value in ours.state_dict().items())


WAYS: dict[str, dict[str, Any]] = {
    "diffusion_pytorch_model.safetensors.index.json": {"max_shard_size": "50KB"},
    "diffusion_pytorch_model.fp16.safetensors": {"variant": "fp16"},
    "diffusion_pytorch_model.safetensors.index.bf16.json": {"variant": "bf16", "max_shard_size": "50KB"},
    "diffusion_pytorch_model.non_ema.safetensors": {"variant": "non_ema"},
    "diffusion_pytorch_model.bin": {"safe_serialization": False},
    "diffusion_pytorch_model.bin.index.json": {"safe_serialization": False, "max_shard_size": "50KB"},
    "diffusion_pytorch_model.fp16.bin": {"safe_serialization": False, "variant": "fp16"},
}


@pytest.mark.parametrize("name", WAYS)
def test_shards_variants_and_pickles_that_diffusers_writes_are_read(name: str, tmp_path: Path) -> None:
    theirs = _theirs().half() if "fp16" in name else _theirs()
    theirs.save_pretrained(tmp_path, **WAYS[name])
    assert (tmp_path / name).is_file()
    assert _equal(_load(tmp_path), theirs.state_dict())


def test_full_precision_is_read_before_half_and_halves_in_a_fixed_order(tmp_path: Path) -> None:
    order = [{}, {"safe_serialization": False}, {"variant": "fp16"}, {"variant": "bf16"}, {"variant": "other"}]
    weights = []
    for seed, options in enumerate(order):
        theirs = _theirs()
        torch.nn.init.constant_(theirs.conv_out.bias, float(seed))
        theirs.save_pretrained(tmp_path, **options)
        weights.append(theirs.state_dict())
    for first, options in zip(weights, order, strict=True):
        assert _equal(_load(tmp_path), first)
        suffix = "bin" if options.get("safe_serialization") is False else "safetensors"
        variant = f".{options['variant']}" if "variant" in options else ""
        (tmp_path / f"diffusion_pytorch_model{variant}.{suffix}").unlink()
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.safetensors: no such file"):
        _load(tmp_path)


def test_variants_that_leave_a_choice_are_refused(tmp_path: Path) -> None:
    for variant in ("ema", "non_ema"):
        _theirs().save_pretrained(tmp_path, variant=variant)
    with pytest.raises(CheckpointError, match="holds weights in the variants ema, non_ema, and none without"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "is no index of shards"),
        ('{"weight_map": {"conv_in.bias": 3}}', "is no index of shards"),
        ('{"weight_map": {"conv_in.bias": "absent.safetensors"}}', "absent.safetensors: no such file, which"),
        ('{"weight_map": {"conv_in.bias": "config.json"}}', "as a shard, which is of no known kind"),
        ('{"weight_map": {"conv_in.bias": "../../secret.safetensors"}}', "leaves its folder"),
        ("[", "not JSON"),
    ],
)
def test_an_index_that_is_damaged_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(text)
    with pytest.raises(NasError, match=message) as caught:
        _load(folder)
    assert "\n" not in str(caught.value)


class Planted:
    """Code in a pickle: it makes a folder when it is run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("planted",))


@pytest.mark.parametrize("value", [Planted(), [1], {"conv_in.bias": 3}])
def test_a_pickle_that_holds_no_weights_is_refused_and_not_run(
    folder: Path, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(value, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.bin: (cannot be read|holds something else)"):
        _load(folder)
    assert not (folder / "planted").exists()
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model.bin: cannot be read as weights"):
        _load(folder)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.full((12,), float("nan")), "has NaN or infinity in conv_out.bias"),
        (torch.full((12,), 1e300, dtype=torch.float64), "has NaN or infinity in conv_out.bias"),
        (torch.ones(12, dtype=torch.int8), "has numbers of the wrong kind for conv_out.bias"),
        (torch.ones(12, dtype=torch.complex64), "has numbers of the wrong kind for conv_out.bias"),
    ],
)
def test_weights_that_are_no_finite_fractions_are_refused(folder: Path, weight: torch.Tensor, message: str) -> None:
    file = folder / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"conv_out.bias": weight}, file)
    with pytest.raises(CheckpointError, match=message):
        _load(folder)
