"""What a dry run foretells, against what runs do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from nas.cli import main
from nas.data import MovingShapes
from nas.errors import ConfigError
from nas.models import VideoModel, block_cost, make_codec, network_cost
from nas.models.discriminator import Discriminator
from nas.models.network import recompute_blocks
from nas.space import SearchSpace
from nas.training import (
    AdversarialConfig,
    DistillationConfig,
    DistillationLoop,
    DistillationSettings,
    FlowTask,
    SuperNetConfig,
    TrainingConfig,
    distill,
    dry_run_distillation,
    dry_run_model,
    dry_run_supernet,
    train_model,
)
from nas.training.flow.batches import Batch, BatchSource
from tests.space.spaces import tiny
from tests.tiny import TINY

ADVERSARIAL = DistillationSettings(
    training=DistillationLoop(steps=2, batch_size=2, image_batch_size=2, checkpoint_every=1),
    distillation=DistillationConfig(target="data", adversarial=AdversarialConfig()),
)
MATCHING = DistillationSettings(
    training=DistillationLoop(steps=1, batch_size=2, image_batch_size=0, checkpoint_every=1),
    distillation=DistillationConfig(
        steps=1, target="distribution_matching", teacher_substeps=1, adversarial=AdversarialConfig()
    ),
)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def test_a_model_and_its_checkpoints_are_as_large_as_foretold(
    space: SearchSpace, clips: MovingShapes, model: VideoModel, tmp_path: Path
) -> None:
    config = TrainingConfig(steps=5, batch_size=4, image_batch_size=2, gradient_accumulation=2, checkpoint_every=2)
    found = dry_run_model(space, model.architecture, config, 1)
    parameters = [*model.unet.parameters(), *model.text_encoder.parameters()]
    assert found.trained_parameters == sum(each.numel() for each in parameters)
    assert found.frozen_parameters == 0
    memory, weights = found.memory_bytes, 4 * found.trained_parameters
    assert (memory.weights, memory.gradients, memory.averages, memory.optimizer) == (*[weights] * 3, 2 * weights)
    assert (found.batch, found.image_batch, found.micro_batch, found.image_micro_batch) == (8, 4, 4, 2)
    assert found.latent_pixels == 5 * (8 * 4 + 4) * 4 * 4
    train_model(space, model.architecture, clips, config, tmp_path)
    folders = list((tmp_path / "checkpoints").iterdir())
    assert (found.checkpoints, found.checkpoints_kept) == (3, len(folders))
    assert _size(folders[0]) == pytest.approx(found.checkpoint_bytes, rel=0.1)  # names and shapes come on top


def test_a_distillation_is_foretold_with_teacher_discriminator_and_fake_score(
    space: SearchSpace, clips: MovingShapes, model: VideoModel, tmp_path: Path
) -> None:
    network, text, discriminator = (
        sum(each.numel() for each in module.parameters())
        for module in (model.unet, model.text_encoder, Discriminator(model.unet.plan))
    )
    alone = dry_run_distillation(space, model.architecture, ADVERSARIAL, 1)
    assert (alone.trained_parameters, alone.frozen_parameters) == (network + discriminator, network + text)
    found = dry_run_distillation(space, model.architecture, MATCHING, 1)
    assert (found.trained_parameters, found.frozen_parameters) == (2 * network + discriminator, network + text)
    memory = found.memory_bytes
    assert memory.weights == 4 * (found.frozen_parameters + found.trained_parameters)
    assert (memory.gradients, memory.averages) == (4 * found.trained_parameters, 4 * network)
    distill(model, clips, MATCHING.training, MATCHING.distillation, tmp_path)
    written = _size(tmp_path / "checkpoints" / "step-00000001")
    assert written == pytest.approx(found.checkpoint_bytes, rel=0.1)


def _kept_sizes(task: FlowTask, batch: Batch, precision: str) -> list[int]:
    """Bytes of each storage that autograd keeps, without those of the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in task.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        task(batch, 0)
    return [storage.nbytes() for storage in kept.values()]


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_activations_are_those_that_autograd_keeps(
    space: SearchSpace, clips: MovingShapes, model: VideoModel, precision: str
) -> None:
    config = TrainingConfig(batch_size=3, image_batch_size=2, mixed_precision=precision)  # type: ignore[arg-type]
    task = FlowTask(model.unet, model.text_encoder, config).train()
    batch = BatchSource(clips.latents(make_codec(space)), model.text_encoder, 3, 2, 0.0, seed=1)(0)
    for module in task.modules():  # what autocast does on a card, and not on a processor
        if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
            module.register_forward_pre_hook(lambda _, inputs: tuple(each.float() for each in inputs))
    kept = _kept_sizes(task, batch, precision)
    memory = dry_run_model(space, model.architecture, config, 1).memory_bytes
    assert memory.activations == pytest.approx(sum(kept), rel=0.1)
    assert memory.flowing == max(kept)
    recompute_blocks(task)
    between_blocks = sum(_kept_sizes(task, batch, precision))
    assert 0.95 * between_blocks < memory.activations_otherwise < memory.activations
    assert memory.activations_otherwise - between_blocks < memory.activations / 2, "of one block"
    sparing = config.model_copy(update={"gradient_checkpointing": True})
    assert dry_run_model(space, model.architecture, sparing, 1).memory_bytes.activations == memory.activations_otherwise


