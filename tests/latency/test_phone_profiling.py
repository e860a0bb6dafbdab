"""Tables of a phone, from end to end, on the simulated iPhone of `tests.phone`, whose latencies are made up."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from nas.cli import main
from nas.cli.profile import profile as profile_verb
from nas.errors import RuntimeUnavailableError, TableError
from nas.files import lock
from nas.latency import (
    LatencyPredictor,
    LatencyTable,
    PhoneMeasurementSettings,
    profile_phone,
    space_blocks,
    usable_space,
)
from nas.latency.profiling.conversions import Conversions
from nas.latency.profiling.loading import reference_block
from nas.latency.profiling.phone_bench import BlockChain
from nas.latency.tables.samples import SampleLog, samples_path
from nas.runtimes import get_runtime
from nas.runtimes.phone import PhoneGoneError, WaitSettings
from nas.space import SearchSpace
from tests.latency.conftest import SMALL
from tests.phone.simulated_phone import SimulatedPhone

UNIT = "cpu_and_ne"
COPIES = 4
QUICK = PhoneMeasurementSettings(max_copies=COPIES, cool_down_s=0.2)
FAULTS = int(os.environ.get("NAS_TEST_FAULTS", "16"))  # injected into one job
HASTE = WaitSettings(poll_s=0.02, send_s=1, answer_s=0.8, load_s=2, lost_s=20, look_s=0.05)
SHORT_KINDS = ("time_embedding", "norm_act", "decode_space_to_depth")


class Finished(NamedTuple):
    """A job that is done, and what its phone was asked."""

    folder: Path
    calls: list[dict[str, Any]]
    out: str

    @property
    def table(self) -> Path:
        return self.folder / "phone.csv"


def nas(*arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process, where the simulated phone is."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["nas", *map(str, arguments)]
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as done:
        code = int(done.code or 0)
    finally:
        sys.argv = before
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="session")
def space_of_phone() -> SearchSpace:
    return SearchSpace.from_dict(SMALL)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "phone-tables"
    folder.mkdir(exist_ok=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.fixture(scope="session")
def chains(space_of_phone: SearchSpace, shared: Path) -> Path:
    """All chains of the space, converted once."""
    blocks = space_blocks(space_of_phone)
    wanted = [BlockChain(block, copies) for block in blocks for copies in (1, COPIES)]
    folder = shared / "chains"
    runtime = get_runtime("coreml", compute_unit=UNIT)
    Conversions(folder, runtime).convert({chain.name: chain.make for chain in wanted}, lambda _: None)
    return folder


@pytest.fixture(scope="session")
def finished(shared: Path, chains: Path) -> Finished:
    """A whole job, made once, by the command that a user types."""
    folder = shared / "job"
    with lock(shared / "job.lock", wait=True):
        if not (folder / "calls.json").is_file():
            folder.mkdir(exist_ok=True)
            shutil.copytree(chains, folder / "phone.job", dirs_exist_ok=True)
            with SimulatedPhone(folder) as phone:
                code, out, err = nas(*command(shared, folder / "phone.csv"))
                assert code == 0, err
                (folder / "out.txt").write_text(out)
                (folder / "calls.json").write_text(json.dumps(phone.calls()))
    return Finished(folder, json.loads((folder / "calls.json").read_text()), (folder / "out.txt").read_text())


def command(shared: Path, table: Path, *more: object) -> list[object]:
    options = ["--runtime", "coreml", "--device", "Test iPhone", "--compute-unit", UNIT, "--max-copies", COPIES]
    return ["profile", shared / "space.yaml", *options, "--table", table, "--cool-down-s", 0.2, *more]


@pytest.fixture
def unfinished(finished: Finished, chains: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the finished table that lacks the blocks of some kinds, with all that is converted."""

    def make(*kinds: str) -> Path:
        path = tmp_path / "phone.csv"
        table = LatencyTable.load(finished.table)
        rows = {key: row for key, row in table.rows.items() if row.kind not in kinds}
        metadata = table.metadata.model_copy(update={"complete": False})
        LatencyTable(metadata, rows).save(path)
        digest = table.metadata.identity_digest
        SampleLog(samples_path(path), digest).keep(rows, SampleLog(samples_path(finished.table), digest).read())
        shutil.copytree(chains, path.with_suffix(".job"))
        return path

    return make


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[SimulatedPhone]:
    with SimulatedPhone(tmp_path) as plugged:
        yield plugged


