"""The plan: the one description of what a network contains and in which order it runs.

An architecture is lowered once, to a `Plan`. The torch modules, the keys of the latency table, parameters,
FLOPs, memory, export and drawings are all read off it. No other code walks the network.

A plan is in single-assignment form. Each `Node` names the values it reads (network inputs or earlier nodes), and its
own name is the value it writes, so skip connections need no special case. A node computes a `Block`, the unit of
profiling; nodes with the same kind, configuration and input shapes share one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

Scalar = int | float | str | bool | None | tuple[int, ...]
Shape = tuple[int, ...]

BYTES_PER_VALUE = 4

_PLAIN = re.compile(r"[A-Za-z/.][\w/.-]*", re.ASCII)
_RESERVED = frozenset({"yes", "no", "None", "inf", "nan"})


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type (`float32` or `int64`) of one tensor, at batch 1."""

    name: str
    shape: Shape
    dtype: str = "float32"

    def __str__(self) -> str:
        kind = "" if self.dtype == "float32" else f":{self.dtype}"
        return f"{self.name}:{_shape(self.shape)}{kind}"


@dataclass(frozen=True)
class Block:
    """The unit of profiling: a kind of computation, its configuration and the shapes it runs on.

    Args:
        kind: What it computes: a spatial kind (`resnet`, `downsample`, ...), or a temporal layer of the registry.
        config: Hyper-parameters as sorted pairs, enough to build the module together with the shapes.
        inputs: The tensors it reads, in the order of the module's arguments.
        output_shape: Shape of the tensor it writes.
    """

    kind: str
    config: tuple[tuple[str, Scalar], ...]
    inputs: tuple[TensorSpec, ...]
    output_shape: Shape

    @cached_property
    def key(self) -> str:
        """Stable, human-readable name: equal keys mean equal computation, hence equal latency."""
        settings = ",".join(f"{name}={_text(value)}" for name, value in self.config)
        shapes = f"{' '.join(map(str, self.inputs))} -> {_shape(self.output_shape)}"
        return f"{self.kind}({settings})[{shapes}]"

    @property
    def settings(self) -> dict[str, Scalar]:
        """The configuration as a dictionary; `integer`, `number`, `flag` and `text` read one value with its type."""
        return dict(self.config)

    def integer(self, name: str) -> int:
        """A whole number of the configuration."""
        value = self.settings[name]
        assert isinstance(value, int), f"{self.key}: {name} is no whole number"
        return value

    def number(self, name: str) -> float:
        """A number of the configuration."""
        value = self.settings[name]
        assert isinstance(value, int | float), f"{self.key}: {name} is no number"
        return value

    def flag(self, name: str) -> bool:
        """A yes or no of the configuration."""
        value = self.settings[name]
        assert isinstance(value, bool), f"{self.key}: {name} is neither yes nor no"
        return value

    def text(self, name: str) -> str:
        """A text of the configuration."""
        value = self.settings[name]
        assert isinstance(value, str), f"{self.key}: {name} is no text"
        return value


@dataclass(frozen=True)
class Node:
    """One placed block.

    Args:
        name: Dotted module path, equal to diffusers' for spatial blocks; also the value this node writes.
        block: What is computed.
        inputs: Names of the values read, matching `block.inputs` one to one.
        slot: The slot of the search space that this node fills, or `None`.
        in_backbone: Whether diffusers' `UNet2DConditionModel` of this backbone has this node.
    """

    name: str
    block: Block
    inputs: tuple[str, ...]
    slot: str | None = None
    in_backbone: bool = True


@dataclass(frozen=True)
class Plan:
    """An ordered, executable list of nodes.

    Args:
        inputs: The tensors the network is called with, by name.
        nodes: The nodes in execution order; each reads only inputs and earlier nodes.
        output: Name of the value returned.
    """

    inputs: tuple[TensorSpec, ...]
    nodes: tuple[Node, ...]
    output: str

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The distinct blocks, in order of first use."""
        return tuple(dict.fromkeys(node.block for node in self.nodes))

    @cached_property
    def schedule(self) -> tuple[tuple[Node, tuple[str, ...]], ...]:
        """Each node with the values that nobody reads after it, so that they can be freed."""
        last_use = {name: index for index, node in enumerate(self.nodes) for name in node.inputs}
        last_use.pop(self.output, None)
        freed: list[list[str]] = [[] for _ in self.nodes]
        for name, index in last_use.items():
            freed[index].append(name)
        return tuple((node, tuple(names)) for node, names in zip(self.nodes, freed, strict=True))

    def peak_activation_bytes(self) -> int:
        """Largest sum of values alive at once while the nodes run in order, at 4 bytes a value.

        Values inside a block are not counted: they belong to the runtime that executes it.
        """
        alive: dict[str, int] = {spec.name: math.prod(spec.shape) for spec in self.inputs}
        peak = 0
        for node, freed in self.schedule:
            alive[node.name] = math.prod(node.block.output_shape)
            peak = max(peak, sum(alive.values()))
            for name in freed:
                del alive[name]
        return peak * BYTES_PER_VALUE


@dataclass(frozen=True)
class PipelinePlan:
    """Everything that runs to make one clip: the text encoder once, the UNet once per step, the decoder once."""

    text_encoder: Plan
    unet: Plan
    decoder: Plan

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The distinct blocks of the three networks."""
        parts = (self.text_encoder, self.unet, self.decoder)
        return tuple(dict.fromkeys(block for plan in parts for block in plan.blocks))

    def calls(self, steps: int) -> Iterator[tuple[Plan, int]]:
        """Each network with the number of times it is called for one clip of `steps` denoising steps."""
        yield self.text_encoder, 1
        yield self.unet, steps
        yield self.decoder, 1


def make_block(kind: str, config: Mapping[str, Scalar], inputs: tuple[TensorSpec, ...], output_shape: Shape) -> Block:
    """Build a block with its configuration in canonical order."""
    return Block(kind, tuple(sorted(config.items())), inputs, output_shape)


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _text(value: Scalar) -> str:
    """One value of a key; different values of one type, and values of different types, read differently."""
    if isinstance(value, tuple):
        return f"({_shape(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in _RESERVED else json.dumps(value)
    return repr(value)
