"""What each temporal layer costs a phone: parameters, and estimated milliseconds at three levels of a UNet.

    python benchmarks/layer_costs.py [--device "iPhone 16 Pro Max"] [--compute-unit cpu_and_ne] [--frames 16] [--json]

The levels are those of `search_spaces/snapgen_v.yaml`. A layer is estimated in its fastest form, unless its row names
one. No device is needed, and nothing is measured.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from nas.errors import NasError
from nas.latency.estimating.chips import get_phone
from nas.latency.estimating.estimator import Estimator, block_operations
from nas.latency.estimating.processor_rules import place
from nas.models import block_cost
from nas.space import Block, TensorSpec, layer_kinds
from nas.space.implementations import block_implementations, settings_of
from nas.space.layers import layer_config
from nas.space.plan import make_block

LEVELS = ((320, 64, 64), (640, 32, 32), (1280, 16, 16))
"""Channels, height and width."""

CONTEXT = (1, 77, 768)
MORE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("conv3d", {"form": "conv3d"}),
    ("pooled_attention_3d", {"pool": 4}),
    ("pooled_attention_3d", {"pool": 8}),
)
"""Rows beside one for each layer with its defaults."""


@dataclass(frozen=True)
class Cost:
    """What a layer costs at one level.

    Args:
        parameters: Number of parameters.
        latency_ms: Estimated latency of one call, in milliseconds.
        form: The implementation; empty for a layer that has one.
        processors: Where its operations run, by the rules of Core ML.
    """

    parameters: int
    latency_ms: float
    form: str
    processors: list[str]


def main(
    device: Annotated[str, typer.Option(help="A phone that `nas latency estimate` knows.")] = "iPhone 16 Pro Max",
    compute_unit: Annotated[str, typer.Option(help="Processors that Core ML may use.")] = "cpu_and_ne",
    frames: Annotated[int, typer.Option(min=1, help="Latent frames.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the costs of all layers."""
    try:
        estimator = Estimator(get_phone(device), compute_unit)
        costs = {label(kind, given): row(estimator, kind, given, frames) for kind, given in rows()}
    except NasError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    if as_json:
        written = {name: [vars(cost) for cost in levels] for name, levels in costs.items()}
        sys.stdout.write(json.dumps({"device": device, "provenance": "estimated", "layers": written}) + "\n")
        return
    sys.stdout.write(f"ESTIMATED for an {device}, {compute_unit}, {frames} frames; milliseconds per call\n\n")
    sys.stdout.write(table(costs))


def rows() -> list[tuple[str, dict[str, Any]]]:
    """Layers with their hyper-parameters, in the order of the registry."""
    kinds = layer_kinds()
    return sorted([*((kind, {}) for kind in kinds), *MORE], key=lambda layer: kinds.index(layer[0]))


def label(kind: str, given: dict[str, Any]) -> str:
    """The name of a row."""
    return ", ".join([f"`{kind}`", *(f"`{name}: {value}`" for name, value in given.items())])


def row(estimator: Estimator, kind: str, given: dict[str, Any], frames: int) -> list[Cost]:
    """What a layer costs at each level."""
    config = layer_config(kind)(**given)
    costs = []
    for level in LEVELS:
        shape = (1, frames, *level)
        inputs = (TensorSpec("x", shape), *([TensorSpec("context", CONTEXT)] if config.uses_context else []))
        block = make_block(kind, settings_of(config), inputs, shape)
        forms = (block,) if "form" in given else block_implementations(block)
        costs.append(min((cost(estimator, each) for each in forms), key=lambda each: each.latency_ms))
    return costs


def cost(estimator: Estimator, block: Block) -> Cost:
    """What a block costs."""
    form = getattr(layer_config(block.kind)(**block.settings), "form", "")
    processors = {place(operation.kind, estimator.unit) for operation in block_operations(block)}
    return Cost(block_cost(block).parameters, estimator.block_ms(block), form, sorted(processors))


def table(costs: dict[str, list[Cost]]) -> str:
    """The costs as a table in Markdown."""
    head = ["", f"parameters, {LEVELS[-1][0]:,} channels", *(f"{c:,} x {h} x {w}" for c, h, w in LEVELS), "runs on"]
    lines = [head, ["---", *["---:"] * (len(LEVELS) + 1), "---"]]
    for name, levels in costs.items():
        processors = sorted({processor.replace("_", " ") for level in levels for processor in level.processors})
        numbers = [f"{level.latency_ms:,.{0 if level.latency_ms >= 100 else 1}f}" for level in levels]
        lines.append([name, f"{levels[-1].parameters / 1e6:.1f} M", *numbers, ", ".join(processors)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    typer.run(main)
