"""The identity of a study: what must be equal in all of its runs."""

from __future__ import annotations

from typing import Any

from nas.errors import ConfigError
from nas.files import fingerprint
from nas.search.config import SearchConfig
from nas.search.objective import Objective
from nas.search.probes import probes


def identity(objective: Objective, config: SearchConfig) -> dict[str, Any]:
    """The identity of a study, as plain data. The sampler may be another one in each run.

    The latency model is recognised by its latencies for a fixed sample of architectures, and by its `fingerprint` if it
    has one. So any model works, and a table that is measured again is recognised as another one.

    Raises:
        ConfigError: The latency model predicts for another number of denoising steps than that of the search.
    """
    figures = [objective.latency.predict(probe) for probe in probes(objective.space)]
    steps = getattr(figures[0], "steps", config.steps)
    if steps != config.steps:
        raise ConfigError(f"search.steps is {config.steps}, but latencies are predicted for {steps} steps",
                          hint="build the latency model with the steps of the search")  # fmt: skip
    return {
        "space": objective.space.name,
        "space_content": objective.space.fingerprint,
        # A space with candidates removed has the fingerprint of the whole space, because it uses the same weights.
        "set_of_candidates": {slot.id: list(slot.candidates) for slot in objective.space.slots},
        "latency_table": fingerprint(
            [getattr(objective.latency, "fingerprint", ""), [figure.pipeline_ms for figure in figures]]
        ),
        "quality_metric": objective.quality.name,
        "direction": objective.quality.direction,
        # A metric that depends on data or weights includes their digest, e.g. that of a checkpoint.
        "quality_content": getattr(objective.quality, "fingerprint", ""),
        "steps": steps,
        "device": figures[0].device,
        # If architectures are executed in different ways, the model names all of them.
        "runtime": getattr(objective.latency, "runtime", figures[0].runtime),
        "budgets": config.budgets.model_dump(),
    }
