"""A run is the same run on one process, on two, and in any number of micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.runs_at_scale import Job, curve, together

KINDS = ("uniform", "sandwich", "model", "distilled", "adversarial")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind on one process and on two, in folders of their names."""
    root = tmp_path_factory.mktemp("scale")
    together(root, [(kind, f"{kind}-one", {}) for kind in KINDS], 1)
    jobs: list[Job] = [(kind, f"{kind}-ddp", {}) for kind in KINDS]
    micro = {"gradient_accumulation": 2, "batch_size": 2, "image_batch_size": 1}
    together(root, [("uniform", "uniform-accumulated", micro)], 1)
    together(root, jobs, 2)
    return root


def _equal(one: Path, other: Path, rel: float = 1e-4) -> None:
    expected = curve(one)
    assert len(expected) == 4
    for row, mine in zip(expected, curve(other), strict=True):
        assert mine == pytest.approx(row, rel=rel, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_losses_of_one(runs: Path, kind: str) -> None:
    _equal(runs / f"{kind}-one", runs / f"{kind}-ddp")


def test_micro_batches_have_the_losses_of_one_batch(runs: Path) -> None:
    _equal(runs / "uniform-one", runs / "uniform-accumulated")