@pytest.mark.parametrize(("batch", "micro"), [(1, 1), (64, 1), (64, 2)])
def test_the_peak_of_a_step_is_in_its_backward_pass_or_in_its_update(
    space: SearchSpace, model: VideoModel, batch: int, micro: int
) -> None:
    config = TrainingConfig(batch_size=batch, image_batch_size=0, gradient_accumulation=micro)
    found = dry_run_model(space, model.architecture, config, 1)
    memory, weights = found.memory_bytes, 4 * found.trained_parameters
    backward = memory.activations + memory.flowing + (weights if micro > 1 else 0)
    update = weights + weights  # gradients, and what AdamW and the averages compute with
    assert (backward > update) == (batch > 1), "the case does not test what it is for"
    assert memory.together == 4 * weights + max(backward, update)


def test_processes_that_share_out_the_weights_hold_a_part_of_them(space: SearchSpace) -> None:
    config = SuperNetConfig(batch_size=8, image_batch_size=8, steps=10)
    one = dry_run_supernet(space, config, 1)
    ddp = dry_run_supernet(space, config, 4)
    fsdp = dry_run_supernet(space, config.model_copy(update={"parallel": "fsdp"}), 4)
    assert (one.parallel, ddp.parallel, fsdp.parallel) == ("alone", "ddp", "fsdp")
    assert ddp.memory_bytes.optimizer == one.memory_bytes.optimizer
    assert fsdp.memory_bytes.optimizer == pytest.approx(one.memory_bytes.optimizer / 4, rel=0.05)
    assert fsdp.memory_bytes.weights == pytest.approx(one.memory_bytes.weights / 4, rel=0.05)
    assert ddp.memory_bytes.activations == fsdp.memory_bytes.activations < one.memory_bytes.activations / 3
    assert (fsdp.batch, fsdp.micro_batch) == (8, 2)


def test_what_a_run_would_refuse_a_dry_run_refuses(space: SearchSpace) -> None:
    with pytest.raises(ConfigError, match="batch_size 8 cannot be shared among 3 processes"):
        dry_run_supernet(space, SuperNetConfig(), 3)
    with pytest.raises(ConfigError, match="freeze_backbone: the frozen backbone would keep random"):
        dry_run_supernet(space, SuperNetConfig(freeze_backbone=True), 1)
    alone = ADVERSARIAL.model_copy(update={"training": DistillationLoop(batch_size=1)})
    with pytest.raises(ConfigError, match="batch_size 1 lets an adversarial training collapse"):
        dry_run_distillation(space, space.smallest(), alone, 1)


def test_the_commands_print_it_and_touch_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = SearchSpace.from_dict(TINY)
    Path("space.yaml").write_text(yaml.safe_dump(TINY))
    space.smallest().save("architecture.yaml")
    files = set(tmp_path.iterdir())

    def nas(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *line.split()])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    train = "train space.yaml --data no/such/clips --out run"
    code, table, _ = nas(f"{train} --dry-run --processes 2")
    assert code == 0
    assert "activations, all stored" in table
    assert "estimate" in table
    code, plain, _ = nas(f"{train} --architecture architecture.yaml --batch-size 4 --dry-run --json")
    assert (code, json.loads(plain)["batch"], json.loads(plain)["processes"]) == (0, 4, 1)
    assert "memory_bytes.together" in json.loads(plain)["estimated"]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    distilling = "distill space.yaml --data no/such/clips --out run --architecture architecture.yaml --adversarial"
    code, plain, _ = nas(f"{distilling} --dry-run --json")
    assert (code, json.loads(plain)["processes"]) == (0, 4)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    code, _, complaint = nas("train space.yaml --data moving_shapes --out run --processes 2")
    assert code == 2
    assert "--processes needs --dry-run; start the run with: torchrun --nproc-per-node 2" in complaint
    assert set(tmp_path.iterdir()) == files


@pytest.mark.parametrize("distilled", [False, True])
def test_a_frozen_text_encoder_is_counted_from_its_layout(distilled: bool) -> None:
    pytest.importorskip("transformers")
    layout = {"vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    layout |= {"num_attention_heads": 2, "max_position_embeddings": 8}
    text = {"kind": "clip", "layout": layout, "tokens": 6, "width": 16}
    space = SearchSpace.from_dict(tiny(text=text))
    encoder = block_cost(space.lower_pipeline(space.smallest()).text_encoder.blocks[0]).parameters
    if distilled:
        found = dry_run_distillation(space, space.smallest(), ADVERSARIAL, 1)
        assert found.frozen_parameters == encoder + network_cost(space.lower(space.smallest())).parameters
    else:
        assert dry_run_supernet(space, SuperNetConfig(steps=2), 1).frozen_parameters == encoder
