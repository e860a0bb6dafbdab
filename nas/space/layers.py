"""The registry of temporal layers: the names that may fill a slot.

A registered name appears in YAML, latency tables, search, export and documentation. A name is given as a string and
its class is imported when it is needed. So this package stays below `nas.models`, and the settings of the built-in
layers are known without loading torch.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from nas.registry import Registry
from nas.space.layer_settings import (
    Attention3DConfig,
    AttentionConfig,
    ConvolutionConfig,
    CrossAttention1DConfig,
    CrossAttention3DConfig,
    LayerConfig,
    TimeConvolutionConfig,
)

NONE = "none"
"""The candidate that leaves a slot empty."""

BUILTIN: dict[str, tuple[str, type[LayerConfig]]] = {
    "conv1d": ("nas.models.temporal.convolution:Conv1D", TimeConvolutionConfig),
    "separable_conv1d": ("nas.models.temporal.convolution:SeparableConv1D", TimeConvolutionConfig),
    "conv3d": ("nas.models.temporal.convolution:Conv3D", ConvolutionConfig),
    "self_attention_1d": ("nas.models.temporal.attention:SelfAttention1D", AttentionConfig),
    "self_attention_3d": ("nas.models.temporal.attention:SelfAttention3D", Attention3DConfig),
    "cross_attention_1d": ("nas.models.temporal.attention:CrossAttention1D", CrossAttention1DConfig),
    "cross_attention_3d": ("nas.models.temporal.attention:CrossAttention3D", CrossAttention3DConfig),
}
"""Class and settings of the layers of this project; the class has the same settings as its `Config`."""


class ConfiguredLayer(Protocol):
    """What a search space needs of a layer's class, which is a `nas.models.temporal.TemporalLayer`."""

    Config: ClassVar[type[LayerConfig]]


LAYERS: Registry[ConfiguredLayer] = Registry(
    "temporal layer",
    "nas.temporal_layers",
    "nas.models.temporal:TemporalLayer",
    {name: target for name, (target, _) in BUILTIN.items()},
)


def layer_kinds() -> tuple[str, ...]:
    """Names of all registered temporal layers, without `none`."""
    return LAYERS.names()


def layer_config(kind: str) -> type[LayerConfig]:
    """The settings of a layer, by its registered name; those of a built-in layer load no torch.

    Raises:
        ConfigError: As `Registry.get`.
    """
    LAYERS.check(kind)
    return BUILTIN[kind][1] if kind in BUILTIN else LAYERS.get(kind).Config
