"""Studies that outlive their process: going on, refusing what does not belong, and unusable storages."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time

import optuna
import pytest

from nas.errors import ConfigError, StorageError
from nas.search import SearchConfig, load_front, load_study, run_search
from nas.space import Budgets
from tests.processes import finish, start
from tests.search.problem import FormulaLatency, FormulaQuality, small_space

SPACE = small_space()
LATENCY = FormulaLatency(SPACE)


class Slow(FormulaQuality):
    """Says what it scores, and takes its time."""

    def __init__(self, sleep_s):
        super().__init__()
        self.sleep_s = sleep_s

    def score(self, architecture):
        sys.stdout.write(f"{architecture.id}\n")
        sys.stdout.flush()
        time.sleep(self.sleep_s)
        return super().score(architecture)


def search(database, evaluations, sleep_s):
    run(str(database), Slow(sleep_s), evaluations=evaluations)


def printed(folder):
    return (folder / "out.txt").read_text().split() if (folder / "out.txt").is_file() else []


def run(storage, quality=None, *, latency=LATENCY, space=SPACE, name="study", **settings):
    quality = quality or FormulaQuality()
    return run_search(space, latency, quality, SearchConfig(**{"sampler": "random", **settings}), storage, name)


def ids(evaluations):
    return [evaluation.architecture.id for evaluation in evaluations]


def test_a_second_process_goes_on_where_the_first_ended(tmp_path):
    database = tmp_path / "runs" / "study.db"
    before = finish(start(tmp_path, search, database, 8, 0), tmp_path).split()
    assert len(before) == 8

    quality = FormulaQuality()
    result = run(database, quality, evaluations=20)

    assert ids(result.record.evaluations) == before + quality.calls
    assert len(set(ids(result.record.evaluations))) == 20
    assert result.scored == 12


def test_a_finished_study_has_nothing_left_to_do(tmp_path):
    run(tmp_path / "study.db", evaluations=6)

    quality = FormulaQuality()
    result = run(tmp_path / "study.db", quality, evaluations=6)

    assert quality.calls == []
    assert len(result.front) > 0
    assert result.reason == "6 architectures scored"


def test_a_killed_search_loses_its_running_evaluation_only_and_makes_up_for_it(tmp_path):
    database = tmp_path / "study.db"
    victim = start(tmp_path, search, database, 24, 0.3)
    while len(printed(tmp_path)) < 4:
        assert victim.is_alive()
        time.sleep(0.02)
    with pytest.raises(StorageError, match=r"study\.db: another process is searching.*: process \d+ on .*PostgreSQL"):
        run(database)
    victim.kill()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    begun = printed(tmp_path)

    quality = FormulaQuality()
    result = run(database, quality, evaluations=12)

    scored = ids(result.record.evaluations)
    assert scored[: len(begun) - 1] == begun[:-1]
    assert quality.calls[0] == begun[-1]
    assert len(scored) == len(set(scored)) == 12
    assert result.record.failed == 0
    states = {
        trial.state.name for trial in optuna.load_study(study_name="study", storage=f"sqlite:///{database}").trials
    }
    assert states == {"COMPLETE", "FAIL"}


def test_an_interrupt_leaves_a_study_to_go_on_with(tmp_path):
    class Interrupted(FormulaQuality):
        def score(self, architecture):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().score(architecture)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "study.db", Interrupted())

    assert len(run(tmp_path / "study.db", evaluations=7).record.evaluations) == 7


def test_a_search_can_be_read_while_it_goes_on(tmp_path):
    counts = []

    class Reader(FormulaQuality):
        def score(self, architecture):
            counts.append(len(load_study(tmp_path / "study.db", "study").evaluations))
            return super().score(architecture)

    run(tmp_path / "study.db", Reader(), evaluations=3)

    assert counts == [0, 1, 2]


def other_layers():
    return small_space(slots=[{"stage": "mid", "candidates": ["none", "conv1d"]}])


class OtherData(FormulaQuality):
    fingerprint = "other clips"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": other_layers(), "latency": FormulaLatency(other_layers())}, "another space content"),
        ({"latency": FormulaLatency(SPACE, scale=1.01)}, "another latency table"),
        ({"quality": OtherData()}, "another quality content"),
        ({"budgets": Budgets(latency_ms=50)}, "other budgets"),
    ],
)
def test_a_study_of_something_else_is_refused(tmp_path, changes, words):
    run(tmp_path / "study.db", evaluations=3)

    with pytest.raises(ConfigError, match=rf"study\.db: study study: .*{words}.*another study name"):
        run(tmp_path / "study.db", **changes)

    assert len(load_study(tmp_path / "study.db", "study").evaluations) == 3


def test_a_study_of_another_program_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="study", storage=url, directions=["minimize", "minimize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=1)

    with pytest.raises(ConfigError, match="not made by `nas search`"):
        run(url)
    with pytest.raises(ConfigError, match="not made by `nas search`"):
        load_study(url, "study")


def test_studies_share_a_file(tmp_path):
    run(tmp_path / "study.db", name="one", evaluations=3)
    run(tmp_path / "study.db", name="two", evaluations=4)

    assert len(load_study(tmp_path / "study.db", "one").evaluations) == 3
    with pytest.raises(StorageError, match=r"study\.db: no study 'three' \(known: one, two\)"):
        load_front(tmp_path / "study.db", "three")


def test_reading_a_study_that_is_not_there_makes_no_file(tmp_path):
    with pytest.raises(StorageError, match=r"absent\.db: no such file"):
        load_front(tmp_path / "absent.db", "study")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"no database, however long" * 99, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "study.db").write_bytes(content)

    with pytest.raises(StorageError, match=r"study\.db: the storage of the study cannot be used"):
        load_front(tmp_path / "study.db", "study")
    with pytest.raises(StorageError, match=r"study\.db: the storage of the study cannot be used"):
        run(tmp_path / "study.db")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://localhost/0", "redis"),
        ("nosuch://host/base", "nosuch"),
        ("postgresql://someone:secret@127.0.0.1:1/base", r"postgresql://someone:\*\*\*@127.0.0.1:1/base"),
        ("://", "not a storage URL"),
    ],
)
def test_a_storage_that_cannot_be_opened(url, words):
    with pytest.raises(StorageError, match=words) as caught:
        run(url)

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_driver_for_postgresql_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg2", None)

    with pytest.raises(StorageError, match=r"no driver for PostgreSQL.*pip install 'nas-video\[postgres\]'"):
        run("postgresql://someone@127.0.0.1:1/base")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="file"):
        run(tmp_path / "file" / "study.db")


@pytest.fixture
def no_file_may_grow():
    """A function after whose call files of this process cannot grow beyond so many bytes, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named_and_what_was_found_is_kept(tmp_path, no_file_may_grow):
    class Filling(FormulaQuality):
        def score(self, architecture):
            if len(self.calls) == 3:
                no_file_may_grow(8192)
            return super().score(architecture)

    with pytest.raises(StorageError, match=r"study\.db: the storage of the study cannot be used: .*(full|I/O)"):
        run(tmp_path / "study.db", Filling(), evaluations=9)

    no_file_may_grow(resource.RLIM_INFINITY)
    assert len(load_study(tmp_path / "study.db", "study").evaluations) == 3
    assert len(run(tmp_path / "study.db", evaluations=9).record.evaluations) == 9


def test_a_search_on_a_file_loads_neither_the_code_of_claims_nor_that_of_servers(tmp_path):
    code = (
        "import sys\n"
        "from nas.search import SearchConfig, run_search\n"
        "from tests.search.formulas import FormulaLatency, PlainSpace, formula_loss\n"
        "class Formula:\n"
        "    name, direction, fingerprint, score = 'loss', 'minimize', '', staticmethod(formula_loss)\n"
        "space = PlainSpace()\n"
        "config = SearchConfig(sampler='random', evaluations=3)\n"
        f"result = run_search(space, FormulaLatency(space), Formula(), config, {str(tmp_path / 'study.db')!r}, 's')\n"
        "loaded = [name for name in sys.modules if name.startswith('nas.search.')]\n"
        "print(result.scored, *sorted(loaded))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    scored, *loaded = done.stdout.split()
    assert scored == "3"
    assert "nas.search.workers.worker" in loaded
    unused = ("workers.claims", "workers.heartbeats", "storage.server", "storage.retrying", "pareto_sampler")
    assert not {f"nas.search.{name}" for name in unused} & set(loaded)
