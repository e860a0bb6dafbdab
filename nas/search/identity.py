"""The identity of a study: what must be equal in all of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.errors import ConfigError
from nas.files import fingerprint
from nas.search.config import SearchConfig
from nas.search.latencies.devices import SeveralDevices
from nas.search.objective import Objective
from nas.search.probes import probes
from nas.search.protocols import LatencyModel


def identity(objective: Objective, config: SearchConfig) -> dict[str, Any]:
    """The identity of a study, as plain data. The sampler may be another one in each run.

    The latency model is recognised by its latencies for a fixed sample of architectures, and by its `fingerprint` if it
    has one. So any model works, and a table that is measured again is recognised as another one.

    Raises:
        ConfigError: The latency model predicts for another number of denoising steps than that of the search.
    """
    models = {"": objective.latency} if objective.devices is None else objective.devices.models
    parts = {device: _model_identity(model, objective, config) for device, model in models.items()}
    one, weights = next(iter(parts.values())), getattr(objective.quality, "weights", None)
    return {
        "space": objective.space.name,
        "space_content": objective.space.fingerprint,
        # A space with candidates removed has the fingerprint of the whole space, because it uses the same weights.
        "set_of_candidates": {slot.id: list(slot.candidates) for slot in objective.space.slots},
        "latency_table": one["latency_table"],
        "quality_metric": objective.quality.name,
        "direction": objective.quality.direction,
        # A metric that depends on data or weights includes their digest, e.g. that of a checkpoint.
        "quality_content": getattr(objective.quality, "fingerprint", ""),
        "steps": one["steps"],
        "device": one["device"],
        "runtime": one["runtime"],
        "budgets": objective.budgets.model_dump(),
        # Memory budgets of earlier versions were limits on activations alone.
        **({"meaning_of_memory_bytes": "weights, tables and activations"} if objective.limits_programs else {}),
        # The key is left out without compression, as in studies of earlier versions.
        **({} if weights is None else {"weights": weights}),
        **({} if objective.devices is None else _of_several(parts, objective.devices)),
    }


def _model_identity(model: LatencyModel, objective: Objective, config: SearchConfig) -> dict[str, Any]:
    """What identifies a latency model, and what it tells of its device."""
    figures = [model.predict(probe) for probe in probes(objective.space)]
    steps = getattr(figures[0], "steps", config.steps)
    if steps != config.steps:
        raise ConfigError(f"search.steps is {config.steps}, but latencies are predicted for {steps} steps",
                          hint="build the latency model with the steps of the search")  # fmt: skip
    content = [getattr(model, "fingerprint", ""), [figure.pipeline_ms for figure in figures]]
    return {
        "latency_table": fingerprint(content),
        "steps": steps,
        "device": figures[0].device,
        # If architectures are executed in different ways, the model names all of them.
        "runtime": getattr(model, "runtime", figures[0].runtime),
    }


def _of_several(parts: Mapping[str, Mapping[str, Any]], devices: SeveralDevices) -> dict[str, Any]:
    """The keys that a study of several devices has more, or has otherwise."""
    return {
        "latency_table": fingerprint([[device, part["latency_table"]] for device, part in parts.items()]),
        "device": " and ".join(part["device"] for part in parts.values()),
        "runtime": "; ".join(dict.fromkeys(part["runtime"] for part in parts.values())),
        "devices": {name: {"device": part["device"], "runtime": part["runtime"]} for name, part in parts.items()},
        "second_objective": devices.second.which,
    }
