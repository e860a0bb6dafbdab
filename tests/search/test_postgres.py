"""Many workers on one study: real processes, a real PostgreSQL, real kills and restarts."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from nas.errors import ConfigError, StorageError
from nas.search import SearchConfig, load_front, load_study, run_search
from nas.space import Budgets
from tests.processes import start
from tests.search.formulas import FormulaLatency, PlainSpace, formula_loss, true_front
from tests.search.worker_process import TIMING, Announced, work

pgserver = pytest.importorskip("pgserver", reason="there are no wheels of it for this Python")

SPACE = PlainSpace()
LATENCY = FormulaLatency(SPACE)
LARGE = [[f"layer_{number}" for number in range(25)]] * 3


class Server:
    """A PostgreSQL of the tests' own, in a folder of its own, on a socket."""

    def __init__(self, folder):
        self.server = pgserver.get_server(folder, cleanup_mode="delete")
        # Restarts here are crashes of the server, not of the machine: nothing needs to wait for the disk.
        self.server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")

    @property
    def url(self):
        return self.server.get_uri()

    def crash(self):
        pgserver.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self.server.pgdata, user=self.server.system_user)

    def start(self):
        self.server.ensure_postgres_running()


@pytest.fixture(scope="module")
def server():
    # A socket's path may have some hundred characters, too few for a folder of pytest's.
    with tempfile.TemporaryDirectory(prefix="nas", ignore_cleanup_errors=True) as folder:
        running = Server(Path(folder) / "pg")
        yield running
        running.server.cleanup()


class Worker:
    """A worker in another process; what it prints is read as it comes."""

    def __init__(self, **arguments):
        self.folder = Path(tempfile.mkdtemp(prefix="nas"))
        self.printed, lines = multiprocessing.Pipe(duplex=False)
        self.process = start(self.folder, work, lines, arguments)
        lines.close()
        self.begun = []
        self.lines = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in open(self.printed.fileno(), closefd=False):  # noqa: SIM115 - the connection closes it
            with self.lines:
                self.begun.append(line.strip())
                self.lines.notify_all()

    def wait_for(self, count):
        with self.lines:
            assert self.lines.wait_for(lambda: len(self.begun) >= count, timeout=60), self.begun

    def end(self):
        self.process.join(90)
        errors = (self.folder / "err.txt").read_text()
        assert self.process.exitcode == 0, errors
        self.reader.join(10)
        ended = json.loads(self.begun.pop())
        assert ended["scored"] == len(self.begun)
        return ended["reason"], errors

    def kill(self):
        self.process.kill()
        self.process.join(10)
        self.reader.join(10)


@contextlib.contextmanager
def workers(count, **arguments):
    started = [Worker(**arguments) for _ in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()
            shutil.rmtree(worker.folder)


def driver_url(server):
    return server.url.replace("postgresql:", "postgresql+psycopg:")


def trials_of(server, name):
    return optuna.load_study(study_name=name, storage=driver_url(server)).trials


def run(server, name, quality=None, **settings):
    config = SearchConfig(**{"sampler": "random", **settings})
    return run_search(SPACE, LATENCY, quality or Announced(0), config, server.url, name, timing=TIMING)


def test_four_workers_share_a_study_and_take_over_from_one_that_is_killed(server):
    with workers(4, storage=server.url, name="killed", evaluations=1000, seconds=0.4) as started:
        victim, *others = started
        victim.wait_for(2)
        victim.kill()
        for other in others:
            reason, _ = other.end()
            assert reason == "all 24 architectures of the space are scored"

    finished = [one for other in others for one in other.begun] + victim.begun[:-1]
    assert sorted(finished) == sorted(one.id for one in SPACE.enumerate())
    assert victim.begun[-1] in finished
    assert all(other.begun for other in others)
    record = load_study(server.url, "killed")
    assert len(record.evaluations) == 24
    assert record.failed == 0
    assert {member.architecture.id for member in record.front} == true_front(SPACE, LATENCY)


def test_a_death_at_the_last_evaluation_is_made_up_for_by_those_who_wait(server):
    with workers(1, storage=server.url, name="last", evaluations=2, seconds=0.1) as (quick,):
        quick.wait_for(3)
        quick.end()
    with workers(1, storage=server.url, name="last", evaluations=3, seconds=600) as (victim,):
        victim.wait_for(1)
        with workers(1, storage=server.url, name="last", evaluations=3) as (heir,):
            # Time for it to see that the only place left is taken.
            time.sleep(2)
            assert heir.begun == []
            victim.kill()
            heir.end()

    assert heir.begun == victim.begun
    assert len(load_study(server.url, "last").evaluations) == 3


def test_the_number_of_evaluations_holds_for_all_workers_together(server):
    with workers(4, storage=server.url, name="exact", evaluations=9, seconds=0.05) as started:
        for worker in started:
            assert worker.end()[0] == "9 architectures scored"

    begun = [one for worker in started for one in worker.begun]
    assert len(begun) == len(set(begun)) == 9
    assert len(load_study(server.url, "exact").evaluations) == 9


def fill(server, name, space, count):
    """Add results as a worker leaves them, at a fraction of its price; they are what a crash must not lose."""
    latency = FormulaLatency(space)
    run_search(
        space, latency, Announced(0), SearchConfig(evaluations=1, sampler="random"), server.url, name, timing=TIMING
    )
    study = optuna.load_study(study_name=name, storage=driver_url(server))
    distributions = {slot.id: CategoricalDistribution(slot.candidates) for slot in space.slots}
    for one in itertools.islice(space.enumerate(), 1, count):
        figure = latency.predict(one)
        attrs = {"unet_ms": figure.unet_ms, "parameters": None, "provenance": "measured", "runtime": "formula"}
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(zip(distributions, one.choices, strict=True)),
                distributions=distributions,
                values=[formula_loss(one), figure.pipeline_ms],
                user_attrs={"architecture": one.to_dict(), **attrs},
            )
        )


