"""A run is the same run on one process, on two, in any number of micro-batches, and on another number half way."""

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

KINDS = ("uniform", "sandwich", "model", "frozen", "distilled", "adversarial")
SHARDED = ("uniform", "sandwich", "frozen", "adversarial")
SPARED = ("uniform", "adversarial")
FSDP = {"parallel": "fsdp"}
MICRO = {"gradient_accumulation": 2, "batch_size": 2, "image_batch_size": 2}
SPARING = MICRO | {"mixed_precision": "bf16", "gradient_checkpointing": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind on one process and on two, in folders of their names."""
    root = tmp_path_factory.mktemp("scale")
    one: list[Job] = [(kind, f"{kind}-one", {}) for kind in KINDS]
    together(
        root, [*one, ("uniform", "uniform-micro", MICRO), *((kind, f"{kind}-sparing", SPARING) for kind in SPARED)], 1
    )
    two: list[Job] = [(kind, f"{kind}-ddp", {}) for kind in KINDS]
    two += [(kind, f"{kind}-fsdp", FSDP) for kind in SHARDED]
    two += [(kind, f"{kind}-fsdp-sparing", SPARING | FSDP) for kind in SPARED]
    together(root, [*two, ("uniform", "uniform-ddp-sparing", SPARING)], 2)
    return root


def _equal(one: Path, other: Path, rel: float = 1e-4) -> None:
    expected = curve(one)
    assert len(expected) == 3
    for row, mine in zip(expected, curve(other), strict=True):
        assert mine == pytest.approx(row, rel=rel, abs=1e-5)


def _equal_weights(one: Path, other: Path) -> None:
    """What the runs have made; a weight may differ by what rounding does to a step of Adam."""
    files = [file.relative_to(one) for name in ("supernet", "model") for file in (one / name).glob("*.safetensors")]
    assert files
    for file in files:
        expected, mine = load_safetensors(one / file), load_safetensors(other / file)
        assert expected.keys() == mine.keys()
        for name, tensor in expected.items():
            assert torch.isclose(mine[name], tensor, rtol=1e-3, atol=1e-5).float().mean() > 0.99, name


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_losses_of_one(runs: Path, kind: str) -> None:
    _equal(runs / f"{kind}-one", runs / f"{kind}-ddp")
    _equal_weights(runs / f"{kind}-one", runs / f"{kind}-ddp")


@pytest.mark.parametrize("kind", SHARDED)
def test_two_processes_that_share_out_the_weights_have_them_too(runs: Path, kind: str) -> None:
    _equal(runs / f"{kind}-one", runs / f"{kind}-fsdp")
    _equal_weights(runs / f"{kind}-one", runs / f"{kind}-fsdp")


def test_micro_batches_have_the_losses_of_one_batch(runs: Path) -> None:
    _equal(runs / "uniform-one", runs / "uniform-micro")


@pytest.mark.parametrize(("kind", "parallel"), [("uniform", "ddp"), ("uniform", "fsdp"), ("adversarial", "fsdp")])
def test_they_have_them_with_everything_that_saves_memory(runs: Path, kind: str, parallel: str) -> None:
    _equal(runs / f"{kind}-sparing", runs / f"{kind}-{parallel}-sparing", rel=2e-2)


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


@pytest.fixture(scope="module")
def continued(runs: Path) -> Path:
    """Runs that have lost their last checkpoint, gone on with on another number of processes."""
    for kind in ("uniform", "adversarial"):
        for begun in ("one", "fsdp"):
            copy = runs / f"{kind}-begun-{begun}"
            shutil.copytree(runs / f"{kind}-{begun}", copy)
            shutil.rmtree(copy / "checkpoints" / "step-00000003")
            shutil.rmtree(copy / "supernet", ignore_errors=True)  # a student kept so far belongs to the run
    together(runs, [(kind, f"{kind}-begun-fsdp", {}) for kind in ("uniform", "adversarial")], 1)
    together(runs, [(kind, f"{kind}-begun-one", FSDP) for kind in ("uniform", "adversarial")], 2)
    return runs


@pytest.mark.parametrize("begun", ["one", "fsdp"])
@pytest.mark.parametrize("kind", ["uniform", "adversarial"])
def test_a_run_goes_on_with_another_number_of_processes(continued: Path, kind: str, begun: str) -> None:
    whole, halves = continued / f"{kind}-one", continued / f"{kind}-begun-{begun}"
    _equal(whole, halves)
    _equal_weights(whole, halves)
    if kind == "adversarial":
        for mine, check in zip(*(read_json(run / "checks.json")["checks"] for run in (halves, whole)), strict=True):
            assert mine == pytest.approx(check, rel=1e-2)


def test_a_run_killed_and_left_with_a_cut_shard_goes_on_from_the_checkpoint_before(runs: Path) -> None:
    job: Job = ("model", "model-killed", FSDP | {"checkpoint_every": 1})
    checkpoints = runs / "model-killed" / "checkpoints"
    processes = start_together(runs, [job], 2)
    while not (checkpoints / "step-00000002").exists() and all(process.is_alive() for process in processes):
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.join()
    cut = max(checkpoints.glob("step-*")) / "optimizers-00002-of-00002.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    together(runs, [job], 2)
    said = (runs / "rank-0" / "err.txt").read_text()
    assert f"{cut.parent.name}/{cut.name}: is damaged" in said
    assert "resuming from an earlier checkpoint" in said
    _equal(runs / "model-one", runs / "model-killed")
    _equal_weights(runs / "model-one", runs / "model-killed")
