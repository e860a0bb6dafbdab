"""What a search space holds, as plain data for a screen or a script."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nas.models.costs import extreme_architectures, network_cost, slot_parameters
from nas.space import Architecture, SearchSpace
from nas.space.lowering import stage_positions


def space_summary(space: SearchSpace) -> dict[str, Any]:
    """Stages, slots with their candidates, how many architectures there are, and what the extremes cost.

    Costs are of one call of the denoising network at batch 1: parameters and multiply-accumulates are counted, the
    activation memory is that of values alive between blocks in fp32. `smallest` and `largest` are the architectures
    with the fewest and the most parameters.
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
        "layers": {each.name: {"kind": each.kind, **each.config} for each in space.candidates.values()},
        "architectures": space.count(),
        "parameters": [smallest["parameters"], largest["parameters"]],
        "smallest": smallest,
        "largest": largest,
    }


def _costs(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    return {**architecture.to_dict(), **asdict(network_cost(space.lower(architecture)))}
