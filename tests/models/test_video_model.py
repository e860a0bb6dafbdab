from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError, CheckpointError, ConfigError, NasError, StorageError, TrainingError
from nas.models import Generation, VideoModel
from nas.models.video_model import flow_schedule, guided_velocity
from nas.models.weights import load_safetensors, save_safetensors
from nas.space import SearchSpace
from tests.space.spaces import few, tiny, tiny_space

PROMPTS = ["a red circle moves left", "", "a blue square"]


def _model(prediction: str = "velocity") -> VideoModel:
    torch.manual_seed(0)
    space = tiny_space(prediction=prediction)
    model = VideoModel.build(space, space.covering()[1], Generation(steps=3, guidance_scale=2.5, shift=1.5))
    for parameter in model.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.unet.eval()
    model.text_encoder.eval()
    return model


@pytest.mark.parametrize("prediction", ["velocity", "data"])
def test_saved_and_loaded_model_makes_the_same_clips_bit_for_bit(prediction: str, tmp_path: Path) -> None:
    model = _model(prediction)
    model.save(tmp_path / "model")
    loaded = VideoModel.load(tmp_path / "model")
    assert loaded.generation == model.generation
    assert loaded.architecture == model.architecture
    assert loaded.space.fingerprint == model.space.fingerprint
    clips = model.generate(PROMPTS, seed=5)
    assert clips.shape == (3, 3, 3, 8, 16)
    assert clips.abs().max() <= 1
    assert clips.std() > 0.01
    assert torch.equal(loaded.generate(PROMPTS, seed=5), clips)


def test_saving_replaces_a_model_and_leaves_nothing_else(tmp_path: Path) -> None:
    model = _model()
    model.save(tmp_path / "model")
    (tmp_path / "model" / "config.yaml").unlink()
    model.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        ".nas-folder.json", "architecture.yaml", "config.yaml", "space.yaml", "text_encoder.safetensors",
        "unet.safetensors",
    ]  # fmt: skip


def test_saving_into_a_folder_of_the_user_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "thesis.tex").write_text("years of work")
    with pytest.raises(
        StorageError, match=r"project: holds files that nas has not marked as its own, such as 'thesis\.tex'"
    ):
        _model().save(project)
    assert [(path.name, path.read_text()) for path in project.iterdir()] == [("thesis.tex", "years of work")]


def test_clip_depends_on_seed_number_and_prompt_only() -> None:
    model = _model()
    together = model.generate(PROMPTS, seed=7)
    for index, prompt in enumerate(PROMPTS):
        alone = model.generate([prompt], seed=7, first=index)
        torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model.generate(PROMPTS, seed=8), together)
    same = model.generate([PROMPTS[0]] * 2, seed=7)
    assert not torch.allclose(same[0], same[1])
    assert torch.equal(model.noise(3, 7)[1:], model.noise(2, 7, first=1))


def test_prompt_matters_and_guidance_strengthens_it() -> None:
    model = _model()
    noise_free = [model.generate(["red"], guidance_scale=scale) for scale in (1.0, 2.0)]
    assert not torch.equal(noise_free[0], noise_free[1])
    assert not torch.equal(model.generate(["red"]), model.generate(["blue"]))


