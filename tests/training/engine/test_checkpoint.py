"""Checkpoints that something has happened to: each is used whole, or not at all, and no user's file is one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.training_utils import EMAModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from nas.errors import CheckpointError, TrainingError
from nas.files import file_digest
from nas.training.engine.checkpoint import Progress, RunHistory, TrainingState, restore_checkpoint, save_checkpoint
from nas.training.engine.task import MODEL, Losses, OptimizerPhase, TrainingTask

FINGERPRINT = "0123456789abcdef"
KEYS = ("step", "elapsed_s", "fingerprint", "ema_step", "sha256", "observed", "losses")


class Line(TrainingTask[Any]):
    """A line, of which one weight never learns."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.unused = nn.Linear(2, 3), nn.Parameter(torch.ones(2))

    def forward(self, batch: Any, step: int, phase: str = MODEL) -> Losses:
        return {"loss": self.line(torch.ones(2)).square().sum()}

    def state(self) -> TrainingState:
        phases = (OptimizerPhase(MODEL, tuple(self.parameters())),)
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return TrainingState(self, phases, {MODEL: optimizer}, EMAModel(self.parameters(), decay=0.5))


def _step(state: TrainingState) -> None:
    assert isinstance(state.task, Line)
    state.task(None, 0)["loss"].backward()
    state.optimizers[MODEL].step()
    state.task.zero_grad()
    state.ema.step(state.task.parameters())


def _write(root: Path, steps: int = 3) -> TrainingState:
    torch.manual_seed(0)
    state = Line().state()
    for step in range(1, steps + 1):
        _step(state)
        save_checkpoint(root, state, Progress(step, step / 2), FINGERPRINT, RunHistory({"a": step}, (0.5, step)))
    return state


def _restored(root: Path) -> tuple[int, TrainingState]:
    state = Line().state()
    progress, history = restore_checkpoint(root, state, FINGERPRINT)
    if progress.step:
        assert history.callback_state == {"a": progress.step}
        assert list(history.losses) == [0.5, progress.step]
    return progress.step, state


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("written")
    _write(root)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "checkpoints")


NEWEST = "step-00000003"


def test_what_is_written_is_restored(tmp_path: Path) -> None:
    written = _write(tmp_path)
    step, restored = _restored(tmp_path)
    assert step == 3
    for state in (written, restored):
        _step(state)
    for one, other in zip(written.task.parameters(), restored.task.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(map(torch.equal, written.ema.shadow_params, restored.ema.shadow_params))


@pytest.mark.parametrize(
    "name",
    [
        "step-00000029-backup",
        "step-0000029",
        "step-000000029",
        "step-\uff129000000",
        "step-",
        "step-x",
        "Step-00000029",
    ],
)
def test_a_folder_of_another_name_is_the_users(root: Path, name: str) -> None:
    shutil.copytree(root / NEWEST, root / name)
    assert _restored(root)[0] == 3
    _write(root, 5)
    assert (root / name / "state.json").is_file()
    assert {path.name for path in root.iterdir()} == {name, "step-00000004", "step-00000005"}


def test_a_file_with_the_name_of_a_checkpoint_is_the_users(root: Path) -> None:
    (root / "step-00000004").write_text("mine")
    assert _restored(root)[0] == 3
    assert (root / "step-00000004").read_text() == "mine"


def test_a_renamed_checkpoint_is_not_believed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / NEWEST).rename(root / "step-00000009")
    assert _restored(root)[0] == 2
    assert "step-00000009/state.json: is not the state of step 9; resuming from an earlier checkpoint" in caplog.text


def test_a_damaged_checkpoint_without_its_marker_is_written_again(root: Path) -> None:
    (root / NEWEST / ".nas-folder.json").unlink()
    (root / NEWEST / "ema.safetensors").write_bytes(b"")
    assert _restored(root)[0] == 2
    _write(root)
    assert _restored(root)[0] == 3


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**400),
        st.floats(),
        st.text(max_size=9),
        st.sampled_from(["../x", "task.safetensors", "task-00001-of-00002.safetensors", "/etc/passwd", FINGERPRINT]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(key=st.sampled_from([*KEYS, "mine", ""]), value=ANYTHING)
def test_whatever_a_state_says_the_checkpoint_is_used_or_the_one_before_it(root: Path, key: str, value: Any) -> None:
    path = root / NEWEST / "state.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {key: value} if key else value))
    try:
        state = Line().state()
        assert restore_checkpoint(root, state, FINGERPRINT)[0].step in {2, 3}
    except CheckpointError:
        assert key == "fingerprint"
        assert isinstance(value, str)  # that of another run
    finally:
        path.write_text(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(content=st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b"9" * 5000)))
