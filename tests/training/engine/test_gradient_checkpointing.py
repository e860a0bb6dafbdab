"""Computing blocks once more in the backward pass changes memory, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from nas.data import MovingShapes
from nas.models import SuperNet, VideoModel, make_codec, make_text_encoder
from nas.models.network import recompute_blocks
from nas.space import SearchSpace
from nas.training import (
    AdversarialConfig,
    DistillationConfig,
    SuperNetConfig,
    SuperNetTask,
    TrainingTask,
    load_supernet,
    train_supernet,
)
from nas.training.distillation import AdversarialTask
from nas.training.engine.task import MODEL
from nas.training.flow.batches import Batch, BatchSource
from nas.training.flow.tasks import JointTask


def _supernet(model: VideoModel) -> JointTask:
    torch.manual_seed(0)
    config = SuperNetConfig(strategy="sandwich", skip_probability=0.3, seed=1)
    return SuperNetTask(SuperNet(model.space), make_text_encoder(model.space), config)


def _student(model: VideoModel) -> JointTask:
    torch.manual_seed(0)
    config = DistillationConfig(steps=2, target="consistency", teacher_substeps=1, adversarial=AdversarialConfig())
    return AdversarialTask(copy.deepcopy(model), config, AdversarialConfig())


def _kept_bytes(task: TrainingTask[Batch], batch: Batch, phase: str) -> tuple[float, int]:
    """The loss of a phase, with its gradients left in the task, and how much autograd kept beside the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in task.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    task.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = task(batch, 0, phase)["loss"]
    loss.backward()
    return float(loss.detach()), sum(kept.values())


@pytest.mark.slow
@pytest.mark.parametrize("make", [_supernet, _student])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_losses_and_gradients_are_equal_and_less_is_kept(
    model: VideoModel, clips: MovingShapes, make: Callable[[VideoModel], JointTask], precision: torch.dtype
) -> None:
    task = make(model).train()
    batch = BatchSource(clips.latents(make_codec(model.space)), task.text_encoder, 2, 2, 0.0, seed=1)(0)
    for phase in (phase.name for phase in task.phases()):
        results = []
        for again in (False, True):
            if again:
                recompute_blocks(task)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                loss, kept = _kept_bytes(task, batch, phase)
            gradients = {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
            results.append((loss, kept, gradients))
        (loss, kept, gradients), (same_loss, less, same_gradients) = results
        assert same_loss == loss
        assert same_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(same_gradients[name], gradient)
        if phase == MODEL:
            assert less < 0.6 * kept
        task = make(model).train()


def test_a_supernet_trained_so_has_the_weights_of_one_that_is_not(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    weights = []
    for again in (False, True):
        folder = tmp_path_factory.mktemp("run")
        train_supernet(space, clips, config.model_copy(update={"gradient_checkpointing": again}), folder)
        weights.append(load_supernet(space, folder)[0].state_dict())
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())
