"""The registry of temporal layers: the names that may stand in a slot.

One class in `nas/models/temporal/` plus one line in `BUILTIN` makes a layer appear in YAML, latency tables,
search, export and documentation. A package outside this project registers its own through the entry-point
group `nas.temporal_layers`. Classes are resolved by name when first asked for, which keeps this package below
`nas.models` and lets a search space be described without loading what it does not use.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, cast

from pydantic import Field

from nas.errors import ConfigError
from nas.files import StrictModel

if TYPE_CHECKING:
    from torch import nn

NONE = "none"
"""The candidate that leaves a slot empty."""

BUILTIN: dict[str, str] = {
    "conv1d": "nas.models.temporal.convolution:Conv1D",
    "separable_conv1d": "nas.models.temporal.convolution:SeparableConv1D",
    "conv3d": "nas.models.temporal.convolution:Conv3D",
    "self_attention_1d": "nas.models.temporal.attention:SelfAttention1D",
    "self_attention_3d": "nas.models.temporal.attention:SelfAttention3D",
    "cross_attention_1d": "nas.models.temporal.attention:CrossAttention1D",
    "cross_attention_3d": "nas.models.temporal.attention:CrossAttention3D",
}

ENTRY_POINT_GROUP = "nas.temporal_layers"


class LayerConfig(StrictModel):
    """Base of a temporal layer's hyper-parameters; every field needs a default.

    Args:
        depth: How many of these layers stand one after another in the place.

    Attributes:
        implementation_fields: Names of the fields that choose an implementation for a device, and change neither what
            the layer computes nor its weights. Each is a `Literal`. See `nas.space.implementations`.
    """

    depth: Annotated[int, Field(ge=1, le=8)] = 1
    implementation_fields: ClassVar[tuple[str, ...]] = ()


class TemporalLayerClass(Protocol):
    """What the search space needs to know of a temporal layer; see `nas.models.temporal.TemporalLayer`."""

    Config: ClassVar[type[LayerConfig]]
    uses_context: ClassVar[bool]

    def __call__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None) -> nn.Module:
        """Build the layer."""

    @classmethod
    def check(cls, config: LayerConfig, channels: int) -> None:
        """Raise `ValueError` where the hyper-parameters cannot work at this width."""


def layer_kinds() -> tuple[str, ...]:
    """Names of all registered temporal layers, without `none`."""
    return tuple(BUILTIN) + tuple(point.name for point in entry_points(group=ENTRY_POINT_GROUP))


@cache
def layer_class(kind: str) -> TemporalLayerClass:
    """Resolve a layer's class by its registered name.

    Raises:
        ConfigError: Nothing is registered under that name; the message lists what is.
    """
    if kind in BUILTIN:
        module, _, name = BUILTIN[kind].partition(":")
        return cast(TemporalLayerClass, getattr(importlib.import_module(module), name))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == kind:
            return cast(TemporalLayerClass, point.load())
    raise ConfigError(f"unknown temporal layer {kind!r} (known: {', '.join(layer_kinds())})")
