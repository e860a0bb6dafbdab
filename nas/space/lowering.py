"""Lowering: from a search space and an architecture to the plan of the network.

This is the only code that knows how a UNet is wired. The order, the module paths and the arguments of the
spatial blocks are those of diffusers' `UNet2DConditionModel`; a temporal layer comes after the resnet and
attention pair of its position, where AnimateDiff (arXiv 2307.04725) puts its motion modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nas.errors import ConfigError
from nas.space.backbone import Backbone
from nas.space.layers import layer_config
from nas.space.plan import Node, Plan, Scalar, Shape, TensorSpec, make_block
from nas.space.schema import SpaceFile

SAMPLE, TIMESTEP, CONTEXT = "sample", "timestep", "context"

LayerOf = Callable[[str, int], "Placement | None"]
"""The temporal layer at a stage's position, or `None`."""


@dataclass(frozen=True)
class Placement:
    """A temporal layer placed in a slot.

    Args:
        slot: Identifier of the slot, e.g. `down.0/1`.
        module: Name of its module in the slot: the first candidate that computes the same.
        kind: Its registered kind.
        config: Its hyper-parameters.
    """

    slot: str
    module: str
    kind: str
    config: Mapping[str, Scalar]


def stage_positions(backbone: Backbone) -> dict[str, int]:
    """The stages of a backbone in execution order, with the number of positions in each."""
    layers = backbone.per_level("layers_per_block")
    stages = {f"down.{level}": layers[level] for level in range(len(layers))}
    if backbone.mid_block_type is not None:
        stages["mid"] = 1
    stages |= {f"up.{index}": count + 1 for index, count in enumerate(reversed(layers))}
    return stages


def lower_unet(file: SpaceFile, latent: Shape, context: Shape, layer_of: LayerOf) -> Plan:
    """Write out the denoising network.

    Args:
        file: The search space; the plan returns a velocity, also if the backbone predicts clean data.
        latent: Shape (frames, channels, height, width) of the latent clip.
        context: Shape (tokens, width) of the text context.
        layer_of: The layer in each slot.

    Returns:
        A plan with inputs `sample` (1, T, C, H, W), `timestep` (1,) and `context` (1, L, D).

    Raises:
        ConfigError: The latent's height or width cannot be halved once per level.
    """
    backbone = file.backbone
    scale = 2 ** (len(backbone.block_out_channels) - 1)
    if latent[2] % scale or latent[3] % scale:
        raise ConfigError(
            f"latent of {latent[2]}x{latent[3]} cannot be halved {len(backbone.block_out_channels) - 1} times",
            hint=f"make its height and width multiples of {scale}",
        )
    wiring = _Wiring(backbone, latent, context, layer_of)
    wiring.head()
    if file.frame_embedding:
        wiring.frame_embedding()
    wiring.down()
    if backbone.mid_block_type is not None:
        wiring.mid()
    wiring.up()
    wiring.tail()
    if file.prediction == "data":
        wiring.data_to_velocity()
    return Plan(wiring.inputs, tuple(wiring.nodes), wiring.x)


