"""Training on a graphics card is training on the processor, to the card's precision."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from diffusers.training_utils import EMAModel

from nas.data import ClipShape, MovingShapes, MovingShapesConfig
from nas.models import Generation, SuperNet, VideoModel, make_codec, make_text_encoder
from nas.models.network import recompute_blocks
from nas.models.weights import load_safetensors
from nas.quality import FrechetVideoDistance, ReadAccuracy, ShapeClassifier
from nas.quality.clips.scoring import score_clips
from nas.report.comparison import sample_all, student_and_teacher
from nas.space import SearchSpace
from nas.training import EncodingRequest, EncodingSettings, SuperNetConfig, SuperNetTask
from nas.training.engine.parallelism import DataParallel
from nas.training.engine.processes import make_accelerator
from nas.training.engine.task import MODEL
from nas.training.flow.batches import BatchSource
from nas.training.flow.rng import BatchRNG
from tests.frozen import frozen_space
from tests.training.runs_at_scale import Job, curve

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]
CARD = torch.device("cuda")
FSDP = {"parallel": "fsdp"}


def _start(folder: Path, name: str, jobs: Sequence[Job], env: Mapping[str, str], *options: str) -> subprocess.Popen:
    with (folder / f"{name}.txt").open("w") as said:
        command = [sys.executable, "-m", "tests.training.card_runs", str(folder), json.dumps(jobs), *options]
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | dict(env), stdout=said, stderr=said)


def _launched() -> dict[str, str]:
    """What torchrun tells one process that is alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in names.items()}


HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


