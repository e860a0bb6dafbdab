"""Batches of worker processes are those of the run's own process, and the workers never outlive it."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from nas.data import DataSplit, MovingShapes, WebDatasetConfig
from nas.errors import ConfigError, DataError, TrainingError
from nas.models import make_codec, make_text_encoder
from nas.models.weights import load_safetensors
from nas.space import SearchSpace
from nas.training import SuperNetConfig, open_clips, train_supernet
from nas.training.engine.data_workers import WorkerBatches, default_workers
from nas.training.engine.prefetch import prefetched
from nas.training.engine.trainer import Trainer
from nas.training.flow.batches import BatchSource
from tests.data.conftest import encode, numbered
from tests.data.test_tars import pack
from tests.processes import start
from tests.tiny import TINY

CPU = torch.device("cpu")
DROPOUT = TINY | {"backbone": TINY["backbone"] | {"dropout": 0.2}}


@dataclass(frozen=True)
class Told:
    """A batch of one number, and the process that has made it."""

    number: torch.Tensor
    process: int


@dataclass(frozen=True)
class Source:
    """Makes such batches; fails or ends at one number."""

    fails_at: int = -1
    ends_at: int = -1

    def __call__(self, number: int) -> Told:
        if number == self.fails_at:
            raise DataError("is damaged", where="clips.tar", hint="repair it")
        if number == self.ends_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return Told(torch.tensor(number), os.getpid())


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two tars of three videos each."""
    for number in range(2):
        files = {f"v{number}{each}.mp4": encode(numbered(24, 32, 32) + each, 24) for each in range(3)}
        pack(tmp_path / "films" / f"{number}.tar", files | {f"{name[:3]}.txt": name.encode() for name in files})
    return tmp_path / "films"


