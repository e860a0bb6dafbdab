"""What makes two runs parts of one study."""

from __future__ import annotations

from typing import Any

from nas.errors import ConfigError
from nas.files import fingerprint
from nas.search.config import SearchConfig
from nas.search.objective import Objective
from nas.search.probes import probes
from nas.search.samplers.choice import SamplerChoice


def identity(objective: Objective, config: SearchConfig, sampler: SamplerChoice) -> dict[str, Any]:
    """What must stay the same while a study goes on, in plain data.

    The latency model is recognised by its figures for a fixed sample of architectures, so that any model will do and a
    table measured anew is told from the old one; and by its `fingerprint`, where it has one.

    Raises:
        ConfigError: The latency model is made for another number of denoising steps than the search.
    """
    figures = [objective.latency.predict(probe) for probe in probes(objective.space)]
    steps = getattr(figures[0], "steps", config.steps)
    if steps != config.steps:
        raise ConfigError(f"search.steps is {config.steps}, but latencies are predicted for {steps} steps",
                          hint="build the latency model with the steps of the search")  # fmt: skip
    return {
        "space": objective.space.name,
        "space_content": objective.space.fingerprint,
        # A space with candidates removed has the fingerprint of the whole one: its weights mean the same.
        "set_of_candidates": {slot.id: list(slot.candidates) for slot in objective.space.slots},
        "latency_table": fingerprint(
            [getattr(objective.latency, "fingerprint", ""), [figure.pipeline_ms for figure in figures]]
        ),
        "quality_metric": objective.quality.name,
        "direction": objective.quality.direction,
        # A metric that depends on data or weights names them here, e.g. by the digest of a checkpoint.
        "quality_content": getattr(objective.quality, "fingerprint", ""),
        "steps": steps,
        "device": figures[0].device,
        # Where architectures differ in how they are executed, the model names all ways there are.
        "runtime": getattr(objective.latency, "runtime", figures[0].runtime),
        "budgets": config.budgets.model_dump(),
        "sampler": sampler.identity(),
    }