@pytest.fixture
def go_on(space_of_phone: SearchSpace) -> Callable[..., LatencyTable]:
    def run(
        path: Path, measurement: PhoneMeasurementSettings = QUICK, wait_settings: WaitSettings = HASTE
    ) -> LatencyTable:
        runtime = get_runtime("coreml", compute_unit=UNIT)
        return profile_phone(
            space_of_phone, "Test iPhone", path, runtime=runtime, measurement=measurement, wait_settings=wait_settings
        )

    return run


@contextlib.contextmanager
def meanwhile(
    phone: SimulatedPhone, kind: str, number: int, *actions: tuple[float, Callable[[], None]]
) -> Iterator[None]:
    """Do something to the phone when it is asked for the so-manieth time, and more some seconds later."""
    over = threading.Event()

    def watch() -> None:
        while len(phone.calls(kind)) < number and not over.wait(0.02):
            pass
        for delay_s, action in actions:
            over.wait(delay_s)
            action()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def true_ms(phone: SimulatedPhone, chains: Path, block: Any) -> tuple[float, float]:
    """What the simulator's formula says of a block in a chain, and of a call beside it."""
    packages = Conversions(chains, get_runtime("coreml", compute_unit=UNIT))
    short, long = (
        phone.true_latency_ms(packages.path(BlockChain(block, copies).name), UNIT.upper()) for copies in (1, COPIES)
    )
    each_ms = (long - short) / (COPIES - 1)
    return each_ms, short - each_ms


