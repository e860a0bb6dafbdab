"""Studies that are read without a right to write, in every state a SQLite file may be in, and without a trace."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import pytest

from nas.errors import StorageError
from nas.search import SearchConfig, load_study, rescore, run_search
from nas.search.storage.sqlite import snapshot
from tests.search.problem import FormulaLatency, FormulaQuality, small_space

SPACE = small_space()
NOBODY = 65534
SCORED = 5


class Meanwhile(FormulaQuality):
    """Does something while the last architecture is being scored."""

    def __init__(self, action):
        super().__init__()
        self.action = action

    def score(self, architecture):
        if len(self.calls) == SCORED:
            self.action()
        return super().score(architecture)


def run(database, action=lambda: None, evaluations=SCORED + 1):
    config = SearchConfig(sampler="random", evaluations=evaluations)
    run_search(SPACE, FormulaLatency(SPACE), Meanwhile(action), config, database, "s")


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Read something as oneself: what is imported for that may lie where another user cannot read."""
    folder = tmp_path_factory.mktemp("first")
    closed(folder)
    load_study(folder / "study.db", "s")


@pytest.fixture
def public(imported):
    """A folder that every user can enter; those of pytest are its own user's."""
    folder = Path(tempfile.mkdtemp(prefix="nas-public-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def closed(folder):
    run(folder / "study.db", evaluations=SCORED)


def killed(folder):
    """What a killed search leaves: a log that nobody has put into the database, and its index."""
    with tempfile.TemporaryDirectory() as elsewhere:

        def copy():
            for file in Path(elsewhere).iterdir():
                shutil.copy(file, folder / file.name)

        run(Path(elsewhere) / "study.db", copy)
    assert (folder / "study.db-wal").stat().st_size > 0


def copied(folder):
    """The database and its log, without the index, as somebody copies them to another machine."""
    killed(folder)
    (folder / "study.db-shm").unlink()


def never_logged_ahead(folder):
    closed(folder)
    with sqlite3.connect(folder / "study.db") as database:
        assert database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    database.close()


def killed_while_writing_over_itself(folder):
    """A journal from which the next one to open the database has to undo half a transaction."""
    never_logged_ahead(folder)
    shutil.move(folder / "study.db", folder / "original.db")
    database = sqlite3.connect(folder / "original.db")
    database.execute("PRAGMA cache_size=1")
    database.execute("BEGIN")
    database.execute("DELETE FROM trial_values")
    database.execute("UPDATE trial_user_attributes SET value_json = zeroblob(50000)")
    assert (folder / "original.db-journal").stat().st_size > 0
    for suffix in ("", "-journal"):
        shutil.copy(folder / f"original.db{suffix}", folder / f"study.db{suffix}")
    database.rollback()
    database.close()


STATES = [closed, killed, copied, never_logged_ahead, killed_while_writing_over_itself]


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.name: (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files}


def make_readable(folder):
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


@contextlib.contextmanager
def as_another_user():
    """Root may write everywhere, so become another user for a while; everybody else is one who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def count_as_another(folder):
    with as_another_user():
        assert not os.access(folder, os.W_OK, effective_ids=True)
        return len(load_study(folder / "study.db", "s").evaluations)


@pytest.mark.parametrize("state", STATES)
def test_a_reader_needs_no_right_to_write_and_leaves_nothing(public, state):
    state(public)
    make_readable(public)
    before = contents(public)

    assert count_as_another(public) == SCORED

    assert contents(public) == before


@pytest.mark.parametrize("state", STATES)
def test_a_reader_who_may_write_leaves_nothing_either(public, state):
    state(public)
    before = contents(public)

    assert len(load_study(public / "study.db", "s").evaluations) == SCORED

    assert contents(public) == before


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA journal_mode=WAL")
database.execute("UPDATE trial_values SET value = 123 WHERE objective = 0")
database.commit()
print("written", flush=True)
sys.stdin.read()
"""


def test_another_user_reads_the_latest_while_another_process_writes(public):
    closed(public)
    command = [sys.executable, "-S", "-c", WRITER, str(public / "study.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        make_readable(public)
        before = contents(public)
        with as_another_user():
            qualities = {one.quality for one in load_study(public / "study.db", "s").evaluations}
        assert contents(public) == before
        assert writer.poll() is None
        public.chmod(0o755)
        writer.stdin.close()

    assert qualities == {123}
    assert sorted(path.name for path in public.iterdir()) == [".study.db.lock", "study.db"]


def test_the_study_being_searched_is_read_by_its_own_process(tmp_path):
    found = []

    run(tmp_path / "study.db", lambda: found.append(len(load_study(tmp_path / "study.db", "s").evaluations)))

    assert found == [SCORED]
    assert len(load_study(tmp_path / "study.db", "s").evaluations) == SCORED + 1


def test_a_link_is_read_with_the_log_beside_what_it_points_to(public, tmp_path):
    killed(public)
    (tmp_path / "link.db").symlink_to(public / "study.db")

    assert len(load_study(tmp_path / "link.db", "s").evaluations) == SCORED


def test_a_file_that_always_changes_is_no_endless_loop(tmp_path, monkeypatch):
    closed(tmp_path)
    times = iter(range(1000))
    unlinked = Path.stat

    def moving(path, **kwargs):
        if path.name == "study.db":
            os.utime(path, ns=(0, next(times)))
        return unlinked(path, **kwargs)

    monkeypatch.setattr(Path, "stat", moving)
    monkeypatch.setattr("nas.search.storage.sqlite.ATTEMPTS", 4)
    with pytest.raises(StorageError, match=r"study\.db: changes faster than it can be read"):
        snapshot(tmp_path / "study.db")


def test_a_file_that_one_may_not_read_ends_in_one_line(public):
    closed(public)
    (public / "study.db").chmod(0o000)

    with as_another_user(), pytest.raises(StorageError, match=r"study\.db: ") as caught:
        load_study(public / "study.db", "s")
    assert "\n" not in str(caught.value)


def test_two_names_of_one_file_are_one_lock(tmp_path):
    (tmp_path / "link.db").symlink_to(tmp_path / "study.db")

    def search_again():
        with pytest.raises(StorageError, match=r"link\.db: another process is searching"):
            run(tmp_path / "link.db")

    run(tmp_path / "study.db", search_again)
    assert len(load_study(tmp_path / "link.db", "s").evaluations) == SCORED + 1


def test_a_database_of_another_program_is_left_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / "places.db") as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.close()
    before = contents(tmp_path)

    for call in (run, lambda path: load_study(path, "s")):
        with pytest.raises(StorageError, match=r"places\.db: is a database of another program"):
            call(tmp_path / "places.db")

    assert contents(tmp_path).items() >= before.items()
    assert {name for name in contents(tmp_path) if not name.endswith(".lock")} == {"places.db"}


@pytest.mark.parametrize("version", ["v0.9.0.a", "v99.0.0.z"])
def test_a_database_of_another_version_of_optuna_is_left_as_it_is(tmp_path, version):
    closed(tmp_path)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [version])
    database.close()
    before = contents(tmp_path)

    for call in (run, lambda path: load_study(path, "s")):
        with pytest.raises(
            StorageError, match=r"study\.db: the storage of the study cannot be used: .*optuna"
        ) as found:
            call(tmp_path / "study.db")
        assert "\n" not in str(found.value)

    after = contents(tmp_path)
    assert after["study.db"] == before["study.db"]


def test_an_empty_file_becomes_a_study(tmp_path):
    (tmp_path / "study.db").touch()

    with pytest.raises(StorageError, match="no study 's'"):
        load_study(tmp_path / "study.db", "s")
    run(tmp_path / "study.db", evaluations=1)

    assert optuna.get_all_study_names(f"sqlite:///{tmp_path}/study.db") == ["s"]


def test_a_study_that_may_not_be_written_is_not_scored_again(public):
    closed(public)
    make_readable(public)
    quality = FormulaQuality()

    with as_another_user(), pytest.raises(StorageError, match=r"study\.db: .*(readonly|unable to open)") as caught:
        rescore(public / "study.db", "s", quality)

    assert "\n" not in str(caught.value)
    assert quality.calls == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EREMOTEIO])
def test_files_that_cannot_be_locked_end_in_one_line(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    quality = FormulaQuality()

    with pytest.raises(StorageError, match=rf"cannot be locked: {os.strerror(number)}"):
        run_search(SPACE, FormulaLatency(SPACE), quality, SearchConfig(), tmp_path / "study.db", "s")

    assert quality.calls == []
    assert not (tmp_path / "study.db").exists()
