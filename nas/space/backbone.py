"""The spatial backbone of a search space: the fields of diffusers' `UNet2DConditionModel`."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from nas.files import StrictModel, UserPath

DownType = Literal["CrossAttnDownBlock2D", "DownBlock2D"]
MidType = Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"]
UpType = Literal["CrossAttnUpBlock2D", "UpBlock2D"]


class Backbone(StrictModel):
    """The spatial network: fields of diffusers' `UNet2DConditionModel`, under their own names.

    A field of that class that nas does not implement is accepted with diffusers' default value and refused with
    any other, so the `config.json` of a checkpoint can be pasted in. `attention_head_dim` is the number of
    heads, as it is in diffusers.

    Args:
        pretrained: Folder of a checkpoint that diffusers saved, absolute or relative to the search space's file.
    """

    in_channels: PositiveInt | None = None
    out_channels: PositiveInt | None = None
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    down_block_types: Annotated[tuple[DownType, ...], Field(min_length=1)]
    mid_block_type: MidType | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[UpType, ...]
    block_out_channels: tuple[PositiveInt, ...]
    layers_per_block: PositiveInt | tuple[PositiveInt, ...] = 2
    downsample_padding: Literal[0, 1] = 1
    mid_block_scale_factor: PositiveFloat = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = "silu"
    norm_num_groups: PositiveInt = 32
    norm_eps: PositiveFloat = 1e-5
    cross_attention_dim: PositiveInt = 1280
    transformer_layers_per_block: PositiveInt | tuple[PositiveInt, ...] = 1
    attention_head_dim: PositiveInt | tuple[PositiveInt, ...] = 8
    use_linear_projection: bool = False
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    addition_embed_type: Literal["text"] | None = None
    addition_embed_type_num_heads: PositiveInt = 64
    pretrained: UserPath | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_defaults_of_diffusers(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: item for name, item in value.items() if name in cls.model_fields or not _is_default(name, item)}

    @model_validator(mode="after")
    def _levels_agree(self) -> Backbone:
        levels = len(self.block_out_channels)
        for name in ("down_block_types", "up_block_types"):
            if len(getattr(self, name)) != levels:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries, block_out_channels has {levels}")
        for name in ("layers_per_block", "transformer_layers_per_block", "attention_head_dim"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != levels:
                raise ValueError(f"{name} has {len(value)} entries, block_out_channels has {levels}")
        return self

    @model_validator(mode="after")
    def _widths_divide(self) -> Backbone:
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise ValueError(f"{channels} channels are not divisible by norm_num_groups {self.norm_num_groups}")
        width, heads = self.cross_attention_dim, self.addition_embed_type_num_heads
        if self.addition_embed_type is not None and width % heads:
            raise ValueError(f"cross_attention_dim {width} is not divisible by addition_embed_type_num_heads {heads}")
        for level, heads in enumerate(self.per_level("attention_head_dim")):
            channels = self.block_out_channels[level]
            if self.attends(level) and channels % heads:
                raise ValueError(f"{channels} channels are not divisible by {heads} heads (attention_head_dim)")
        return self

    def attends(self, level: int) -> bool:
        """Whether a stage at this level reads the text; level 0 is the finest."""
        last = len(self.block_out_channels) - 1
        types = {self.down_block_types[level], self.up_block_types[last - level]}
        mid = level == last and self.mid_block_type == "UNetMidBlock2DCrossAttn"
        return mid or not types.isdisjoint({"CrossAttnDownBlock2D", "CrossAttnUpBlock2D"})

    def per_level(self, field: str) -> tuple[int, ...]:
        """A field that may be one number or one per level, as one per level."""
        value = getattr(self, field)
        return value if isinstance(value, tuple) else (value,) * len(self.block_out_channels)


def _is_default(name: str, value: Any) -> bool:
    """Whether `name` is a field of diffusers' UNet that nas does not implement, left at its default.

    Raises:
        ValueError: It is such a field, with another value.
    """
    if name in {"_class_name", "_diffusers_version", "_name_or_path", "sample_size"}:
        return True
    from diffusers import UNet2DConditionModel  # heavy, and needed only for unusual keys

    fields = inspect.signature(UNet2DConditionModel.__init__).parameters
    if name not in fields:
        return False
    default = fields[name].default
    unset = value is None and default is False  # diffusers saves a flag that was never set as null
    if default != value and not unset:
        raise ValueError(f"{name} {value!r} is not implemented, only diffusers' default {default!r}")
    return True
