"""Where the predicted time of one clip goes: text encoder, each block times the steps, decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.latency.prediction.predictor import LatencyPredictor
from nas.latency.tables.rows import LatencyRow
from nas.space import NONE, Block, Node

TEXT, DECODER, CALL = "text encoder", "decoder", "each call"
"""Groups of the parts that are no block of the denoising network."""

_GROUPS = {
    "resnet": "spatial convolution",
    "conv": "spatial convolution",
    "downsample": "spatial convolution",
    "upsample": "spatial convolution",
    "spatial_transformer": "spatial attention",
}
_PROCESSORS = {"neural_engine": "Neural Engine", "gpu": "GPU", "cpu": "CPU"}


@dataclass(frozen=True)
class Part:
    """A part of the pipeline.

    Args:
        name: What it is.
        group: Its kind: `temporal layer`, `spatial convolution`, `spatial attention`, `other block`, or one of the
            groups of this module.
        ms: Milliseconds of one call; with a fit, of blocks of the denoising network as the fit corrects them.
        calls: Calls for one clip.
        processor: What executes most of it, where the device tells; empty if that is unknown.
    """

    name: str
    group: str
    ms: float
    calls: int
    processor: str


@dataclass(frozen=True)
class Breakdown:
    """The parts of one clip of every architecture of a space.

    Args:
        device: The device.
        parts: What all architectures have, in the order of execution; a slot has the part `None`.
        slots: Places of the slots in `parts`, in the order of the slots.
        layers: For each slot, the part that each candidate puts there; `none` puts nothing.
    """

    device: str
    parts: tuple[Part | None, ...]
    slots: tuple[int, ...]
    layers: tuple[Mapping[str, Part], ...]


def breakdown(predictor: LatencyPredictor) -> Breakdown:
    """The parts of all architectures of the predictor's space; those of one add up to its `pipeline_ms`.

    Raises:
        TableError: A block is not in the table.
    """
    space, steps = predictor.space, predictor.steps
    fullest = [next((name for name in slot.candidates if name != NONE), NONE) for slot in space.slots]
    pipeline = space.lower_pipeline(space.architecture(fullest))
    places = {slot.id: column for column, slot in enumerate(space.slots)}
    parts: list[Part | None] = [_single(predictor, node, TEXT) for node in pipeline.text_encoder.nodes]
    slots = [-1] * len(places)
    fixed_ms = predictor.fixed_call_ms
    if fixed_ms:
        parts.append(Part("fixed time of a call", CALL, fixed_ms, steps, ""))
    for node in pipeline.unet.nodes:
        if node.slot is None:
            parts.append(
                _unet_part(predictor, node.block, _label(node.name), _GROUPS.get(node.block.kind, "other block"))
            )
        else:
            slots[places[node.slot]] = len(parts)
            parts.append(None)
    parts += [_single(predictor, node, DECODER) for node in pipeline.decoder.nodes]
    return Breakdown(predictor.table.metadata.device_text, tuple(parts), tuple(slots), _layers(predictor))


def _layers(predictor: LatencyPredictor) -> tuple[Mapping[str, Part], ...]:
    """The parts of each slot's candidates, in the order of the slots."""
    found: dict[str, dict[str, Part]] = {slot.id: {} for slot in predictor.space.slots}
    for (slot, name), block in predictor.space.placed_blocks().items():
        found[slot][name] = _unet_part(predictor, block, f"{slot} {name}", "temporal layer")
    return tuple(found.values())


def _unet_part(predictor: LatencyPredictor, block: Block, name: str, group: str) -> Part:
    latency_ms = predictor.scale * predictor.table.latency_ms(block)
    return Part(name, group, latency_ms, predictor.steps, _processor(predictor.table.row(block)))


def _single(predictor: LatencyPredictor, node: Node, group: str) -> Part:
    """The text encoder or the decoder, which are called once."""
    latency_ms = predictor.table.latency_ms(node.block) + (predictor.table.metadata.call_overhead_ms or 0.0)
    return Part(group, group, latency_ms, 1, _processor(predictor.table.row(node.block)))


def _label(node: str) -> str:
    """A node's module path, shorter, as in `down.0 resnet 1`."""
    stage, _, rest = node.replace("_blocks.", ".").replace("_block.", " ").partition(".")
    number, _, inner = rest.partition(".")
    text = f"{stage}.{number} {inner}" if stage in {"down", "up"} else node.replace("mid_block.", "mid ")
    return (
        text.replace("resnets.", "resnet ")
        .replace("attentions.", "attention ")
        .replace("samplers.0", "sample")
        .replace("_", " ")
    )


def _processor(row: LatencyRow) -> str:
    """The processor with the largest share of a block's estimated cost, or of its operations."""
    for what in ("cost", "ops"):
        shares = {name: getattr(row, f"{what}_on_{key}") or 0.0 for key, name in _PROCESSORS.items()}
        if any(shares.values()):
            return max(shares, key=shares.__getitem__)
    return ""