class TestWholeJob:
    def test_finds_what_the_phone_takes(self, finished: Finished, chains: Path, space_of_phone: SearchSpace) -> None:
        table, inside = LatencyTable.load(finished.table), 0
        blocks = space_blocks(space_of_phone)
        assert table.rows.keys() == {block.key for block in blocks}
        phone, overheads = SimulatedPhone(finished.folder), []
        for block in blocks:
            row, (each_ms, call_ms) = table.rows[block.key], true_ms(phone, chains, block)
            assert (row.status, row.stopped, row.samples >= 6) == ("ok", "precise", True)
            assert row.latency_ms == pytest.approx(each_ms, rel=0.01)
            assert row.ci_low_ms is not None
            assert row.ci_high_ms is not None
            inside += row.ci_low_ms <= each_ms <= row.ci_high_ms
            overheads.append(call_ms)
        assert inside >= len(blocks) - 2
        assert table.metadata.call_overhead_ms == pytest.approx(sorted(overheads)[len(overheads) // 2], abs=0.02)

    def test_needs_one_app(self, finished: Finished) -> None:
        kinds = [call["kind"] for call in finished.calls]
        assert (kinds.count("build"), kinds.count("install"), kinds.count("launch")) == (1, 1, 1)
        assert kinds.count("load") == kinds.count("unload") + 1  # the reference stays
        assert "9 blocks measured" in finished.out

    def test_says_what_it_was_measured_on(self, finished: Finished) -> None:
        metadata = LatencyTable.load(finished.table).metadata
        assert metadata.device == "Test iPhone, iPhone17,2, iOS 18.1 (22B83)"
        assert (metadata.cpu, metadata.opset, metadata.compute_unit) == ("iPhone17,2", "iOS18", UNIT)
        assert (metadata.precision, metadata.statistic) == ("fp16", "chain difference median")
        assert metadata.versions["ios"] == "18.1 (22B83)"
        assert metadata.versions["coremltools"]
        assert metadata.complete

    def test_says_where_blocks_run_and_how_close_they_come(self, finished: Finished) -> None:
        for row in LatencyTable.load(finished.table).rows.values():
            assert row.load_ms is not None
            assert row.load_ms > 40
            assert row.package_bytes is not None
            assert row.package_bytes > 1000
            assert row.ops_on_gpu == row.cost_on_gpu == 0  # not among the units that were allowed
            assert row.ops_on_neural_engine is not None
            assert 0 < row.ops_on_neural_engine < 1
            assert row.max_abs_error is not None  # the simulator answers zeros
            assert row.psnr_db is not None
        code, out, _ = nas("latency", "show", finished.table)
        assert code == 0
        assert "runs on" in out

    def test_predictions_can_be_made_of_it(self, finished: Finished, shared: Path, space_of_phone: SearchSpace) -> None:
        predictor = LatencyPredictor.open(space_of_phone, finished.table)
        assert (
            0 < predictor.predict(predictor.fastest()).pipeline_ms < predictor.predict(predictor.slowest()).pipeline_ms
        )
        code, out, _ = nas("latency", "predict", shared / "space.yaml", "--table", finished.table)
        assert code == 0
        assert "whole networks are not measured on a phone yet" in out
        code, _, err = nas("latency", "check", shared / "space.yaml", "--table", finished.table)
        assert (code, err.count("\n")) == (2, 1)
        assert "blocks and no whole networks yet" in err

    def test_is_not_done_twice(self, finished: Finished, shared: Path, phone: SimulatedPhone) -> None:
        before = finished.table.read_bytes()
        assert nas(*command(shared, finished.table))[0] == 0
        assert finished.table.read_bytes() == before
        assert not phone.calls("build")


class TestInterruptions:
    @pytest.mark.slow
    def test_a_killed_job_goes_on(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable]
    ) -> None:
        path = unfinished(*SHORT_KINDS)
        child = os.fork()
        if child == 0:  # pragma: no cover - ends by a signal
            go_on(path)
            os._exit(0)
        before = len(LatencyTable.load(path))
        while len(LatencyTable.load(path)) == before:
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kept = LatencyTable.load(path).rows
        asked = len(phone.calls("prediction"))
        found = go_on(path)
        assert {key: found.rows[key] for key in kept} == kept
        assert found.metadata.complete
        assert len(phone.calls("prediction")) - asked < 70

    def test_a_cable_that_is_put_back(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable],
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        path = unfinished("norm_act")
        with meanwhile(phone, "prediction", 6, (0, phone.unplug), (0.5, phone.plug_in)):
            found = go_on(path)
        assert all(row.usable for row in found.rows.values())
        assert "'Test iPhone' is not connected: plug it in" in caplog.text
        assert len(phone.calls("build")) == 1
        assert len(phone.calls("launch")) == 2

    @pytest.mark.slow
    def test_a_cable_that_is_not(self, unfinished: Callable[..., Path], phone: SimulatedPhone, shared: Path) -> None:
        path = unfinished("norm_act", "time_embedding")
        before = path.read_bytes()
        with meanwhile(phone, "prediction", 6, (0, phone.unplug)):
            code, _, err = nas(*command(shared, path, "--wait-seconds", 1))
        (line,) = [line for line in err.splitlines() if line.startswith("error:")]
        assert code == 2
        assert "is not connected" in line
        assert "7 of 9 blocks are in" in line
        assert "run the same command again to resume" in line
        assert path.read_bytes() == before
        phone.plug_in()
        assert nas(*command(shared, path))[0] == 0
        assert LatencyTable.load(path).metadata.complete

    def test_a_phone_that_is_locked_at_first(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable],
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        path = unfinished("norm_act")
        phone.lock()
        with meanwhile(phone, "info", 3, (0, phone.unlock)):
            found = go_on(path)
        assert found.metadata.complete
        assert "is locked: unlock it" in caplog.text

    @pytest.mark.slow
    def test_many_faults(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable]
    ) -> None:
        path = unfinished("norm_act", "time_embedding", "decode_space_to_depth", "conv", "conv1d")
        injected = inject_faults(phone, FAULTS, seed=1)
        found = go_on(path, QUICK, HASTE.model_copy(update={"attempts": 5}))
        happened = [call for call in phone.calls() if call["fault"] != "none"]
        assert len(happened) >= 0.9 * injected
        assert len({(call["kind"], call["fault"]) for call in happened}) >= min(10, FAULTS // 4)
        assert found.metadata.complete
        assert all(row.usable or row.reason for row in found.rows.values())
        assert sum(row.usable for row in found.rows.values()) >= len(found) - 1


def inject_faults(phone: SimulatedPhone, number: int, seed: int) -> int:
    """Faults of all kinds, spread over a job; returns how many."""
    rng = random.Random(seed)
    kinds = {
        "prediction": ["no_answer", "app_dies", "error", "malformed", "no_duration", "slow"],
        "load": ["no_answer", "app_dies", "error", "malformed", "out_of_memory", "out_of_memory_kill"],
        "compute_plan": ["no_answer", "error"],
        "unload": ["no_answer", "error", "app_dies"],
        "copy_to": ["lost_connection"],
        "copy_from": ["lost_connection"],
    }
    places = {"prediction": 90, "load": 14, "compute_plan": 4, "unload": 8, "copy_to": 200, "copy_from": 200}
    weights = [22, 8, 2, 4, 7, 7]
    for kind in rng.choices(list(kinds), weights, k=number):
        fault = rng.choice(kinds[kind])
        options = {"delay_s": 0.1} if fault == "slow" else {}
        phone.faults.on_call(rng.randint(2, places[kind]), kind, fault, **options)
    return number


class TestBlocksThatFail:
    def test_have_a_row_that_says_why(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable],
        space_of_phone: SearchSpace,
    ) -> None:  # fmt: skip
        path = unfinished("decode_space_to_depth", "text_learned", "time_embedding")
        phone.faults.from_now_on("load", "out_of_memory", operation="pixel_shuffle")
        phone.faults.from_now_on("load", "error", operation="gather", message="gather is\nnot supported")
        phone.faults.from_now_on("load", "out_of_memory_kill", operation="sin")
        found = {row.kind: row for row in go_on(path).rows.values()}
        assert found["decode_space_to_depth"].status == "out_of_memory"
        assert found["text_learned"].status == "failed"
        assert found["text_learned"].reason == "gather is not supported"
        assert found["time_embedding"].status == "failed"
        assert "has ended" in (found["time_embedding"].reason or "")
        with pytest.raises(TableError, match=r"no architecture of tiny can run: block text_learned.* gather is not"):
            usable_space(space_of_phone, LatencyTable.load(path))

    def test_are_not_those_whose_long_chain_does_not_fit(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable]
    ) -> None:
        path = unfinished("norm_act")
        for call in range(3, 3 + HASTE.attempts):  # the reference and the single copy are loaded before
            phone.faults.on_call(call, "load", "out_of_memory")
        table = go_on(path)
        (row,) = (row for row in table.rows.values() if row.kind == "norm_act")
        assert row.status == "ok"
        log = SampleLog(samples_path(path), table.metadata.identity_digest)
        (copies,) = {record.copies[row.key] for record in log.read() if row.key in record.samples_ms}
        assert copies == (1, 2)

    def test_are_not_those_that_meet_a_phone_which_refuses_everything(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable]
    ) -> None:
        path = unfinished("norm_act", "time_embedding")
        for call in range(6, 100):
            phone.faults.on_call(call, "prediction", "error", message="busy")
        with pytest.raises(PhoneGoneError, match=r"refuses what it ran before: busy.*7 of 9 blocks"):
            go_on(path)
        assert all(row.usable for row in LatencyTable.load(path).rows.values())
        phone.faults.clear()
        assert all(row.usable for row in go_on(path).rows.values())

    def test_do_not_take_the_table_with_them(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable]
    ) -> None:
        """Where nothing works at all, that is the phone's fault, and no block's."""
        path = unfinished("norm_act", "time_embedding")
        phone.faults.from_now_on("launch", "app_dies")
        with pytest.raises(PhoneGoneError, match=r"does not answer.*trust the developer.*7 of 9 blocks"):
            go_on(path)
        assert len(LatencyTable.load(path)) == 7


