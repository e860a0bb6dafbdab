"""A run is the same on one process and on two, in any number of micro-batches, also if these change half way."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import torch

from nas.files import read_json
from nas.models.weights import load_safetensors
from tests.training.runs_at_scale import Job, curve, start_together, together

pytestmark = pytest.mark.slow

KINDS = ("uniform", "sandwich", "frozen", "adversarial", "matching")
PAIRS = [(kind, parallel) for kind in KINDS for parallel in ("fsdp", "ddp")]
FSDP = {"parallel": "fsdp"}
MICRO = {"gradient_accumulation": 2, "batch_size": 2, "image_batch_size": 2}
SPARING = MICRO | {"mixed_precision": "bf16", "gradient_checkpointing": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind on one process and on two, in folders of their names."""
    root = tmp_path_factory.mktemp("scale")
    one: list[Job] = [(kind, f"{kind}-one", {}) for kind in KINDS]
    together(root, [*one, ("uniform", "uniform-micro", MICRO), ("adversarial", "adversarial-sparing", SPARING)], 1)
    two: list[Job] = [(kind, f"{kind}-{parallel}", {"parallel": parallel}) for kind, parallel in PAIRS]
    sparing: Job = ("adversarial", "adversarial-fsdp-sparing", SPARING | FSDP)
    together(root, [*two, ("uniform", "uniform-ddp-micro", MICRO), sparing], 2)
    return root


def _equal(one: Path, other: Path, rel: float = 1e-4, tolerance: float = 1e-5) -> None:
    expected = curve(one)
    assert len(expected) == 3
    for row, mine in zip(expected, curve(other), strict=True):
        assert mine == pytest.approx(row, rel=rel, abs=tolerance)


def _equal_weights(one: Path, other: Path) -> None:
    """What the runs have made; a weight may differ by what rounding does to a step of Adam."""
    files = [file.relative_to(one) for name in ("supernet", "model") for file in (one / name).glob("*.safetensors")]
    assert files
    for file in files:
        expected, mine = load_safetensors(one / file), load_safetensors(other / file)
        assert expected.keys() == mine.keys()
        for name, tensor in expected.items():
            assert torch.isclose(mine[name], tensor, rtol=1e-3, atol=1e-5).float().mean() > 0.99, name


@pytest.mark.parametrize(("kind", "parallel"), PAIRS)
def test_two_processes_have_the_losses_and_weights_of_one(runs: Path, kind: str, parallel: str) -> None:
    _equal(runs / f"{kind}-one", runs / f"{kind}-{parallel}")
    _equal_weights(runs / f"{kind}-one", runs / f"{kind}-{parallel}")


@pytest.mark.parametrize("name", ["uniform-micro", "uniform-ddp-micro"])
def test_micro_batches_have_the_losses_of_one_batch(runs: Path, name: str) -> None:
    _equal(runs / "uniform-one", runs / name)


def test_two_processes_have_them_with_everything_that_saves_memory(runs: Path) -> None:
    # Rounding to bf16 moves an adversarial loss by up to 0.0001, and some of 256 scores change their sign.
    _equal(runs / "adversarial-sparing", runs / "adversarial-fsdp-sparing", rel=4e-2, tolerance=3e-4)


def test_a_sharded_checkpoint_holds_each_weight_once(runs: Path) -> None:
    folder = runs / "adversarial-fsdp" / "checkpoints" / "step-00000003"
    whole = load_safetensors(runs / "adversarial-one" / "checkpoints" / "step-00000003" / "optimizers.safetensors")
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [
            ".nas-folder.json",
            "state.json",
            *(f"{part}-0000{n}-of-00002.safetensors" for part in ("task", "ema", "optimizers") for n in (1, 2)),
        ]
    )
    shards = [load_safetensors(folder / f"optimizers-0000{number}-of-00002.safetensors") for number in (1, 2)]
    assert whole.keys() == shards[0].keys() | shards[1].keys()
    for name, tensor in whole.items():
        assert sum(shard[name].numel() for shard in shards if name in shard) == tensor.numel(), name


def _without_the_last_checkpoint(run: Path) -> None:
    copy = run.with_name(f"{run.name}-resumed")
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints" / "step-00000003")
    shutil.rmtree(copy / "supernet", ignore_errors=True)  # a student kept so far belongs to the run


def _kill_after_a_checkpoint(root: Path, job: Job) -> Path:
    """Kill both processes of a run after its second checkpoint, and cut a shard of the newest one."""
    checkpoints = root / job[1] / "checkpoints"
    processes = start_together(root, [job], 2)
    while not (checkpoints / "step-00000002").exists() and all(process.is_alive() for process in processes):
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.join()
    cut = max(checkpoints.glob("step-*")) / "optimizers-00002-of-00002.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    return cut


@pytest.fixture(scope="module")
def damaged(runs: Path) -> Path:
    """A damaged shard, of a run that was killed and resumed; other runs are resumed on other numbers of processes."""
    killed: Job = ("frozen", "frozen-killed", FSDP | {"checkpoint_every": 1})
    cut = _kill_after_a_checkpoint(runs, killed)
    for name in ("uniform-fsdp", "adversarial-fsdp", "adversarial-one"):
        _without_the_last_checkpoint(runs / name)
    together(runs, [(kind, f"{kind}-fsdp-resumed", {}) for kind in ("uniform", "adversarial")], 1)
    together(runs, [killed, ("adversarial", "adversarial-one-resumed", FSDP)], 2)
    return cut


@pytest.mark.parametrize(("kind", "begun"), [("uniform", "fsdp"), ("adversarial", "fsdp"), ("adversarial", "one")])
@pytest.mark.usefixtures("damaged")
def test_a_run_is_resumed_with_another_number_of_processes(runs: Path, kind: str, begun: str) -> None:
    whole, resumed = runs / f"{kind}-one", runs / f"{kind}-{begun}-resumed"
    _equal(whole, resumed)
    _equal_weights(whole, resumed)
    if kind == "adversarial":
        for mine, check in zip(*(read_json(run / "checks.json")["checks"] for run in (resumed, whole)), strict=True):
            assert mine == pytest.approx(check, rel=1e-2)


def test_a_killed_run_with_a_damaged_shard_resumes_from_the_checkpoint_before(runs: Path, damaged: Path) -> None:
    said = (runs / "rank-0" / "err.txt").read_text()
    assert f"{damaged.parent.name}/{damaged.name}: is damaged" in said
    assert "resuming from an earlier checkpoint" in said
    _equal(runs / "frozen-one", runs / "frozen-killed")
    _equal_weights(runs / "frozen-one", runs / "frozen-killed")
