"""What goes wrong with a phone, and what coremltools' client makes of it. Each docstring says so in a sentence."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from coremltools.models.ml_program.experimental.remote_device import (
    Device,
    _AppBuilder,
    _DeviceCtlError,
    _RemoteMLModelService,
)

from tests.phone import client
from tests.phone.simulated_phone import SimulatedPhone

# The client's way to drop a loaded model, see `test_client_does_not_unload_what_it_drops`.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine.*was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
POLLS = 20


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def plugged(phone: SimulatedPhone) -> Iterator[SimulatedPhone]:
    with phone:
        yield phone


@asynccontextmanager
async def running(work: Path, package: Path) -> AsyncIterator[tuple[Device, _RemoteMLModelService]]:
    device = await client.prepared(work)
    yield device, await client.loaded(package, device)
    device.session.stop()


async def failing(call: Callable[[], Awaitable[Any]]) -> _DeviceCtlError:
    with pytest.raises(_DeviceCtlError) as caught:
        await call()
    return caught.value


class TestAnswers:
    def test_no_answer(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """`_DeviceCtlError` of the last of 20 polls: no such file. Its message is bytes. The next call works."""

        async def use() -> None:
            async with running(work, chains[1]) as (_, model):
                plugged.faults.next("prediction", "no_answer")
                before = len(plugged.calls("copy_from"))
                error = await failing(lambda: model.predict(client.inputs()))
                assert b"no such file" in error.message
                assert error.error_code == 1
                assert len(plugged.calls("copy_from")) - before == POLLS
                assert await model.predict(client.inputs())

        asyncio.run(use())

    def test_slow_answer(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """Within the 20 polls it is waited for; the duration stays that of the phone's clock."""

        async def use() -> None:
            async with running(work, chains[1]) as (_, model):
                plugged.faults.next("prediction", "slow", delay_s=0.3)
                await model.predict(client.inputs())
                duration_ms = model.last_predict_duration_in_nano_seconds / 1e6
                assert duration_ms == pytest.approx(plugged.true_latency_ms(chains[1]), rel=0.02)

        asyncio.run(use())

    def test_answer_after_the_last_poll(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """As no answer. A load of more than some 20 seconds fails so, and the phone keeps what it loaded then."""

        async def use() -> None:
            device = await client.prepared(work)
            plugged.faults.next("load", "slow", delay_s=60)
            error = await failing(lambda: client.loaded(chains[1], device))
            assert b"no such file" in error.message
            assert not plugged.calls("unload")

        asyncio.run(use())

    @pytest.mark.parametrize("kind", ["prediction", "compute_plan", "unload"])
    def test_error(self, kind: str, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """`_DeviceCtlError` at once, with the app's code and words."""

        async def use() -> None:
            async with running(work, chains[1]) as (_, model):
                plugged.faults.next(kind, "error", message="out of luck", code=-32001)
                call = {"compute_plan": model.retrieve_compute_plan, "unload": model.unload}
                error = await failing(call.get(kind, lambda: model.predict(client.inputs())))
                assert (error.error_code, error.message) == (-32001, "out of luck")

        asyncio.run(use())

    def test_error_of_models_with_an_operation(
        self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]
    ) -> None:
        """A model that the phone cannot load: `_DeviceCtlError` at once. Other models load."""

        async def use() -> None:
            device = await client.prepared(work)
            plugged.faults.from_now_on("load", "error", operation="scaled_dot_product_attention")
            await client.loaded(chains[1], device)
            plugged.faults.from_now_on("load", "error", operation="conv", message="conv is not supported")
            error = await failing(lambda: client.loaded(chains[2], device))
            assert error.message == "conv is not supported"

        asyncio.run(use())

    def test_malformed_answer(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """`JSONDecodeError`; it is not asked again, though half a file may be whole a moment later."""

        async def use() -> None:
            async with running(work, chains[1]) as (_, model):
                plugged.faults.next("prediction", "malformed")
                with pytest.raises(json.JSONDecodeError):
                    await model.predict(client.inputs())

        asyncio.run(use())

    def test_answer_without_a_duration(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """The benchmarker raises ValueError."""

        async def use() -> None:
            plugged.faults.on_call(2, "prediction", "no_duration")
            benchmarker = client.benchmarker(chains[1], await client.prepared(work))
            with pytest.raises(ValueError, match="timing information is unavailable"):
                await benchmarker.benchmark_predict(iterations=3)
            assert len(plugged.calls("prediction")) == 2

        asyncio.run(use())


class TestApp:
    def test_dies(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """As no answer, on every call from then on: the client never asks whether its app is alive."""

        async def use() -> None:
            async with running(work, chains[1]) as (device, model):
                plugged.faults.next("prediction", "app_dies")
                error = await failing(lambda: model.predict(client.inputs()))
                assert b"no such file" in error.message
                assert device.session.is_alive  # a method, which the client takes for a property
                assert not device.session.is_alive()
                _RemoteMLModelService._validate_device_state(device)  # so this lets a dead app pass

        asyncio.run(use())

    def test_runs_out_of_memory(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """With an answer, `_DeviceCtlError` at once; where the system kills the app, as an app that dies."""

        async def use() -> None:
            device = await client.prepared(work)
            plugged.faults.next("load", "out_of_memory")
            error = await failing(lambda: client.loaded(chains[1], device))
            assert "allocate" in error.message
            plugged.faults.next("load", "out_of_memory_kill")
            await failing(lambda: client.loaded(chains[2], device))
            assert not device.session.is_alive()

        asyncio.run(use())

    def test_is_launched_on_a_locked_phone(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """Preparing succeeds. The first load gets no answer; why stands on a pipe that the client never reads."""

        async def use() -> None:
            plugged.lock()
            device = await client.prepared(work)
            await failing(lambda: client.loaded(chains[1], device))
            assert not device.session.is_alive()
            assert b"could not be, unlocked" in device.session._process.stderr.read()

        asyncio.run(use())

    def test_is_suspended_when_the_phone_is_locked(
        self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]
    ) -> None:
        """As no answer; the app is alive, and after unlocking its model is still loaded."""

        async def use() -> None:
            async with running(work, chains[1]) as (device, model):
                plugged.lock()
                await failing(lambda: model.predict(client.inputs()))
                assert device.session.is_alive()
                plugged.unlock()
                assert await model.predict(client.inputs())

        asyncio.run(use())

    def test_cannot_be_signed(self, plugged: SimulatedPhone, work: Path) -> None:
        """`_AppBuilder.Error` with xcodebuild's status and the message None: what xcodebuild printed is lost."""
        plugged.faults.next("build", "signing")
        with pytest.raises(_AppBuilder.Error) as caught:
            asyncio.run(client.prepared(work))
        assert (caught.value.error_code, caught.value.message) == (65, None)
        assert asyncio.run(client.prepared(work))


class TestConnection:
    def test_is_lost_for_a_moment(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """Nothing is noticed: each copy is tried 20 times."""

        async def use() -> None:
            async with running(work, chains[1]) as (_, model):
                plugged.faults.next("copy_to", "lost_connection", times=3)
                plugged.faults.next("copy_from", "lost_connection", times=3)
                assert await model.predict(client.inputs())

        asyncio.run(use())

    def test_is_lost(self, plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
        """`_DeviceCtlError` after 20 attempts, with what devicectl says."""

        async def use() -> None:
            async with running(work, chains[1]) as (device, model):
                plugged.unplug()
                error = await failing(lambda: model.predict(client.inputs()))
                assert b"could not be established" in error.message
                assert client.connected() == []
                plugged.plug_in()
                assert len(client.connected()) == 1
                assert not device.session.is_alive()

        asyncio.run(use())

    def test_sleeps(self, plugged: SimulatedPhone) -> None:
        """The client sees no phone, though one is there, until some other command wakes the tunnel."""
        plugged.let_tunnel_sleep()
        assert client.connected() == []
        subprocess.run(["xcrun", "devicectl", "device", "info", "details", "-d", plugged.udid], check=True)
        assert len(client.connected()) == 1

    def test_needs_developer_mode(self, plugged: SimulatedPhone, work: Path) -> None:
        """`_DeviceCtlError` of the installation, after the build: the client knows the state and does not look."""
        plugged.set_developer_mode(False)
        assert client.connected()[0].developer_mode_state == "disabled"
        with pytest.raises(_DeviceCtlError, match="Developer Mode is disabled"):
            asyncio.run(client.prepared(work))
        assert len(plugged.calls("build")) == 1


def test_throttled_phone_is_slower(plugged: SimulatedPhone, work: Path, chains: dict[int, Path]) -> None:
    """Larger durations, nothing else: the client is not told of heat."""

    async def use() -> None:
        benchmarker = client.benchmarker(chains[1], await client.prepared(work))
        cool = (await benchmarker.benchmark_predict()).samples[0]
        plugged.throttle(1.5)
        hot = (await benchmarker.benchmark_predict()).samples[0]
        assert hot / cool == pytest.approx(1.5, rel=0.03)

    asyncio.run(use())


def test_a_fault_that_no_call_can_have_is_refused(plugged: SimulatedPhone) -> None:
    with pytest.raises(ValueError, match="no fault 'signing' for calls of kind 'load'"):
        plugged.faults.next("load", "signing")