class TestHeat:
    @pytest.mark.slow
    def test_what_was_measured_hot_is_measured_again(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable], chains: Path,
        space_of_phone: SearchSpace, caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        path = unfinished("norm_act")
        hot = (0, lambda: phone.throttle(1.4))
        with meanwhile(phone, "prediction", 8, hot, (3, lambda: phone.throttle(1))):
            found = go_on(path, QUICK.model_copy(update={"cool_down_s": 1.0}))
        (row,) = [row for row in found.rows.values() if row.kind == "norm_act"]
        (block,) = [block for block in space_blocks(space_of_phone) if block.kind == "norm_act"]
        assert row.latency_ms == pytest.approx(true_ms(phone, chains, block)[0], rel=0.02)
        assert "slower than at its best; letting it cool down for 1 s" in caplog.text
        assert row.drift_percent is not None
        assert row.drift_percent < 10
        log = SampleLog(samples_path(path), found.metadata.identity_digest).read()
        assert sum(len(record.samples_ms.get(row.key, ())) for record in log) > 2 * row.samples  # the hot ones, too

    def test_that_does_not_pass_stands_in_the_row(
        self, unfinished: Callable[..., Path], phone: SimulatedPhone, go_on: Callable[..., LatencyTable]
    ) -> None:
        path = unfinished("norm_act")
        phone.throttle(1.5)
        found = go_on(path, QUICK.model_copy(update={"cool_down_s": 0.05, "cool_downs": 2, "max_pairs": 6}))
        (row,) = [row for row in found.rows.values() if row.kind == "norm_act"]
        assert row.stopped == "time"
        assert row.drift_percent == pytest.approx(50, abs=3)


