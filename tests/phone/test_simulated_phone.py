"""coremltools' own client measures models on a phone that is not there."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from pathlib import Path

import numpy as np
import pytest
from coremltools.models.ml_program.experimental import remote_device
from coremltools.models.ml_program.experimental.remote_device import AppSigningCredentials

from tests.phone import client
from tests.phone.simulated_phone import SimulatedPhone

# The client's way to drop a loaded model, see below.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine.*was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_client_lists_what_is_plugged_in(tmp_path: Path) -> None:
    with (
        SimulatedPhone(tmp_path, name="First", os="18.1"),
        SimulatedPhone(tmp_path, name="Second", os="17.5") as second,
    ):
        devices = {device.name: device for device in client.connected()}
        assert {name: device.os_version for name, device in devices.items()} == {"First": "18.1", "Second": "17.5"}
        assert devices["Second"].identifier == second.identifier
        assert devices["Second"].udid == second.udid
        assert devices["Second"].os_build_number == "22B83"


def test_client_and_path_are_as_before_afterwards(phone: SimulatedPhone) -> None:
    with phone:
        assert client.connected()
    with pytest.raises(ValueError, match="'devicectl' command is required"):
        remote_device.Device.get_devices()


def test_predictions_take_what_the_phone_says(tmp_path: Path, phone: SimulatedPhone, chains: dict[int, Path]) -> None:
    async def measure() -> None:
        device = await client.prepared(tmp_path / "work")
        benchmarker = client.benchmarker(chains[2], device)
        assert (await benchmarker.benchmark_load()).samples[0] > 0
        samples = (await benchmarker.benchmark_predict(iterations=3, warmup=True)).samples
        assert len(samples) == 3
        assert np.median(samples) == pytest.approx(phone.true_latency_ms(chains[2]), rel=0.01)
        assert len(set(samples)) == 3  # noise

    with phone:
        asyncio.run(measure())
        assert len(phone.calls("MLModelService.Load")) == 1  # benchmark_load keeps the model for predictions
        assert len(phone.calls("MLModelService.Prediction")) == 4
        # Data and request go there, answer and data come back: four programs for one number.
        assert len(phone.calls("copy_to")) == 2 * 5
        assert len(phone.calls("copy_from")) >= 4 * 2 + 1


def test_each_block_of_a_chain_takes_the_same_time(phone: SimulatedPhone, chains: dict[int, Path]) -> None:
    one, two, four = (phone.true_latency_ms(chains[length], "CPU_AND_NE") for length in (1, 2, 4))
    assert (four - two) / 2 == pytest.approx(two - one)
    assert one - (two - one) > 0  # the fixed time of a call
    assert phone.true_latency_ms(chains[1], "CPU_ONLY") != one


def test_same_seed_gives_the_same_samples(tmp_path: Path, chains: dict[int, Path]) -> None:
    async def measure(folder: Path) -> list[float]:
        benchmarker = client.benchmarker(chains[1], await client.prepared(folder / "work"))
        samples: list[float] = (await benchmarker.benchmark_predict(iterations=2)).samples
        return samples

    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        with SimulatedPhone(tmp_path / name, seed=seed):
            found.append(asyncio.run(measure(tmp_path / name)))
    assert found[0] == found[1] != found[2]


def test_compute_plan_says_where_operations_run(tmp_path: Path, phone: SimulatedPhone, chains: dict[int, Path]) -> None:
    async def measure(unit: str) -> list[tuple[str, str, float]]:
        benchmarker = client.benchmarker(chains[2], device, unit)
        operations = await benchmarker.benchmark_operation_execution()
        total = (await benchmarker.benchmark_predict()).samples[0]
        return [
            (
                operation.spec.type,
                type(operation.compute_device_usage.preferred_compute_device).__name__,
                operation.measurement.samples[0] / total,
            )
            for operation in operations
        ]

    with phone, asyncio.Runner() as runner:
        device = runner.run(client.prepared(tmp_path / "work"))
        found = {unit: runner.run(measure(unit)) for unit in ("ALL", "CPU_ONLY")}
    assert {name for _, name, _ in found["ALL"]} == {"MLNeuralEngineComputeDevice"}
    assert {name for _, name, _ in found["CPU_ONLY"]} == {"MLCPUComputeDevice"}
    assert [kind for kind, _, _ in found["ALL"]].count("conv") == 2
    # Constants are not listed, the rest shares the whole.
    assert sum(share for _, _, share in found["ALL"]) == pytest.approx(1, rel=0.05)


def test_outputs_have_the_right_shape(tmp_path: Path, phone: SimulatedPhone, chains: dict[int, Path]) -> None:
    async def predict() -> None:
        model = await client.loaded(chains[1], await client.prepared(tmp_path / "work"))
        outputs = await model.predict(client.inputs())
        assert {name: (value.shape, value.dtype.name) for name, value in outputs.items()} == {
            "output": ((1, 8, 16, 16), "float16")
        }
        await model.unload()

    with phone:
        asyncio.run(predict())
        assert len(phone.calls("unload")) == 1


def test_client_does_not_unload_what_it_drops(tmp_path: Path, phone: SimulatedPhone, chains: dict[int, Path]) -> None:
    """Its `__del__` makes a coroutine that nothing awaits. Without `unload` the phone fills up."""

    async def drop() -> None:
        model = await client.loaded(chains[1], await client.prepared(tmp_path / "work"))
        assert model.load_duration_in_nano_seconds > 0
        del model
        gc.collect()
        await asyncio.sleep(0.3)

    with phone:
        asyncio.run(drop())
        assert phone.calls("load")
        assert not phone.calls("unload")


def test_a_loaded_model_belongs_to_one_event_loop(
    tmp_path: Path, phone: SimulatedPhone, chains: dict[int, Path]
) -> None:
    """The service keeps the loop that it was made in: one `asyncio.Runner` for a whole session, not many `run`."""

    async def load() -> remote_device._RemoteMLModelService:
        return await client.loaded(chains[1], await client.prepared(tmp_path / "work"))

    with phone:
        model = asyncio.run(load())
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            asyncio.run(model.predict(client.inputs()))
        model._state = model.State.Unloaded  # or its __del__ complains too


def test_app_is_built_once_for_a_phone(tmp_path: Path, phone: SimulatedPhone) -> None:
    """Also when it is to be signed otherwise: `clean=True` then, or another folder.

    The app goes where messages should, and the other way round: the client swaps the two folders.
    """

    async def prepare(bundle: str | None, clean: bool) -> str:
        credentials = AppSigningCredentials("TEAM", None, bundle)
        device = await client.connected()[0].prepare_for_model_debugging(credentials, folder, clean)
        assert device.session.working_directory == folder / "build"
        name: str = device.session.bundle_identifier
        return name

    folder = tmp_path / "work"
    folder.mkdir()
    with phone:
        assert asyncio.run(prepare(None, False)) == "com.coremltools.modelrunnerd"
        assert asyncio.run(prepare("org.example.other", False)) == "com.coremltools.modelrunnerd"
        assert len(phone.calls("build")) == 1
        assert asyncio.run(prepare("org.example.other", True)) == "org.example.other"
        assert len(phone.calls("build")) == 2
        assert list((folder / phone.udid).rglob("*.app"))


def test_models_are_gone_when_the_app_is_prepared_again(
    tmp_path: Path, phone: SimulatedPhone, chains: dict[int, Path]
) -> None:
    """Preparing replaces the running app. The client still takes the model for loaded."""

    async def prepare_twice() -> None:
        device = await client.prepared(tmp_path / "work")
        model = await client.loaded(chains[1], device)
        await client.prepared(tmp_path / "work")
        with pytest.raises(remote_device._DeviceCtlError, match="is not currently loaded"):
            await model.predict(client.inputs())
        assert not device.session.is_alive()

    with phone:
        asyncio.run(prepare_twice())


def test_programs_speak_for_themselves(phone: SimulatedPhone) -> None:
    """What a careful user asks devicectl beyond what coremltools does."""
    with phone:
        device = remote_device._DeviceCtl._run_command("xcrun devicectl list devices")["result"]["devices"][0]
        assert device["hardwareProperties"]["productType"] == "iPhone17,2"  # the client's `Device` leaves it out
        command = f"devicectl device info lockState --device {phone.udid}"
        assert remote_device._DeviceCtl._run_command(command)["result"]["passcodeRequired"] is False
        assert subprocess.run(["xcrun", "simctl"], capture_output=True, check=False).returncode == 72
