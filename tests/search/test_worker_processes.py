"""`--workers` and shared second scorings: real processes, a real PostgreSQL, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas.cli import main
from nas.environment import use_graphics_card, worker_variables
from nas.errors import NasError, StorageError
from nas.progress import Step, telling
from nas.quality import FunctionQuality, QualityMetric
from nas.search import SearchConfig, hypervolume_history, load_study, rescore, run_search
from nas.search.workers import pool
from nas.search.workers.child import child_of_a_pool, ending_in_order
from nas.search.workers.watching import watch_workers
from tests.processes import finish, start, start_nas
from tests.search.formulas import FormulaLatency, PlainSpace, formula_loss
from tests.search.test_halving import InParts
from tests.search.test_postgres import server, trials_of  # noqa: F401 - a fixture
from tests.search.worker_process import TIMING, Announced

pytest.importorskip("pgserver", reason="there are no wheels of it for this Python")

ROOT = Path(__file__).parents[2]
SPACE = PlainSpace()

GATED = """
import os, time

def begin(architecture):
    with open("begun.txt", "a") as file:
        file.write(f"{os.getpid()} {architecture.id}\\n")
    while not os.path.exists("open"):
        time.sleep(0.02)
    return float(sum(len(name) for name in architecture.choices))
"""


def until(condition, process=None, seconds=90):
    """Wait for something to become true; what it is then."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        assert process is None or process.is_alive()
        time.sleep(0.02)
    return value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a metric that waits for a file, and the command lines of it."""
    (tmp_path / "gated.py").write_text(GATED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def begun(folder, after=0):
    """What is being scored: process and architecture, in the order of their beginnings."""
    file = folder / "begun.txt"
    lines = file.read_text().splitlines()[after:] if file.exists() else []
    return [(int(pid), architecture) for pid, architecture in map(str.split, lines)]


def command(verb, url, study, *options):
    table = ROOT / "latency_tables" / "quickstart-amd_epyc-onnxruntime.csv"
    tables = ("--table", table, "--sampler", "random") if verb == "search" else ()
    metric = ("--quality", "gated:begin", "--direction", "minimize")
    where = ("--storage", url, "--study", study)
    return (verb, ROOT / "search_spaces" / "quickstart.yaml", *tables, *metric, *where, *options)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_killed_worker_is_reported_and_an_interrupt_ends_all(server, folder):  # noqa: F811
    process = start_nas(folder, *command("search", server.url, "pool", "--evaluations", 4, "--workers", 2))
    (victim, lost), (survivor, released) = until(lambda: len(both := begun(folder)) == 2 and both, process)
    assert {victim, survivor}.isdisjoint({os.getpid(), process.pid})

    os.kill(victim, signal.SIGKILL)
    until(lambda: "was killed by SIGKILL; 1 of 2 workers go on" in (folder / "err.txt").read_text(), process)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)

    assert process.exitcode == 130
    assert not is_running(survivor)
    assert "RUNNING" not in {trial.state.name for trial in trials_of(server, "pool")}
    (folder / "open").touch()
    finish(start_nas(folder, *command("search", server.url, "pool", "--evaluations", 4)), folder)
    resumed = [architecture for _, architecture in begun(folder, after=2)]
    assert {lost, released} == set(resumed[:2])
    assert len(resumed) == len(set(resumed)) == 4


@pytest.mark.slow
def test_workers_share_a_second_scoring_and_take_over_from_one_that_is_killed(server, folder):  # noqa: F811
    (folder / "open").touch()
    finish(start_nas(folder, *command("search", server.url, "again", "--evaluations", 4)), folder)
    (folder / "open").unlink()
    again = command("rescore", server.url, "again", "--members", 4, "--workers", 2, "--json")
    process = start_nas(folder, *again)
    (victim, lost), _ = until(lambda: len(both := begun(folder, after=4)) == 2 and both, process)

    os.kill(victim, signal.SIGKILL)
    (folder / "open").touch()
    printed = json.loads(finish(process, folder))

    scored = [architecture for _, architecture in begun(folder, after=4)]
    assert {one: scored.count(one) for one in scored} == dict.fromkeys(scored, 1) | {lost: 2}
    assert len(set(scored)) == 4
    assert [(death["how"], printed["waiting"]) for death in printed["died"]] == [("was killed by SIGKILL", 0)]


@pytest.fixture
def refusal(monkeypatch, capsys):
    """Run a command with three workers in this process, and return the one line that refuses it."""

    def nas(verb, storage):
        arguments = command(verb, storage, "absent", "--workers", 3)
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
        return printed.err

    return nas


def test_what_cannot_have_workers_is_refused_in_one_line(folder, refusal, monkeypatch):
    for verb in ("search", "rescore"):
        said = refusal(verb, "s.db")
        assert "one process at a time, not 3; keep the study in PostgreSQL (--storage postgresql://" in said
    assert not (folder / "s.db").exists()
    unreachable = refusal("search", "postgresql://me:secret@localhost:1/base")
    assert "refused" in unreachable
    assert "secret" not in unreachable
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert "leave --workers out" in refusal("search", "postgresql://me@localhost:1/base")


def test_a_second_scoring_of_no_study_starts_no_workers(server, refusal):  # noqa: F811
    assert "no study 'absent'" in refusal("rescore", server.url)


@pytest.mark.slow
def test_the_process_that_watches_imports_no_torch(server, folder):  # noqa: F811
    arguments = ["nas", *map(str, command("search", server.url, "light", "--workers", 2))]
    code = (
        "import sys\nfrom nas.search.workers import watching\nfrom nas.cli import main\n"
        "watching.watch_workers = lambda *given: sys.exit(8 if 'torch' in sys.modules else 7)\n"
        f"sys.argv = {arguments}\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 7, "8 if it has torch, any other code if it watched no workers"


def python(code):
    return [sys.executable, "-S", "-c", code]


def watch(*codes):
    return watch_workers([python(code) for code in codes], os.environ, "work", died.append)


died: list[str] = []

TOLD = 'print(\'{"name": "one"}\', flush=True); '
GOOD = 'print(\'{"step": ["work", 3, 8, "a word"]}\'); print(\'{"results": {"scored": 3, "known": 5}}\')'


def test_results_are_added_up_and_the_dead_are_named(caplog, capsys):
    died.clear()
    crash = TOLD + "import sys; sys.stderr.write('warning: hot\\nerror: no such clips\\n'); sys.exit(2)"
    crew = watch(GOOD, crash, "import os; os.kill(os.getpid(), 9)", GOOD)

    assert crew.merged(known=min) == {"scored": 6, "known": 5}
    assert sorted(map(str, crew.deaths)) == [
        "worker 2 ended with exit code 2: no such clips",
        "worker 3 was killed by SIGKILL",
    ]
    assert died == ["one"]
    assert "worker 2 ended with exit code 2: no such clips; " in caplog.text
    shown = capsys.readouterr().err
    assert "worker 2: warning: hot" in shown
    assert "3/8" in shown


@pytest.mark.parametrize(
    ("code", "words", "exit_code"),
    [
        ("import sys; sys.exit('error: no such table')", "all 2 workers died: no such table", 1),
        ("import sys; sys.stderr.write('error: no such table'); sys.exit(2)", "all 2 workers died: no such table", 2),
        ("import os; os.abort()", "all 2 workers died, the last one was killed by SIGABRT; memory may be short", 2),
        ("pass", "all 2 workers died: the last one ended with exit code 0", 1),
    ],
)
def test_an_error_of_all_workers_is_said_once(code, words, exit_code):
    with pytest.raises(NasError) as caught:
        watch(code, code)
    assert str(caught.value).startswith(words)
    assert caught.value.exit_code == exit_code


def test_a_line_that_all_workers_say_is_shown_once(capsys):
    watch(*(["import sys; sys.stderr.write('few clips\\n'); " + GOOD] * 3))
    assert capsys.readouterr().err.count("few clips") == 1


def test_workers_that_do_not_end_are_killed(monkeypatch):
    monkeypatch.setattr(pool, "ENDING_S", 0.2)
    deaf = TOLD.replace("print", "import signal, time; signal.signal(15, signal.SIG_IGN); print") + "time.sleep(60)"
    processes = []
    with pytest.raises(KeyboardInterrupt):
        watch_and_interrupt([python(deaf)] * 2, processes)
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


def watch_and_interrupt(commands, processes):
    """Interrupt a pool when all its workers are there."""
    with pool.WorkerPool(commands, os.environ) as workers:
        processes += [worker.process for worker in workers._alive.values()]
        events = workers.events()
        assert {next(events).worker, next(events).worker} == {1, 2}
        raise KeyboardInterrupt


def _orphan():
    reader, writer = os.pipe()
    os.dup2(reader, sys.stdin.fileno())
    with ending_in_order(), child_of_a_pool():
        sys.stdout.write("what a metric prints\n")
        try:
            os.close(writer)
            time.sleep(60)
        except KeyboardInterrupt:
            sys.stderr.write("in order\n")


def test_a_worker_ends_in_order_when_its_parent_is_gone(tmp_path):
    finish(start(tmp_path, _orphan), tmp_path)
    assert (tmp_path / "err.txt").read_text().split("\n") == ["what a metric prints", "in order", ""]
    told = json.loads((tmp_path / "out.txt").read_text())
    assert told.keys() == {"name"}


class Counted(QualityMetric):
    """The formula, with a count of what it was asked for."""

    name, direction, fingerprint = "counted", "minimize", ""

    def __init__(self, seconds=0.0, fails=()):
        self.calls, self.seconds, self.fails = [], seconds, fails

    def score(self, architecture):
        self.calls.append(architecture.id)
        time.sleep(self.seconds)
        if architecture.id in self.fails:
            raise RuntimeError("too large")
        return formula_loss(architecture)


@pytest.fixture(scope="module")
def ids(server):  # noqa: F811
    """A study; ids of its architectures."""
    config = SearchConfig(sampler="random", evaluations=8)
    run_search(SPACE, FormulaLatency(SPACE), Announced(0), config, server.url, "first", timing=TIMING)
    return [one.architecture.id for one in load_study(server.url, "first").evaluations]


def share(server, metrics):  # noqa: F811
    """Score the architectures again with several metrics at the same time, each as a process of its own would."""
    with ThreadPoolExecutor(len(metrics)) as threads:
        return list(threads.map(lambda one: rescore(server.url, "first", one, members=8, timing=TIMING), metrics))


def test_no_architecture_is_scored_again_twice(server, ids):  # noqa: F811
    metrics = [Counted(0.1, fails=ids[:2]) for _ in range(3)]

    results = share(server, metrics)

    calls = [call for metric in metrics for call in metric.calls]
    assert sorted(calls) == sorted(ids)
    assert all(metric.calls for metric in metrics)
    assert (sum(one.scored for one in results), sum(one.failed for one in results)) == (6, 2)
    record = load_study(server.url, "first")
    assert record.final_scores.failures.keys() == set(ids[:2])
    assert (len(record.evaluations), record.failed) == (8, 0)
    # What has failed is left to the next run.
    again = Counted()
    assert rescore(server.url, "first", again, members=8, timing=TIMING).known == 6
    assert set(again.calls) == set(ids[:2])
    # The attempts are no study of the user's.
    with pytest.raises(StorageError, match="no study 'other'") as refused:
        load_study(server.url, "other")
    assert "first" in str(refused.value)
    assert "second scoring" not in str(refused.value)


@pytest.mark.slow
def test_no_batch_is_scored_twice_where_rounds_add_batches(server, ids, tmp_path):  # noqa: F811
    config, alone = SearchConfig(sampler="random", evaluations=8), InParts(32)
    run_search(SPACE, FormulaLatency(SPACE), Announced(0), config, tmp_path / "s.db", "s")
    rescore(tmp_path / "s.db", "s", alone, members=8)
    assert {one for one, _ in alone.calls} == set(ids)
    assert 8 * 8 < len(alone.calls) < 8 * 32
    together = [InParts(32) for _ in range(3)]

    share(server, together)

    assert sorted(call for metric in together for call in metric.calls) == sorted(alone.calls)


def _score_forever(url, file):
    def slow(architecture):
        Path(file).write_text(architecture.id)
        time.sleep(600)

    rescore(url, "first", FunctionQuality(slow, direction="minimize", name="same"), members=8, timing=TIMING)


@pytest.mark.slow
def test_what_a_killed_process_was_scoring_again_is_taken_over(server, ids, tmp_path):  # noqa: F811
    process = start(tmp_path, _score_forever, server.url, str(tmp_path / "begun"))
    lost = until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text(), process)
    calls = []
    metric = FunctionQuality(lambda one: calls.append(one.id) or 1.0, direction="minimize", name="same")
    process.kill()

    rescore(server.url, "first", metric, members=8, timing=TIMING)

    assert sorted(calls) == sorted(ids)
    assert calls[0] != lost


def test_a_sqlite_file_has_one_second_scoring_at_a_time(tmp_path):
    config = SearchConfig(evaluations=3, sampler="random")
    run_search(SPACE, FormulaLatency(SPACE), Announced(0), config, tmp_path / "s.db", "s")

    class Nested(Counted):
        def score(self, architecture):
            with pytest.raises(NasError, match="another process is scoring again in this SQLite file"):
                rescore(tmp_path / "s.db", "s", Counted())
            return super().score(architecture)

    assert rescore(tmp_path / "s.db", "s", Nested()).scored > 0


def test_the_bar_shows_what_is_scored_and_the_front(tmp_path):
    steps = []
    with telling(steps.append):
        config = SearchConfig(evaluations=6, sampler="random")
        result = run_search(SPACE, FormulaLatency(SPACE), Announced(0), config, tmp_path / "s.db", "s")

    volume = hypervolume_history(result.record).values[-1]
    assert steps[-1] == Step("searching", 6, 6, f"front {len(result.front)}, hypervolume {volume:.4g}")


def test_each_worker_gets_its_share_of_the_machine(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert worker_variables(3)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert worker_variables(3)["OMP_NUM_THREADS"] == "7"
    for given, count, expected in [(None, 1, None), (None, 2, "1"), ("4,6", 2, "6"), ("5", 1, "5")]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given or "")
        use_graphics_card(4, count)
        assert (os.environ["CUDA_VISIBLE_DEVICES"] or None) == expected