class TestRefusals:
    def test_another_build_of_the_system(
        self, unfinished: Callable[..., Path], tmp_path: Path, go_on: Callable[..., LatencyTable]
    ) -> None:
        path = unfinished("norm_act")
        with (
            SimulatedPhone(tmp_path, build="22B91") as updated,
            pytest.raises(TableError, match=r"device is 'Test iPhone.*\(22B83\)', this run has '.*\(22B91\)'; choose"),
        ):
            go_on(path)
        assert not updated.calls("build")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--device", "My phone"], "iPhone 'My phone' is not connected (connected: 'Test iPhone'); plug it in"),
            (["--provisioning-profile", "x"], "--provisioning-profile needs --bundle-identifier"),
            (["--provisioning-profile", "x", "--development-team", "y"], "exclude each other"),
            (["--memory-budget-bytes", 10], "--memory-budget-bytes has no meaning on a phone"),
            (["--compute-unit", "gpu"], "compute_unit: expected 'all', 'cpu_and_ne'"),
            (["--pairs", 3], "options: pairs"),
            (["--runtime", "onnxruntime"], "runtime onnxruntime has no option 'compute_unit'"),
        ],
    )
    def test_of_options(
        self, arguments: list[object], message: str, phone: SimulatedPhone, shared: Path, tmp_path: Path
    ) -> None:
        code, _, err = nas(*command(shared, tmp_path / "new.csv", *arguments))
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
        assert not (tmp_path / "new.csv").exists()

    def test_an_app_that_cannot_be_signed(self, phone: SimulatedPhone, shared: Path, tmp_path: Path) -> None:
        phone.faults.next("build", "signing")
        code, _, err = nas(*command(shared, tmp_path / "new.csv"))
        assert (code, err.count("\n")) == (2, 1)
        assert 'Signing for "modelrunner" requires a development team' in err
        assert "--development-team" in err

    def test_developer_mode(self, phone: SimulatedPhone, shared: Path, tmp_path: Path) -> None:
        phone.set_developer_mode(False)
        code, _, err = nas(*command(shared, tmp_path / "new.csv"))
        assert (code, err.count("\n")) == (2, 1)
        assert "switch it on in Settings > Privacy & Security > Developer Mode" in err

    def test_another_runtime(self, space_of_phone: SearchSpace, tmp_path: Path) -> None:
        with pytest.raises(Exception, match="runtime torch does not measure on an iPhone"):
            profile_phone(space_of_phone, "Test iPhone", tmp_path / "t.csv", runtime=get_runtime("torch"))

    def test_no_mac(self, space_of_phone: SearchSpace, tmp_path: Path) -> None:
        with pytest.raises(
            RuntimeUnavailableError,
            match=r"iPhones are reached through a Mac with Xcode, this is linux; .*`nas latency estimate` estimates",
        ):
            profile_phone(space_of_phone, "Test iPhone", tmp_path / "t.csv")


