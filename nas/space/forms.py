"""Forms: candidates that compute the same and differ only in how that is written for a device.

A convolution over time is the same arithmetic as a 2D and as a 3D convolution; which one is fast is the device's
affair. A layer's configuration names the fields that say no more than that, `LayerConfig.form_fields`. All forms of a
layer in a slot share one module, hence one set of weights, and a search needs only the fastest of them.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nas.space.layers import NONE, LayerConfig, layer_class, layer_kinds
from nas.space.plan import Block, Scalar, make_block

if TYPE_CHECKING:
    from nas.space.resolve import Candidate, Slot


def settings_of(config: LayerConfig) -> dict[str, Scalar]:
    """Hyper-parameters as candidates and blocks carry them: all but form fields and the depth at their default.

    So a layer that is given forms keeps the key of its block, and tables measured before stay valid.
    """
    values: dict[str, Scalar] = config.model_dump()
    defaults, left_out = type(config)().model_dump(), {*config.form_fields, "depth"}
    return {name: value for name, value in values.items() if name not in left_out or value != defaults[name]}


def same_function(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates compute the same function of the same weights: equal but for their form."""
    return first.kind == second.kind and _function(first) == _function(second)


def module_names(slots: Iterable[Slot], candidates: Mapping[str, Candidate]) -> dict[tuple[str, str], str]:
    """The name of each candidate's module, by slot identifier and candidate; `none` has none.

    Candidates of a slot that compute the same share one module, which is called after the first of them.
    """
    names: dict[tuple[str, str], str] = {}
    for slot in slots:
        layers = [candidates[name] for name in slot.candidates if name != NONE]
        for layer in layers:
            names[slot.id, layer.name] = next(one.name for one in layers if same_function(one, layer))
    return names


def forms_of(config: LayerConfig) -> tuple[LayerConfig, ...]:
    """The same hyper-parameters in every form, the default one first.

    Raises:
        TypeError: A form field does not exist, or is no `Literal`, so that its values are not known.
    """
    values = [_values(type(config), name) for name in config.form_fields]
    return tuple(
        config.model_copy(update=dict(zip(config.form_fields, form, strict=True)))
        for form in itertools.product(*values)
    )


def block_forms(block: Block) -> tuple[Block, ...]:
    """A temporal layer's block in every form, the default one first; any other block alone."""
    if block.kind not in layer_kinds():
        return (block,)
    forms = forms_of(layer_class(block.kind).Config(**block.settings))
    return tuple(make_block(block.kind, settings_of(form), block.inputs, block.output_shape) for form in forms)


def _function(candidate: Candidate) -> dict[str, Scalar]:
    """What decides what a candidate computes, beside its kind."""
    form_fields = layer_class(candidate.kind).Config.form_fields
    return {name: value for name, value in candidate.config.items() if name not in form_fields}


def _values(config: type[LayerConfig], name: str) -> list[Any]:
    """The values that a form field may have, its default first."""
    field = config.model_fields.get(name)
    if field is None or typing.get_origin(field.annotation) is not typing.Literal:
        raise TypeError(f"{config.__name__}.{name} is a form field, so it must be a field whose type is a Literal")
    return sorted(typing.get_args(field.annotation), key=lambda value: value != field.default)