def test_a_study_of_hundreds_outlives_two_crashes_of_the_database(server):
    space = PlainSpace(LARGE)
    fill(server, "long", space, 260)
    with workers(2, storage=server.url, name="long", evaluations=300, slots=LARGE) as started:
        for moment in (10, 25):
            while sum(len(worker.begun) for worker in started) < moment or not all(worker.begun for worker in started):
                time.sleep(0.05)
                assert all(worker.process.is_alive() for worker in started), "a worker has died"
            server.crash()
            time.sleep(0.7)
            server.start()
        ends = [worker.end() for worker in started]

    begun = [one for worker in started for one in worker.begun]
    before = [one.id for one in itertools.islice(space.enumerate(), 260)]
    record = load_study(server.url, "long")
    assert len(begun) == len(set(begun)) == 40
    assert sorted(one.architecture.id for one in record.evaluations) == sorted(before + begun)
    assert all(one.quality == formula_loss(one.architecture) for one in record.evaluations)
    assert record.failed == 0
    # A worker that scores all through an outage does not notice it.
    noticed = [errors.count("the database of the study is away") for _, errors in ends]
    assert max(noticed) <= 2
    assert sum(noticed) >= 1


def test_an_outage_longer_than_the_grace_period_kills_nobody(server):
    with workers(2, storage=server.url, name="outage", evaluations=2, seconds=2 * TIMING.grace_s) as started:
        for worker in started:
            worker.wait_for(1)
        server.crash()
        time.sleep(1.4 * TIMING.grace_s)
        server.start()
        for worker in started:
            worker.end()

    assert [len(worker.begun) for worker in started] == [1, 1]
    first = [trial for trial in trials_of(server, "outage") if "duplicate_of" not in trial.user_attrs]
    assert [trial.state.name for trial in first] == ["COMPLETE", "COMPLETE"]


def test_an_interrupt_frees_the_trial_at_once(server):
    with workers(1, storage=server.url, name="interrupted", evaluations=5, seconds=600) as (worker,):
        worker.wait_for(1)
        os.kill(worker.process.pid, signal.SIGINT)
        worker.process.join(15)

    assert "RUNNING" not in {trial.state.name for trial in trials_of(server, "interrupted")}
    (evaluation,) = run(server, "interrupted", evaluations=1).record.evaluations
    assert evaluation.architecture.id == worker.begun[0]


def test_an_architecture_that_kills_its_workers_counts_as_failed(server):
    for _ in range(3):
        with workers(1, storage=server.url, name="deadly", evaluations=1, seconds=600) as (worker,):
            worker.wait_for(1)
            worker.kill()

    result = run(server, "deadly", evaluations=1)

    assert result.record.failed == 1
    assert [trial.user_attrs["failure"] for trial in trials_of(server, "deadly") if "failure" in trial.user_attrs] == [
        "3 workers died while they scored it"
    ]


def test_of_workers_that_start_together_with_other_settings_one_is_refused(server):
    made = []

    def start(budget):
        try:
            made.append(run(server, "settings", evaluations=3, budgets=Budgets(latency_ms=budget)))
        except ConfigError as error:
            made.append(str(error))

    threads = [threading.Thread(target=start, args=(budget,)) for budget in (30, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    refusals = [one for one in made if isinstance(one, str)]
    assert len(refusals) == 1
    assert "made with other budgets" in refusals[0]


def test_a_reader_needs_no_right_to_write(server):
    run(server, "read", evaluations=3)
    server.server.psql(
        "CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; CREATE DATABASE bare;"
    )

    record = load_study(server.url.replace("postgres:@", "reader:@"), "read")
    assert len(record.evaluations) == 3

    with pytest.raises(StorageError, match="holds no studies"):
        load_study(server.url.replace("/postgres?", "/bare?"), "read")
    count = server.server.psql("\\c bare\nSELECT 'tables: ' || count(*) FROM pg_tables WHERE schemaname = 'public';")
    assert "tables: 0" in count


@pytest.mark.parametrize("secret", ["p@ss#w/or?d", "pass:word", "50%off", "{SCHEMA_VERSION}", "a b"])
def test_a_password_as_it_is_works_and_is_shown_nowhere(server, secret, caplog):
    server.server.psql(f"DROP ROLE IF EXISTS someone; CREATE ROLE someone SUPERUSER LOGIN PASSWORD '{secret}';")
    written = secret.replace(" ", "%20")
    url = server.url.replace("postgres:@", f"someone:{written}@")

    result = run_search(SPACE, LATENCY, Announced(0), SearchConfig(evaluations=1), url, "secret", timing=TIMING)

    with pytest.raises(StorageError) as caught:
        load_front(url.replace("/postgres?", "/absent?"), "secret")
    for text in (result.record.where, str(caught.value), caplog.text):
        assert secret not in text
        assert written not in text
    assert "someone:***@" in result.record.where


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace("/postgres?", "/absent?"), 'database "absent" does not exist'),
        (lambda url: url.replace("postgres:@", "nobody:secret@"), 'role "nobody" does not exist'),
        (lambda url: url + "/elsewhere", "No such file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named_at_once(server, change, words):
    began = time.monotonic()

    with pytest.raises(StorageError, match=words) as caught:
        load_front(change(server.url), "study")

    # Errors that pass are tried again for ten minutes.
    assert time.monotonic() - began < 60
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
