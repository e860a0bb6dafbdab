"""Short ways to use coremltools' client as its user would. Nothing in here knows of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools
import numpy as np
from coremltools.models import MLModel
from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker
from coremltools.models.ml_program.experimental.remote_device import Device, DeviceType, _RemoteMLModelService
from coremltools.models.utils import compile_model


def connected() -> list[Device]:
    """The phones that the client sees."""
    devices: list[Device] = Device.get_connected_devices(DeviceType.IPHONE)
    return devices


async def prepared(folder: Path) -> Device:
    """The first phone, with the app built, installed and launched."""
    folder.mkdir(exist_ok=True)
    device: Device = await connected()[0].prepare_for_model_debugging(working_directory=folder)
    return device


def benchmarker(package: Path, device: Device, unit: str = "ALL") -> MLModelBenchmarker:
    """What measures a package on a phone."""
    units = coremltools.ComputeUnit[unit]
    return MLModelBenchmarker(MLModel(str(package), compute_units=units, skip_model_load=True), device=device)


async def loaded(package: Path, device: Device) -> _RemoteMLModelService:
    """A package, loaded on a phone, below the benchmarker."""
    compiled = compile_model(str(package), str(device.session.working_directory / f"{package.stem}.mlmodelc"))
    units = coremltools.ComputeUnit.ALL
    return await _RemoteMLModelService.load_on_device(device, compiled, units)


def inputs() -> dict[str, Any]:
    """Inputs for the packages of the fixture `chains`."""
    return {"x": np.zeros((1, 8, 16, 16), np.float32)}