@dataclass
class _Wiring:
    """State of one lowering: the nodes so far, the current value `x` and the stack of skips."""

    backbone: Backbone
    latent: Shape
    context: Shape
    layer_of: LayerOf
    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    skips: list[str] = field(default_factory=list)
    x: str = SAMPLE
    temb: str = "time_embedding"

    def __post_init__(self) -> None:
        self.inputs = (
            TensorSpec(SAMPLE, (1, *self.latent)),
            TensorSpec(TIMESTEP, (1,)),
            TensorSpec(CONTEXT, (1, *self.context)),
        )
        self.shapes |= {spec.name: spec.shape for spec in self.inputs}
        channels = self.backbone.block_out_channels
        self.levels = len(channels)
        self.temb_width = 4 * channels[0]

    def add(
        self,
        name: str,
        kind: str,
        reads: Mapping[str, str],
        shape: Shape,
        *,
        slot: str | None = None,
        in_backbone: bool = True,
        **config: Scalar,
    ) -> str:
        specs = tuple(TensorSpec(role, self.shapes[value]) for role, value in reads.items())
        block = make_block(kind, config, specs, shape)
        self.nodes.append(Node(name, block, tuple(reads.values()), slot, in_backbone))
        self.shapes[name] = shape
        return name

    def video_shape(self, channels: int, scale: float = 1) -> Shape:
        batch, frames, _, height, width = self.shapes[self.x]
        return (batch, frames, channels, int(height * scale), int(width * scale))

    def head(self) -> None:
        first = self.backbone.block_out_channels[0]
        self.add(
            self.temb, "time_embedding", {TIMESTEP: TIMESTEP}, (1, self.temb_width),
            channels=first, act_fn=self.backbone.act_fn,
            flip_sin_to_cos=self.backbone.flip_sin_to_cos, freq_shift=self.backbone.freq_shift,
        )  # fmt: skip
        if self.backbone.addition_embed_type == "text":
            self.temb = self.add(
                "add_embedding", "text_embedding", {"temb": self.temb, CONTEXT: CONTEXT}, (1, self.temb_width),
                heads=self.backbone.addition_embed_type_num_heads,
            )  # fmt: skip
        self.conv("conv_in", first)
        self.skips.append(self.x)

    def frame_embedding(self) -> None:
        shape = (1, self.latent[0], self.temb_width)
        reads = {"temb": self.temb, SAMPLE: SAMPLE}
        self.temb = self.add("frame_embedding", "frame_embedding", reads, shape, in_backbone=False)

    def conv(self, name: str, channels: int) -> None:
        self.x = self.add(name, "conv", {"x": self.x}, self.video_shape(channels))

    def down(self) -> None:
        for level, channels in enumerate(self.backbone.block_out_channels):
            path = f"down_blocks.{level}"
            attends = self.backbone.down_block_types[level] == "CrossAttnDownBlock2D"
            for position in range(self.backbone.per_level("layers_per_block")[level]):
                self.resnet(f"{path}.resnets.{position}", channels)
                if attends:
                    self.attention(f"{path}.attentions.{position}", level)
                self.temporal(path, f"down.{level}", position)
                self.skips.append(self.x)
            if level < self.levels - 1:
                shape = self.video_shape(channels, 0.5)
                padding = self.backbone.downsample_padding
                self.x = self.add(f"{path}.downsamplers.0", "downsample", {"x": self.x}, shape, padding=padding)
                self.skips.append(self.x)

    def mid(self) -> None:
        channels, scale = self.backbone.block_out_channels[-1], self.backbone.mid_block_scale_factor
        self.resnet("mid_block.resnets.0", channels, scale=scale)
        if self.backbone.mid_block_type == "UNetMidBlock2DCrossAttn":
            self.attention("mid_block.attentions.0", self.levels - 1)
            self.temporal("mid_block", "mid", 0)
            self.resnet("mid_block.resnets.1", channels, scale=scale)
        else:
            self.temporal("mid_block", "mid", 0)

    def up(self) -> None:
        for index in range(self.levels):
            level = self.levels - 1 - index
            channels, path = self.backbone.block_out_channels[level], f"up_blocks.{index}"
            attends = self.backbone.up_block_types[index] == "CrossAttnUpBlock2D"
            for position in range(self.backbone.per_level("layers_per_block")[level] + 1):
                self.resnet(f"{path}.resnets.{position}", channels, skip=self.skips.pop())
                if attends:
                    self.attention(f"{path}.attentions.{position}", level)
                self.temporal(path, f"up.{index}", position)
            if index < self.levels - 1:
                shape = self.video_shape(channels, 2)
                self.x = self.add(f"{path}.upsamplers.0", "upsample", {"x": self.x}, shape)

    def tail(self) -> None:
        shape = self.shapes[self.x]
        self.x = self.add(
            "conv_norm_out", "norm_act", {"x": self.x}, shape,
            groups=self.backbone.norm_num_groups, eps=self.backbone.norm_eps, act_fn=self.backbone.act_fn,
        )  # fmt: skip
        self.conv("conv_out", self.latent[1])

    def data_to_velocity(self) -> None:
        reads = {"x": self.x, SAMPLE: SAMPLE, TIMESTEP: TIMESTEP}
        self.x = self.add("to_velocity", "data_to_velocity", reads, self.shapes[self.x])

    def resnet(self, name: str, channels: int, *, skip: str | None = None, scale: float = 1.0) -> None:
        reads = {"x": self.x} | ({} if skip is None else {"skip": skip}) | {"temb": self.temb}
        backbone = self.backbone
        self.x = self.add(
            name, "resnet", reads, self.video_shape(channels),
            groups=backbone.norm_num_groups, eps=backbone.norm_eps, act_fn=backbone.act_fn,
            dropout=backbone.dropout, time_norm=backbone.resnet_time_scale_shift, scale=float(scale),
        )  # fmt: skip

    def attention(self, name: str, level: int) -> None:
        backbone = self.backbone
        self.x = self.add(
            name, "spatial_transformer", {"x": self.x, CONTEXT: CONTEXT}, self.shapes[self.x],
            heads=backbone.per_level("attention_head_dim")[level],
            layers=backbone.per_level("transformer_layers_per_block")[level],
            groups=backbone.norm_num_groups, linear_projection=backbone.use_linear_projection,
        )  # fmt: skip

    def temporal(self, path: str, stage: str, position: int) -> None:
        placement = self.layer_of(stage, position)
        if placement is None:
            return
        reads = {"x": self.x}
        if layer_config(placement.kind).uses_context:
            reads[CONTEXT] = CONTEXT
        name = f"{path}.temporal.{position}.{placement.module}"
        shape = self.shapes[self.x]
        self.x = self.add(
            name, placement.kind, reads, shape, slot=placement.slot, in_backbone=False, **placement.config
        )
