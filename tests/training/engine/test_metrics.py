"""Metrics report on a run; whatever becomes of their files, no run ends of it, and nobody's file is lost."""

from __future__ import annotations

import csv
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas.data import MovingShapes
from nas.errors import TrainingError
from nas.models.weights import load_safetensors
from nas.space import SearchSpace
from nas.training import SuperNetConfig, train_supernet
from nas.training.engine.metrics import MetricsLog
from nas.training.engine.settings import LoopConfig
from nas.training.engine.trackers import run_log
from nas.training.engine.trainer import Trainer

VALUES = {"loss": 0.5, "learning_rate": 1e-3}
OURS = "step,loss,learning_rate\n1,0.25,0.001\n10,0.125,0.001\n"
ROW = "20,0.5,0.001\n"

FOREIGN = {
    "semicolons": b"step;loss;learning_rate\n1;0,25;0,001\n",
    "a mark of the byte order": b"\xef\xbb\xbf" + OURS.encode(),
    "another encoding": OURS.replace("loss", "perte é").encode("latin-1"),
    "utf-16": OURS.encode("utf-16"),
    "columns missing": b"step,loss\n1,0.25\n",
    "more columns": b"step,loss,learning_rate,mine\n1,0.25,0.001,1\n",
    "no columns": b"1,0.25,0.001\n",
    "words": b"step,loss,learning_rate\n1,low,0.001\n",
    "short rows": b"step,loss,learning_rate\n1,0.25\n10,0.1,0.1\n",
    "bytes": bytes(range(256)),
    "nothing": b"",
    "a huge number": b"step,loss,learning_rate\n" + b"9" * 5000 + b",1,1\n",
}


def _log(folder: Path, step: int = 10) -> str:
    MetricsLog(folder, step).write(20, VALUES)
    return (folder / "metrics.csv").read_text()


def test_a_resumed_run_keeps_the_rows_it_does_not_repeat(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(OURS + "17,0.1,0.1\n19,0.")
    assert _log(tmp_path) == OURS + ROW
    assert [path.name for path in tmp_path.glob("*.csv")] == ["metrics.csv"]


def test_quotes_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(OURS.replace("loss", '"loss"').replace("\n", "\r\n"))
    assert _log(tmp_path) == OURS + ROW


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_kept_under_another_name(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.csv").write_bytes(FOREIGN[kind])
    (tmp_path / "metrics-1.csv").touch()
    assert _log(tmp_path) == OURS.partition("\n")[0] + "\n" + ROW
    assert (tmp_path / "metrics-2.csv").read_bytes() == FOREIGN[kind]
    assert "it is kept as metrics-2.csv, and a new file begins" in caplog.text


@given(st.one_of(st.binary(max_size=60), st.text("step,los\n\r0123456789.e-;\"'", max_size=80).map(str.encode)))
def test_no_file_ends_a_run_or_is_lost(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "metrics.csv").write_bytes(content)
    assert _log(folder).endswith(ROW)
    pd.read_csv(folder / "metrics.csv")
    if (folder / "metrics-1.csv").exists():
        assert (folder / "metrics-1.csv").read_bytes() == content


def test_a_run_that_begins_anew_keeps_the_metrics_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(OURS)
    assert _log(tmp_path, step=0) == OURS.partition("\n")[0] + "\n" + ROW
    assert (tmp_path / "metrics-1.csv").read_text() == OURS


def test_a_folder_of_that_name_is_moved(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    (tmp_path / "metrics.csv" / "mine").touch()
    assert _log(tmp_path).endswith(ROW)
    assert (tmp_path / "metrics-1.csv" / "mine").is_file()


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond a size, as a full disk would."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_told_once_and_what_it_held_up_is_written_later(
    tmp_path: Path, file_limit: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    log = MetricsLog(tmp_path, 0)
    log.write(1, VALUES)
    size = (tmp_path / "metrics.csv").stat().st_size
    file_limit(size + 5)  # in the middle of the next row
    for step in (2, 3):
        log.write(step, VALUES)
    assert (tmp_path / "metrics.csv").stat().st_size == size
    assert [record.message.split(": ")[1] for record in caplog.records] == ["cannot write"]
    file_limit(resource.RLIM_INFINITY)
    log.write(4, VALUES)
    assert list(pd.read_csv(tmp_path / "metrics.csv").step) == [1, 2, 3, 4]


def test_a_full_disk_takes_tensorboard_from_a_run_and_nothing_else(
    tmp_path: Path,
    file_limit: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with run_log(tmp_path, 0, LoopConfig()) as write:
        for step in range(1, 12):
            write(step, VALUES)
        file_limit(max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) + 5)
        for step in range(12, 15):
            write(step, VALUES)
        file_limit(resource.RLIM_INFINITY)
        write(15, VALUES)
    warnings = [record.message for record in caplog.records if record.message.startswith("tracker")]
    assert len(warnings) == 1
    assert "tracker tensorboard: " in warnings[0]
    assert "training continues without it" in warnings[0]
    assert list(pd.read_csv(tmp_path / "metrics.csv").step) == list(range(1, 16))
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [each.step for each in shown.Scalars("loss")][:11] == list(range(1, 12))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_cannot_be_moved_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.csv").write_text("mine\n")
    tmp_path.chmod(0o500)
    MetricsLog(tmp_path, 10).write(20, VALUES)
    tmp_path.chmod(0o700)
    assert (tmp_path / "metrics.csv").read_text() == "mine\n"
    assert "cannot be moved" in caplog.text


def test_a_run_ends_well_whatever_is_in_the_way_and_its_loss_is_its_own(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_supernet(space, clips, config, tmp_path / "whole")
    halves = tmp_path / "halves"
    halves.mkdir()
    (halves / "tensorboard").write_text("mine")
    (halves / "metrics.csv").write_bytes(FOREIGN["semicolons"])
    step = Trainer._step

    def stopping(self, wrapped, optimizer, progress):  # type: ignore[no-untyped-def]
        if progress.step == 5:
            raise TrainingError("stopped")
        return step(self, wrapped, optimizer, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(TrainingError, match="stopped"):
            train_supernet(space, clips, config, halves)
    (halves / "metrics.csv").write_bytes(FOREIGN["utf-16"])
    assert train_supernet(space, clips, config, halves).final_loss == whole.final_loss
    (halves / "metrics.csv").unlink()
    assert train_supernet(space, clips, config, halves).final_loss == whole.final_loss
    with (tmp_path / "whole" / "metrics.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert whole.final_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    weights = [load_safetensors(each / "supernet" / "supernet.safetensors") for each in (tmp_path / "whole", halves)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert (halves / "tensorboard").read_text() == "mine"
    assert (halves / "metrics-1.csv").read_bytes() == FOREIGN["semicolons"]
    assert (halves / "metrics-2.csv").read_bytes() == FOREIGN["utf-16"]