def test_guidance_of_one_is_no_guidance_and_calls_the_network_once() -> None:
    model, calls = _model(), []
    model.unet.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape[0]))
    context, empty = model.text_encoder.encode(["red", "blue"]), model.text_encoder.encode(["", ""])
    sample, timestep = model.noise(2, seed=0), torch.tensor(400.0)
    with torch.no_grad():
        plain = guided_velocity(model.unet, sample, timestep, context, None, 1.0)
        at_one = guided_velocity(model.unet, sample, timestep, context, empty, 1.0)
        without = guided_velocity(model.unet, sample, timestep, empty, None, 1.0)
        at_three = guided_velocity(model.unet, sample, timestep, context, empty, 3.0)
    assert calls == [2, 4, 2, 4]
    torch.testing.assert_close(at_one, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(at_three, without + 3 * (plain - without), rtol=1e-4, atol=1e-4)
    calls.clear()
    model.generate(["red"], guidance_scale=1.0, steps=4)
    assert calls == [1] * 4


@few
@given(st.integers(1, 30), st.floats(0.2, 8))
def test_flow_schedule_is_the_closed_form(steps: int, shift: float) -> None:
    scheduler = flow_schedule(steps, shift)
    even = [1 - index / steps for index in range(steps)]
    expected = torch.tensor([shift * level / (1 + (shift - 1) * level) for level in even] + [0.0])
    torch.testing.assert_close(scheduler.sigmas, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scheduler.timesteps, expected[:-1] * 1000, rtol=1e-5, atol=1e-3)


def test_integration_of_a_constant_velocity_ends_at_the_data() -> None:
    """With the true velocity `noise - data` of one clip, any number of steps leads exactly to the clip."""
    model = _model()
    data, noise = torch.rand(1, *model.space.latent_shape) - 0.5, model.noise(1, seed=3)
    model.unet.forward = lambda sample, timestep, context: (noise - data).expand_as(sample)  # type: ignore[method-assign]
    from nas.models import make_codec

    expected = make_codec(model.space).decode(data)
    for steps in (1, 4, 7):
        torch.testing.assert_close(model.generate(["red"], seed=3, steps=steps), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _model().save(tmp_path / "model")
    return tmp_path / "model"


def _refused(folder: Path, error: type[NasError]) -> str:
    with pytest.raises(error) as caught:
        VideoModel.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_that_is_no_model(tmp_path: Path) -> None:
    assert _refused(tmp_path, CheckpointError) == f"{tmp_path}: not a model folder: unet.safetensors is missing"
    absent = _refused(tmp_path / "absent", CheckpointError)
    assert absent.startswith(
        f"{tmp_path / 'absent'}: not a model folder: it does not exist; `nas train --architecture`"
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("space.yaml", ConfigError),
        ("architecture.yaml", ConfigError),
        ("config.yaml", ConfigError),
        ("text_encoder.safetensors", CheckpointError),
    ],
)
def test_missing_file(folder: Path, name: str, error: type[NasError]) -> None:
    (folder / name).unlink()
    assert _refused(folder, error) == f"{folder / name}: no such file"


@pytest.mark.parametrize("name", ["unet.safetensors", "text_encoder.safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 1000])
def test_damaged_weights(folder: Path, name: str, keep: int) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:keep])
    assert _refused(folder, CheckpointError).startswith(f"{file}: not a valid safetensors file")


def test_weights_of_another_architecture(folder: Path) -> None:
    space = SearchSpace.load(folder / "space.yaml")
    space.smallest().save(folder / "architecture.yaml")
    message = _refused(folder, CheckpointError)
    assert message.startswith(f"{folder / 'unet.safetensors'}: lacks up_blocks.0.temporal.1.separable_conv1d.")
    assert message.endswith("it belongs to another architecture")


def test_weights_that_lack_one_or_have_another_shape(folder: Path) -> None:
    file = folder / "unet.safetensors"
    weights = load_safetensors(file)
    save_safetensors(file, {name: value for name, value in weights.items() if name != "conv_in.bias"})
    assert "lacks conv_in.bias" in _refused(folder, CheckpointError)
    save_safetensors(file, weights | {"conv_in.bias": torch.zeros(3)})
    assert "has the wrong shape for conv_in.bias" in _refused(folder, CheckpointError)


def test_architecture_of_another_space(folder: Path) -> None:
    other = SearchSpace.from_dict(tiny(name="other"))
    other.smallest().save(folder / "architecture.yaml")
    assert "space: expected 'tiny', got 'other'" in _refused(folder, ArchitectureError)


def test_impossible_settings(folder: Path) -> None:
    (folder / "config.yaml").write_text("steps: 0\n")
    assert _refused(folder, ConfigError) == f"{folder / 'config.yaml'}: steps: expected more than 0; got 0"
    (folder / "config.yaml").write_text("stepz: 3\n")
    assert "unknown key stepz (did you mean steps? known: steps, guidance_scale, shift)" in _refused(
        folder, ConfigError
    )


def test_saved_model_finds_its_autoencoder_from_anywhere(tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=4,
    ).save_pretrained(tmp_path / "spaces" / "vae")  # fmt: skip
    codec = {"kind": "autoencoder", "path": "vae", "latent_channels": 4, "spatial_factor": 2}
    value = tiny(codec=codec, backbone={"pretrained": "unet"})
    space = SearchSpace.from_dict(value, where=tmp_path / "spaces" / "space.yaml")
    torch.manual_seed(0)
    model = VideoModel.build(space, space.smallest(), Generation(steps=1))
    model.unet.eval()
    model.text_encoder.eval()
    model.save(tmp_path / "elsewhere" / "model")
    loaded = VideoModel.load(tmp_path / "elsewhere" / "model")
    assert loaded.space.fingerprint == space.fingerprint
    assert torch.equal(loaded.generate(["red"]), model.generate(["red"]))


def test_clips_that_are_not_finite_are_refused_with_their_cause() -> None:
    model = _model()
    with pytest.raises(TrainingError, match=r"clip of 'red' is not finite .*; lower the guidance scale, .* 1e\+300"):
        model.generate(["red"], guidance_scale=1e300)
    torch.nn.init.constant_(model.unet.get_parameter("conv_out.bias"), 1e38)
    with pytest.raises(TrainingError, match=r"is not finite .*; its model's training diverged"):
        model.generate(["red"], guidance_scale=50.0)


def test_weights_that_are_not_finite_are_said_to_be_that(tmp_path: Path) -> None:
    model = _model()
    torch.nn.init.constant_(model.unet.get_parameter("conv_out.bias"), float("nan"))
    model.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"unet.safetensors: has NaN or infinity in conv_out.bias"):
        VideoModel.load(tmp_path / "model")
