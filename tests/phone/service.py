"""What the app answers: the four methods of `MLModelService`, in the formats that coremltools parses."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import NamedTuple

from tests.phone import latency
from tests.phone.desk import PhoneFolder, Record, read_json
from tests.phone.faults import Fault

PROGRAM = "program.json"  # the one file of a compiled model here
_ITEM_BYTES = {"Float16": 2, "Float32": 4, "Float64": 8, "Int32": 4}
_NANOSECONDS = 1_000_000


class RequestError(Exception):
    """The app answers with an error.

    Args:
        message: What it says.
        code: Number of the error, where the test has set one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):
    """An answer, and the file that comes with it."""

    result: Record
    data: bytes | None = None


class _Loaded:
    def __init__(self, program: Record, units: str, factor: float) -> None:
        self.program = program
        self.units = units
        self.factor = factor
        self.calls = 0


class ModelService:
    """Loads models and answers about them, for as long as the app lives.

    Args:
        phone: The phone, with the settings of its clock (`seed`, `noise`, `jitter_ms`, `load_spread`, ...).
    """

    def __init__(self, phone: PhoneFolder) -> None:
        self._phone = phone
        self._models: dict[str, _Loaded] = {}

    def operations(self, params: Record, resource: Path | None) -> frozenset[str]:
        """Types of the operations of the model that a request is about."""
        loaded = self._models.get(params["modelID"])
        if loaded is not None:
            program = loaded.program
        elif resource is not None and (resource / PROGRAM).exists():
            program = read_json(resource / PROGRAM)
        else:
            return frozenset()
        return frozenset(operation["type"] for operation in _operations(program, params.get("functionName")))

    def handle(self, method: str, params: Record, resource: Path | None, fault: Fault) -> Answer:
        """Answer a request.

        Raises:
            RequestError: The answer is an error.
        """
        if fault.name == "error":
            message = fault.options.get("message", f"{method} failed on the simulated phone")
            raise RequestError(message, fault.options.get("code"))
        if fault.name == "out_of_memory":
            raise RequestError("Failed to build the model execution plan: Cannot allocate memory")
        handlers = {
            "MLModelService.Load": self._load,
            "MLModelService.Prediction": self._predict,
            "MLModelService.ComputePlan": self._plan,
            "MLModelService.Unload": self._unload,
        }
        if method not in handlers:
            raise RequestError(f"Invalid resource: no method {method}")
        return handlers[method](params, resource, fault)

    def _load(self, params: Record, resource: Path | None, fault: Fault) -> Answer:
        identifier, units = params["modelID"], params["computeUnits"]
        if identifier in self._models:
            return Answer({"modelID": identifier, "duration": 0, "isCached": True})
        if units not in latency.UNITS:
            raise RequestError(f"Malformed request: Invalid compute unit '{units}'")
        if resource is None or resource.suffix != ".mlmodelc" or not resource.is_dir():
            raise RequestError("Invalid resource: Expected an mlmodelc directory")
        program = read_json(resource / PROGRAM)
        program["operations"] = _operations(program, params.get("functionName"))
        state = self._phone.read()
        factor = latency.noise(state["seed"], f"load {fault.call}", state["load_spread"])
        self._models[identifier] = _Loaded(program, units, factor)
        duration_ms = latency.load_ms(program) * latency.noise(state["seed"], f"loading {fault.call}", state["noise"])
        return Answer({"modelID": identifier, "duration": round(duration_ms * _NANOSECONDS), "isCached": False})

    def _predict(self, params: Record, resource: Path | None, fault: Fault) -> Answer:
        model = self._loaded(params)
        if resource is None:
            raise RequestError("Missing resource: The TensorDescriptor requires a data file, but none was provided.")
        _check_inputs(model.program, params["inputs"], resource.stat().st_size)
        name = f"{uuid.uuid4()}.bin"
        outputs, data = _zeros(model.program["outputs"])
        result = {"modelID": params["modelID"], "outputs": outputs, "resource": name}
        duration_ms = self._duration_ms(model, fault.call)
        if fault.name != "no_duration":
            result["duration"] = round(duration_ms * _NANOSECONDS)
        return Answer(result, data)

    def _duration_ms(self, model: _Loaded, call: int) -> float:
        state = self._phone.read()
        factor: float = model.factor * state["throttle"] * latency.noise(state["seed"], f"call {call}", state["noise"])
        if model.calls == 0:
            factor *= state["cold_factor"]
        model.calls += 1
        jitter_ms = latency.jitter_ms(state["seed"], f"jitter {call}", state["jitter_ms"])
        return latency.latency_ms(model.program["operations"], model.units) * factor + jitter_ms

    def _plan(self, params: Record, resource: Path | None, fault: Fault) -> Answer:
        model = self._loaded(params)
        operations = model.program["operations"]
        infos = []
        for operation, usage in zip(operations, latency.usages(operations, model.units), strict=True):
            # The app names an operation by its first output, even where it has several.
            components = [
                {"program": {}},
                {"programFunction": {"data": {"name": operation["function"]}}},
                {"programBlock": {"data": {"index": -1}}},
                {"programOperation": {"data": {"outputName": operation["outputs"][0]}}},
            ]
            infos.append(usage | {"path": {"components": components}})
        return Answer({"modelID": params["modelID"], "infos": infos})

    def _unload(self, params: Record, resource: Path | None, fault: Fault) -> Answer:
        self._loaded(params)
        del self._models[params["modelID"]]
        return Answer({"modelID": params["modelID"]})

    def _loaded(self, params: Record) -> _Loaded:
        identifier = params["modelID"]
        if identifier not in self._models:
            raise RequestError(f"Missing resource: The model with ID '{identifier}' is not currently loaded.")
        return self._models[identifier]


def _operations(program: Record, function: str | None) -> list[Record]:
    name = function or program["default_function"]
    return [operation for operation in program["operations"] if operation["function"] == name]


def _check_inputs(program: Record, inputs: Record, size: int) -> None:
    for item in program["inputs"]:
        given = inputs.get(item["name"])
        if given is None:
            raise RequestError(f"Feature {item['name']} is required but not specified.")
        if given["shape"] != item["shape"]:
            raise RequestError(f"MultiArray shape {given['shape']} does not match the shape {item['shape']}")
        if given["storage"]["offset"] + given["storage"]["size"] > size:
            raise RequestError("Invalid resource: The backing store for the model inputs is invalid or empty.")


def _zeros(outputs: list[Record]) -> tuple[Record, bytes]:
    """Describe all outputs and their bytes. Sizes add up over the outputs, as they do in Apple's app."""
    descriptors, offset = {}, 0
    for item in outputs:
        size = offset + math.prod(item["shape"]) * _ITEM_BYTES[item["type"]]
        strides = [math.prod(item["shape"][index + 1 :]) for index in range(len(item["shape"]))]
        descriptors[item["name"]] = {
            "shape": item["shape"],
            "strides": strides,
            "dataType": item["type"],
            "storage": {"offset": offset, "size": size},
        }
        offset = size
    return descriptors, bytes(offset)