def test_a_state_of_any_bytes_is_damage(root: Path, content: bytes) -> None:
    (root / NEWEST / "state.json").write_bytes(content)
    assert _restored(root)[0] == 2


def _rewrite(root: Path, part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change tensors of the newest checkpoint, and the digest with them."""
    path, state = root / NEWEST / f"{part}.safetensors", root / NEWEST / "state.json"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    value = json.loads(state.read_text())
    value["sha256"][path.name] = file_digest(path)
    state.write_text(json.dumps(value))


def _fill(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update({name: torch.full_like(tensors[name], value)})


@pytest.mark.parametrize(
    ("part", "change", "complaint"),
    [
        ("task", _fill("line.weight", float("nan")), "holds numbers that are not finite: line.weight of task"),
        ("ema", _fill("1", float("inf")), "holds numbers that are not finite: 1 of ema"),
        ("optimizers", _fill("model.1.exp_avg", float("nan")), "not finite: model.1.exp_avg of optimizers"),
        ("task", lambda tensors: tensors.pop("unused"), "lacks unused"),
        ("task", lambda tensors: tensors.update({"unused": torch.ones(3)}), "has the wrong shape for unused"),
        ("ema", lambda tensors: tensors.pop("2"), "lacks 2"),
        ("ema", lambda tensors: tensors.update({"1": torch.ones(1, 2, 3)}), "has the wrong shape for 1"),
        ("optimizers", lambda tensors: tensors.pop("model.1.step"), "lacks model.1.step"),
        ("optimizers", lambda tensors: tensors.update({"model.7.step": torch.ones(())}), "unknown tensor model.7"),
        ("optimizers", lambda tensors: tensors.update({"x": torch.ones(())}), "has an unknown tensor"),
        ("optimizers", lambda tensors: tensors.update({"model.1.step": torch.ones(2)}), "shape for model.1.step"),
    ],
)
def test_tensors_that_cannot_be_are_named(
    root: Path,
    part: str,
    change: Callable[[dict[str, torch.Tensor]], None],
    complaint: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _rewrite(root, part, change)
    assert _restored(root)[0] == 2
    assert complaint in caplog.text
    assert NEWEST in caplog.text
    shutil.rmtree(root / "step-00000002")
    with pytest.raises(CheckpointError, match=r"all checkpoints are damaged; the newest: .*delete"):
        _restored(root)


@pytest.mark.parametrize("name", ["task.safetensors", "state.json"])
def test_a_folder_in_the_place_of_a_file_is_damage(root: Path, name: str) -> None:
    (root / NEWEST / name).unlink()
    (root / NEWEST / name).mkdir()
    assert _restored(root)[0] == 2


@pytest.mark.parametrize(
    "names", [["task-00001-of-00002"], ["task-00001-of-00001", "task-00002-of-00003"], [], ["../task"]]
)
def test_parts_that_are_not_all_named_are_damage(root: Path, names: list[str]) -> None:
    path = root / NEWEST / "state.json"
    value = json.loads(path.read_text())
    digest = value["sha256"].pop("task.safetensors")
    for name in names:
        shutil.copy(root / NEWEST / "task.safetensors", root / NEWEST / f"{name}.safetensors")
        value["sha256"][f"{name}.safetensors"] = digest
    path.write_text(json.dumps(value))
    assert _restored(root)[0] == 2


@pytest.mark.parametrize("part", ["weights", "optimizer", "average"])
def test_what_is_not_finite_is_not_saved_and_the_checkpoints_before_it_stay(tmp_path: Path, part: str) -> None:
    state = _write(tmp_path)
    with torch.no_grad():
        if part == "weights":
            state.task.line.bias.fill_(torch.inf)  # type: ignore[union-attr]
        elif part == "optimizer":
            state.optimizers[MODEL].state[state.phases[0].parameters[1]]["exp_avg_sq"].fill_(torch.inf)
        else:
            state.ema.shadow_params[1].fill_(torch.nan)
    with pytest.raises(
        TrainingError, match=r"after step 4, .* is not finite; training diverged; lower the learning rate"
    ):
        save_checkpoint(tmp_path, state, Progress(4, 1.0), FINGERPRINT, RunHistory({}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