class TestDevices:
    def test_of_a_machine_without_phones(self) -> None:
        code, out, _ = nas("devices", "--json")
        found = {each["kind"]: each for each in json.loads(out)["devices"]}
        assert code == 0
        assert found["processor"]["ready"]
        assert found["iphone"]["reason"] == "iPhones are reached through a Mac with Xcode, this is linux"

    def test_of_a_desk_with_phones(self, tmp_path: Path) -> None:
        with (
            SimulatedPhone(tmp_path, name="Ready") as ready,
            SimulatedPhone(tmp_path, name="Locked") as locked,
            SimulatedPhone(tmp_path, name="Closed") as closed,
            SimulatedPhone(tmp_path, name="Away") as away,
        ):
            ready.let_tunnel_sleep()
            locked.lock()
            closed.set_developer_mode(False)
            away.unplug()
            code, out, _ = nas("devices", "--json")
            found = {each["name"]: each for each in json.loads(out)["devices"] if each["kind"] == "iphone"}
            _, text, _ = nas("devices")
        assert code == 0
        assert found["Ready"]["ready"]
        assert found["Ready"]["phone"]["model"] == "iPhone17,2"
        assert found["Ready"]["phone"]["os_build"] == "22B83"
        reasons = {name: each["reason"] for name, each in found.items()}
        expected = {
            "Ready": None,
            "Locked": "is locked",
            "Closed": "is not in developer mode",
            "Away": "is not connected",
        }
        assert reasons == expected
        assert 'nas profile SPACE --runtime coreml --device "Ready" --table FILE' in text

    def test_of_a_phone_that_fails(self, phone: SimulatedPhone) -> None:
        phone.faults.next("list_devices", "error", message="CoreDevice is busy")
        code, out, _ = nas("devices")
        assert code == 0
        assert "devicectl list devices failed: CoreDevice is busy" in out


def test_the_reference_is_a_block_of_the_space(finished: Finished, space_of_phone: SearchSpace) -> None:
    assert LatencyTable.load(finished.table).metadata.reference == reference_block(space_of_phone).key


def test_options_have_the_defaults_of_the_library() -> None:
    options = inspect.signature(profile_verb).parameters
    for name in ("pairs", "max_pairs", "max_copies", "cool_down_s", "interval_percent", "drift_percent"):
        assert options[name].default == getattr(PhoneMeasurementSettings(), name)
    assert options["wait_s"].default == WaitSettings().lost_s