def _films(folder: Path, space: SearchSpace) -> DataSplit:
    return open_clips(WebDatasetConfig(kind="webdataset", path=str(folder)), space, base="")


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "elapsed_s"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_run_with_workers_is_the_run_without_them_bit_for_bit_also_if_resumed(
    films: Path, config: SuperNetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SearchSpace.from_dict(DROPOUT)
    clips = _films(films, space).train
    monkeypatch.setattr("nas.training.engine.trainer.LOG_EVERY", 1)
    config = config.model_copy(update={"gradient_accumulation": 2, "caption_dropout": 0.5})
    working, step = config.model_copy(update={"data_workers": 2}), Trainer._step
    train_supernet(space, clips, config, tmp_path / "alone")

    def stopping(self, wrapped, optimizers, progress):  # type: ignore[no-untyped-def]
        if progress.step == 3:
            raise KeyboardInterrupt
        return step(self, wrapped, optimizers, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_supernet(space, clips, working, tmp_path / "worked")
    train_supernet(space, clips, working, tmp_path / "worked")
    assert len(_rows(tmp_path / "alone")) == 6
    assert _rows(tmp_path / "worked") == _rows(tmp_path / "alone")
    alone, worked = (
        load_safetensors(tmp_path / name / "supernet" / "supernet.safetensors") for name in ("alone", "worked")
    )
    assert alone.keys() == worked.keys()
    assert all(torch.equal(alone[name], worked[name]) for name in alone)


def test_batches_are_the_same_in_any_order_of_asking(space: SearchSpace, clips: MovingShapes) -> None:
    encoder = make_text_encoder(space)
    own = BatchSource(clips.latents(make_codec(space)), encoder, 2, 2, 0.5, 1, rank=1, world_size=2)
    source = replace(own, text_encoder=encoder.without_weights())
    assert not list(source.text_encoder.parameters())
    with prefetched(source, CPU, workers=2, repeated=2) as batches:
        for number in (4, 5, 4, 5, 6, 7, 6, 1):
            made, expected = batches(number), own(number)
            for name, value in vars(expected).items():
                same = torch.equal(value, getattr(made, name)) if isinstance(value, torch.Tensor) else None
                assert same or value == getattr(made, name), name


def test_other_processes_make_them_in_advance_and_each_once_for_all_phases_of_a_step() -> None:
    with prefetched(Source(), CPU, workers=2, repeated=2) as batches:
        first = [batches(number) for number in (0, 1, 0, 1, 2, 3)]
    assert first[0] is first[2]
    assert first[1] is first[3]
    makers = {told.process for told in first}
    assert len(makers) == 2
    assert os.getpid() not in makers
    _wait_until_gone(makers)


def test_a_damaged_file_is_the_same_one_line_in_a_worker() -> None:
    batches = WorkerBatches(Source(fails_at=1), 2)
    batches(0)
    with pytest.raises(DataError, match=r"^clips\.tar: is damaged; repair it$"):
        batches(1)
    batches.close()


def test_a_tar_that_changes_during_a_run_is_the_same_one_line(
    films: Path, config: SuperNetConfig, tmp_path: Path
) -> None:
    space = SearchSpace.from_dict(TINY)
    clips = _films(films, space).train
    for tar in films.glob("*.tar"):
        os.utime(tar, (1, 1))
    said = []
    for workers in (0, 2):
        with pytest.raises(DataError) as raised:
            train_supernet(space, clips, config.model_copy(update={"data_workers": workers}), tmp_path / str(workers))
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert "has changed since it was indexed" in said[0]


@pytest.mark.slow
def test_a_killed_worker_is_one_line() -> None:
    batches = WorkerBatches(Source(ends_at=1), 1)
    with pytest.raises(TrainingError, match="a process that makes batches was killed; memory may be short"):
        [batches(number) for number in range(3)]
    batches.close()


def _raising(error: Exception) -> Iterator[None]:
    raise error
    yield


def test_a_worker_that_is_killed_while_it_sends_is_the_same_line() -> None:
    batches = WorkerBatches(Source(), 1)
    for broken in (EOFError(), ConnectionResetError(104, "Connection reset by peer")):
        batches._coming, batches._next = _raising(broken), 0  # what multiprocessing raises now and then
        with pytest.raises(TrainingError, match="a process that makes batches was killed; memory may be short"):
            batches(0)
    batches._coming, batches._next = _raising(EOFError("Caught EOFError in DataLoader worker process 0.")), 0
    with pytest.raises(EOFError, match="Caught"):
        batches(0)


def test_clips_that_cannot_be_sent_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot be sent to worker processes.* set data_workers: 0"):
        WorkerBatches(lambda number: Told(torch.tensor(number), 0), 1)(0)


def _asks_forever(folder: Path) -> None:
    forkserver._forkserver._preload_modules = []  # type: ignore[attr-defined]  # a server of its own, which starts sooner
    batches, number = WorkerBatches(Source(), 1), 0
    (folder / "worker").write_text(str(batches(0).process))
    while True:
        number += 1
        batches(number)


@pytest.mark.slow
def test_workers_end_when_their_run_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, _asks_forever, tmp_path, daemon=False)
    deadline = time.monotonic() + 60
    while not (tmp_path / "worker").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    worker = int((tmp_path / "worker").read_text())
    process.kill()
    process.join()
    _wait_until_gone({worker})


def test_only_sets_that_are_decoded_in_each_step_count_as_slow(
    films: Path, space: SearchSpace, clips: MovingShapes
) -> None:
    codec, encoder = make_codec(space), make_text_encoder(space)
    slow, quick = (each.latents(codec) for each in (_films(films, space).train, clips))
    assert BatchSource(slow, encoder, 2, 2, 0.0, seed=1).decodes
    assert not BatchSource(quick, encoder, 2, 2, 0.0, seed=1).decodes


def test_only_a_graphics_card_gets_workers_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    assert default_workers(Source(), torch.device("cpu"), decodes=True) == 0
    assert default_workers(Source(), torch.device("cuda"), decodes=True) == 2
    assert default_workers(Source(), torch.device("cuda"), decodes=False) == 0
    assert default_workers(lambda number: number, torch.device("cuda"), decodes=True) == 0
    assert "the run makes its batches itself" in caplog.text


def _wait_until_gone(processes: set[int]) -> None:
    deadline = time.monotonic() + 10
    while any(_is_running(process) for process in processes):
        assert time.monotonic() < deadline, f"still running: {processes}"
        time.sleep(0.02)


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"
