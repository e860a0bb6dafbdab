"""Implementations: candidates that compute the same function and differ only in how it is written for a device.

A convolution over time is the same arithmetic as a 2D and as a 3D convolution; the device decides which one is fast.
`LayerConfig.implementation_fields` names the fields of a layer that choose an implementation. All implementations of a
layer in a slot share one module, hence one set of weights, and a search needs only the fastest.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from nas.space.layers import NONE, LayerConfig, layer_config, layer_kinds
from nas.space.plan import Block, Scalar, make_block
from nas.space.slots import Candidate, Slot


def settings_of(config: LayerConfig) -> dict[str, Scalar]:
    """Hyper-parameters as candidates and blocks carry them: without implementation fields and depth at their default.

    So the key of a block does not change when its layer gets another implementation, and old tables stay valid.
    """
    values: dict[str, Scalar] = config.model_dump()
    defaults, left_out = type(config)().model_dump(), {*config.implementation_fields, "depth"}
    return {name: value for name, value in values.items() if name not in left_out or value != defaults[name]}


def same_function(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates compute the same function of the same weights: only their implementation may differ."""
    return first.kind == second.kind and _function(first) == _function(second)


def module_names(slots: Iterable[Slot], candidates: Mapping[str, Candidate]) -> dict[tuple[str, str], str]:
    """The name of each candidate's module, by slot identifier and candidate; `none` has none.

    Candidates of a slot that compute the same share one module, which is named after the first of them.
    """
    names: dict[tuple[str, str], str] = {}
    for slot in slots:
        layers = [candidates[name] for name in slot.candidates if name != NONE]
        for layer in layers:
            names[slot.id, layer.name] = next(first.name for first in layers if same_function(first, layer))
    return names


def implementations_of(config: LayerConfig) -> tuple[LayerConfig, ...]:
    """The same hyper-parameters in every implementation, the default one first.

    Raises:
        TypeError: An implementation field does not exist, or its type is no `Literal`.
    """
    values = [_values(type(config), name) for name in config.implementation_fields]
    return tuple(
        config.model_copy(update=dict(zip(config.implementation_fields, combination, strict=True)))
        for combination in itertools.product(*values)
    )


def block_implementations(block: Block) -> tuple[Block, ...]:
    """A temporal layer's block in every implementation, the default one first; any other block alone."""
    if block.kind not in layer_kinds():
        return (block,)
    configs = implementations_of(layer_config(block.kind)(**block.settings))
    return tuple(make_block(block.kind, settings_of(config), block.inputs, block.output_shape) for config in configs)


def _function(candidate: Candidate) -> dict[str, Scalar]:
    """The hyper-parameters that change what a candidate computes."""
    implementation_fields = layer_config(candidate.kind).implementation_fields
    return {name: value for name, value in candidate.config.items() if name not in implementation_fields}


def _values(config: type[LayerConfig], name: str) -> list[Any]:
    """The values that an implementation field may have, its default first."""
    field = config.model_fields.get(name)
    if field is None or typing.get_origin(field.annotation) is not typing.Literal:
        raise TypeError(f"{config.__name__}.{name} is an implementation field, so its type must be a Literal")
    return sorted(typing.get_args(field.annotation), key=lambda value: value != field.default)
