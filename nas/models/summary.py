"""A summary of a search space, as plain data for a screen or a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nas.models.costs import extreme_architectures, network_cost, slot_parameters
from nas.space import Architecture, SearchSpace
from nas.space.lowering import stage_positions


def space_summary(space: SearchSpace, chosen: Sequence[Architecture] = ()) -> dict[str, Any]:
    """Stages, slots with their candidates, how many architectures there are, and what some of them cost.

    Costs are those of one call at batch 1. Activation memory is that of values alive between blocks, in fp32.
    `smallest` and `largest` are the architectures with the fewest and the most parameters.

    Args:
        space: The search space.
        chosen: Other architectures to count.

    Raises:
        ConfigError: The output of text encoder or codec has another shape than the space says, or a library is not
            installed.
    """
    parameters = slot_parameters(space)
    smallest, largest = (_costs(space, architecture) for architecture in extreme_architectures(space))
    return {
        "name": space.name,
        "description": space.file.description,
        "video": space.file.video.model_dump(mode="json"),
        "latent_shape": list(space.latent_shape),
        "context_shape": list(space.context_shape),
        "stages": [
            {"stage": stage, "positions": positions}
            for stage, positions in stage_positions(space.file.backbone).items()
        ],
        "slots": [{"slot": slot.id, "candidates": parameters[slot.id]} for slot in space.slots],
        "layers": {name: {"kind": layer.kind, **layer.config} for name, layer in space.candidates.items()},
        "architectures": space.count(),
        "parameters": [smallest["parameters"], largest["parameters"]],
        "smallest": smallest,
        "largest": largest,
        "chosen": [_costs(space, architecture) for architecture in chosen],
        "pipeline": _parts(space),
        "budgets": space.budgets.model_dump(),
    }


def _parts(space: SearchSpace) -> dict[str, Any]:
    """Costs of the text encoder and the decoder, which are called once per clip."""
    pipeline = space.lower_pipeline(space.smallest())
    plans = {"text_encoder": pipeline.text_encoder, "decoder": pipeline.decoder}
    return {name: asdict(network_cost(plan)) for name, plan in plans.items()}


def _costs(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    return {**architecture.to_dict(), **asdict(network_cost(space.lower(architecture)))}
