from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from nas.data import MovingShapes
from nas.errors import CheckpointError, ConfigError
from nas.models import VideoModel
from nas.space import Architecture, SearchSpace
from nas.training import (
    DistillationConfig,
    LoopConfig,
    SuperNetConfig,
    TrainingConfig,
    distill,
    finetune_model,
    inherit_model,
    load_supernet,
    supernet_quality,
    train_model,
    train_supernet,
)
from nas.training.recipes.runs import share_of


@pytest.fixture
def config(config: SuperNetConfig) -> SuperNetConfig:
    """Two steps: these tests look at what a run leaves, not at what it learns."""
    return config.model_copy(update={"steps": 2})


@pytest.fixture
def architecture(space: SearchSpace) -> Architecture:
    return space.architecture(["conv1d", "self_attention_3d"])


def test_a_supernet_passes_its_weights_and_its_schedule_on(
    space: SearchSpace, clips: MovingShapes, config: TrainingConfig, architecture: Architecture, tmp_path: Path
) -> None:
    train_supernet(space, clips, config.model_copy(update={"timestep_shift": 3.0}), tmp_path)
    model = inherit_model(space, tmp_path, architecture, guidance_scale=2.0)
    assert model.generation.shift == 3.0
    assert model.generation.guidance_scale == 2.0
    supernet, _ = load_supernet(space, tmp_path)
    weights = supernet.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.unet.state_dict().items())


def test_quality_probes_the_noise_levels_that_training_drew_from(
    space: SearchSpace, clips: MovingShapes, config: TrainingConfig, tmp_path: Path
) -> None:
    scores = set()
    for shift in (1.0, 4.0):
        train_supernet(space, clips, config.model_copy(update={"timestep_shift": shift}), tmp_path / str(shift))
        metric = supernet_quality(space, tmp_path / str(shift), clips, batches=1)
        levels = metric._probes[0].batch.timestep_B / 1000
        expected = shift * 0.5 / (1 + (shift - 1) * 0.5)
        assert float(levels[3]) < expected < float(levels[4])
        scores.add(metric.score(space.smallest()))
    assert len(scores) == 2


def test_a_model_is_trained_alone_and_trained_on(
    space: SearchSpace, clips: MovingShapes, config: TrainingConfig, architecture: Architecture, tmp_path: Path
) -> None:
    train_model(space, architecture, clips, config, tmp_path / "first", guidance_scale=1.5)
    first = VideoModel.load(tmp_path / "first" / "model")
    assert first.architecture == architecture
    assert first.generation.guidance_scale == 1.5
    finetune_model(VideoModel.load(tmp_path / "first" / "model"), clips, config, tmp_path / "second")
    second = VideoModel.load(tmp_path / "second" / "model")
    name = "conv_in.weight"
    assert not torch.equal(first.unet.state_dict()[name], second.unet.state_dict()[name])


def test_a_model_starts_from_the_pretrained_backbone(
    space: SearchSpace, clips: MovingShapes, architecture: Architecture, tmp_path: Path
) -> None:
    backbone = space.file.backbone
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=48,
        out_channels=48,
        down_block_types=backbone.down_block_types,
        up_block_types=backbone.up_block_types,
        block_out_channels=backbone.block_out_channels,
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    unet.save_pretrained(tmp_path / "backbone")
    value = space.to_dict()
    value["backbone"]["pretrained"] = str(tmp_path / "backbone")
    still = TrainingConfig(steps=1, batch_size=1, image_batch_size=0, learning_rate=1e-12)
    train_model(SearchSpace.from_dict(value), architecture, clips, still, tmp_path / "run")
    trained = VideoModel.load(tmp_path / "run" / "model").unet.state_dict()
    for name, tensor in unet.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, rtol=0, atol=1e-6)


def test_distillation_makes_a_model_of_few_steps_without_guidance(
    space: SearchSpace, clips: MovingShapes, config: TrainingConfig, architecture: Architecture, tmp_path: Path
) -> None:
    train_model(space, architecture, clips, config, tmp_path / "teacher")
    loop = LoopConfig(steps=2, batch_size=2, image_batch_size=2, checkpoint_every=2)
    to = DistillationConfig(steps=2, teacher_substeps=1, guidance_scale=2.0)
    teacher = VideoModel.load(tmp_path / "teacher" / "model")
    distill(teacher, clips, loop, to, tmp_path / "out")
    student = VideoModel.load(tmp_path / "out" / "model")
    assert (student.generation.steps, student.generation.guidance_scale) == (2, 1.0)
    assert student.generation.shift == teacher.generation.shift
    assert torch.isfinite(student.generate(["a red circle moves right quickly"])).all()
    other = VideoModel.build(space, space.smallest(), teacher.generation)
    with pytest.raises(CheckpointError, match="was written by another"):
        distill(other, clips, loop, to, tmp_path / "out")


def test_a_student_comes_nearer_to_its_teacher(
    space: SearchSpace, clips: MovingShapes, architecture: Architecture, tmp_path: Path
) -> None:
    long = TrainingConfig(steps=30, batch_size=4, image_batch_size=0, learning_rate=3e-3, warmup_steps=5)
    train_model(space, architecture, clips, long, tmp_path / "teacher", guidance_scale=2.0)
    prompts = ["a red circle moves right quickly", "a blue square moves up slowly"] * 4
    teacher = VideoModel.load(tmp_path / "teacher" / "model")
    wanted = teacher.generate(prompts, steps=8)
    before = float((teacher.generate(prompts, steps=2, guidance_scale=1.0) - wanted).pow(2).mean())
    loop = LoopConfig(steps=30, batch_size=4, image_batch_size=0, learning_rate=1e-3, warmup_steps=5)
    to = DistillationConfig(steps=2, teacher_substeps=4, guidance_scale=2.0)
    assert distill(teacher, clips, loop, to, tmp_path / "out").kept_step == 30
    student = VideoModel.load(tmp_path / "out" / "model")
    after = float((student.generate(prompts) - wanted).pow(2).mean())
    assert after < 0.9 * before


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    assert share_of(8, 4, "batch_size") == 2
    with pytest.raises(ConfigError, match="batch_size 8 cannot be shared among 3 processes; use a multiple"):
        share_of(8, 3, "batch_size")