class Runs:
    """Runs that were made together, each asked for by name: one that failed says so to its own test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made_by: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def make(self, processes: Mapping[str, tuple[Sequence[Job], Mapping[str, str], tuple[str, ...]]]) -> None:
        started = {
            name: _start(self.folder, name, jobs, env, *options) for name, (jobs, env, options) in processes.items()
        }
        for name, process in started.items():
            self.made_by |= {job[1]: name for job in processes[name][0]}
            try:
                code: int | None = process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                code = None
            if code != 0:
                self.failed[name] = f"exit code {code}: " + (self.folder / f"{name}.txt").read_text()[-3000:]

    def __call__(self, name: str) -> Path:
        process = self.made_by[name]
        last = self.folder / name / "checkpoints" / "step-00000003"
        assert process not in self.failed or last.is_dir(), self.failed[process]
        return self.folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    made = Runs(tmp_path_factory.mktemp("card"))
    both: list[tuple[str, str]] = [("uniform", "net"), ("adversarial", "student")]
    card: list[Job] = [(kind, f"{name}-card", {}) for kind, name in both]
    card += [(kind, f"{name}-bf16", {"mixed_precision": "bf16"}) for kind, name in both]
    card += [("uniform", "net-again", {"gradient_checkpointing": True})]
    shards: list[Job] = [(kind, f"{name}-shards", FSDP) for kind, name in both]
    made.make({
        "cpu": ([(kind, f"{name}-cpu", {}) for kind, name in both], HIDDEN, ()),
        "card": (card, {}, ()),
        "shards": (shards, _launched(), ("shards",)),
    })  # fmt: skip
    return made


@pytest.fixture(scope="module")
def resumed(runs: Runs) -> Runs:
    """Runs that have lost their last step, resumed on the other device."""
    for begun in ("cpu", "card"):
        copy = runs.folder / f"net-begun-{begun}"
        shutil.copytree(runs(f"net-{begun}"), copy)
        shutil.rmtree(copy / "checkpoints" / "step-00000003")
        shutil.rmtree(copy / "supernet")
    runs.make({
        "card again": ([("uniform", "net-begun-cpu", {})], {}, ()),
        "cpu again": ([("uniform", "net-begun-card", {})], HIDDEN, ()),
    })  # fmt: skip
    return runs


def _near(one: Path, other: Path, rel: float) -> None:
    expected, mine = curve(one), curve(other)
    assert len(expected) == len(mine) == 3
    for row, same in zip(expected, mine, strict=True):
        told = {name for name in row if "told" in name}  # a share of a few clips: one more or less is much
        assert {k: v for k, v in same.items() if k not in told} == pytest.approx(
            {k: v for k, v in row.items() if k not in told}, rel=rel, abs=rel / 10
        )


def _near_weights(one: Path, other: Path, rel: float) -> None:
    expected, mine = (load_safetensors(run / "supernet" / "supernet.safetensors") for run in (one, other))
    assert expected.keys() == mine.keys()
    apart = sum(float((mine[name] - tensor).square().sum()) for name, tensor in expected.items())
    assert apart <= rel**2 * sum(float(tensor.square().sum()) for tensor in expected.values())


@pytest.mark.parametrize("kind", ["net", "student"])
def test_the_losses_are_those_of_the_processor(runs: Runs, kind: str) -> None:
    _near(runs(f"{kind}-cpu"), runs(f"{kind}-card"), rel=2e-2)
    if kind == "net":
        _near_weights(runs("net-cpu"), runs("net-card"), rel=2e-2)


@pytest.mark.parametrize("kind", ["net", "student"])
def test_bf16_is_near_fp32(runs: Runs, kind: str) -> None:
    _near(runs(f"{kind}-card"), runs(f"{kind}-bf16"), rel=8e-2)


def test_blocks_computed_again_give_the_same_run(runs: Runs) -> None:
    _near(runs("net-card"), runs("net-again"), rel=2e-2)


@pytest.mark.parametrize("kind", ["net", "student"])
def test_one_process_of_fsdp_has_the_losses_of_one_without(runs: Runs, kind: str) -> None:
    _near(runs(f"{kind}-card"), runs(f"{kind}-shards"), rel=2e-2)


@pytest.mark.parametrize("begun", ["cpu", "card"])
def test_a_run_goes_on_with_on_the_other_device(resumed: Runs, begun: str) -> None:
    _near(resumed(f"net-{begun}"), resumed(f"net-begun-{begun}"), rel=2e-2)
    _near_weights(resumed(f"net-{begun}"), resumed(f"net-begun-{begun}"), rel=2e-2)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_of_blocks_computed_again_are_the_same(
    space: SearchSpace, clips: MovingShapes, precision: torch.dtype
) -> None:
    torch.manual_seed(0)
    task = SuperNetTask(SuperNet(space), make_text_encoder(space), SuperNetConfig(strategy="sandwich", seed=1))
    task.to(CARD).train()
    batch = BatchSource(clips.latents(make_codec(space)), task.text_encoder, 2, 2, 0.0, seed=1)(0).to(CARD)
    found = []
    for again in (False, True):
        if again:
            recompute_blocks(task)
        task.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = task(batch, 0)["loss"]
        loss.backward()
        found.append({name: each.grad.clone() for name, each in task.named_parameters() if each.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(gradient.is_cuda for gradient in found[0].values())
    tolerance = 1e-3 if precision == torch.float32 else 3e-2
    for name, gradient in found[0].items():
        assert float((found[1][name] - gradient).norm()) <= tolerance * (float(gradient.norm()) + 1e-3), name


def test_averages_stand_on_the_card_and_weights_come_back(space: SearchSpace, config: SuperNetConfig) -> None:
    task = SuperNetTask(SuperNet(space), make_text_encoder(space), config)
    parallelism = DataParallel(task, make_accelerator(config))
    (phase,) = task.phases()
    assert phase.name == MODEL
    ema = EMAModel(parallelism.local_parameters(phase), decay=0.5, foreach=True)
    parameters = list(task.trained_parameters())
    first = [each.detach().clone() for each in parameters]
    with torch.no_grad():
        for each in parameters:
            each.add_(1)
    for _ in range(3):
        ema.step(parameters)
    last = [each.detach().clone() for each in parameters]
    assert all(each.is_cuda for each in (*parameters, *ema.shadow_params))
    with parallelism.averaged_weights(ema):
        moved = [float((mean - before).detach().mean()) for mean, before in zip(parameters, first, strict=True)]
    assert moved == pytest.approx([moved[0]] * len(moved), abs=1e-3)
    assert moved[0] > 0.1
    assert all(torch.equal(each, expected) for each, expected in zip(parameters, last, strict=True))


def test_clips_and_captions_are_encoded_as_on_the_processor(tmp_path: Path) -> None:
    path, shapes = frozen_space(tmp_path), MovingShapesConfig(kind="moving_shapes", clips=10)
    made = []
    for device in (torch.device("cpu"), CARD):
        folder = tmp_path / device.type
        job = EncodingRequest(path, shapes, Path(), folder, EncodingSettings(dtype="float32")).job(device)
        job.begin()
        job.work()
        job.finish()
        made.append({file.name: load_safetensors(file) for file in sorted(folder.glob("*.safetensors"))})
    assert made[0].keys() == made[1].keys() != set()
    for name, tensors in made[0].items():
        for key, tensor in tensors.items():
            torch.testing.assert_close(made[1][name][key], tensor, rtol=2e-2, atol=2e-2)


def test_a_model_with_an_autoencoder_makes_clips_there(tmp_path: Path) -> None:
    space = SearchSpace.load(frozen_space(tmp_path))
    torch.manual_seed(0)
    model = VideoModel.build(space, space.architecture(["self_attention_1d", "self_attention_3d"]), Generation())
    clips = [
        model.to(device).generate(["a red circle"] * 2, steps=2, guidance_scale=2).cpu() for device in ("cpu", CARD)
    ]
    torch.testing.assert_close(clips[1], clips[0], rtol=0, atol=5e-2)
    assert model.generate(["a red circle"], steps=1).is_cuda


def test_a_model_is_judged_and_shown_there(model: VideoModel) -> None:
    video = model.space.file.video
    torch.manual_seed(0)
    reader = ShapeClassifier(ClipShape.of(video)).eval()
    asked = MovingShapes(reader.shape, clips=6, seed=0).captions
    found = []
    for device in ("cpu", CARD):
        metrics = [FrechetVideoDistance(reader.to(device).extract), ReadAccuracy(reader)]
        found.append([score.real.value for score in score_clips(model.to(device), metrics, asked, steps=2)])
    assert found[1] == pytest.approx(found[0], rel=5e-2, abs=1e-4)
    sheet = sample_all(student_and_teacher(model, model), asked[:2])
    assert all(clip.device.type == "cpu" for each in sheet for clip in each.clips_TCHW)


def test_noise_is_that_of_the_processor() -> None:
    clips = torch.zeros(3, 4, 64, 96)
    assert torch.equal(BatchRNG([1, 2, 3]).normal_like(clips.to(CARD)).cpu(), BatchRNG([1, 2, 3]).normal_like(clips))
