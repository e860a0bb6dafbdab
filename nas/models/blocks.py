"""From a plan's block to its torch module and its example inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from nas.models.autoencoders import AutoencoderDecoder
from nas.models.codecs import IdentityDecoder, SpaceToDepthDecoder
from nas.models.frame_embedding import FrameEmbedding
from nas.models.parametrisation import DataToVelocity
from nas.models.spatial import (
    Conv,
    Downsample,
    NormAct,
    Resnet,
    SpatialTransformer,
    TextEmbedding,
    TimeEmbedding,
    Upsample,
)
from nas.models.temporal.base import LayerStack, layer_class
from nas.models.text.clip import ClipContext
from nas.models.text.learned import LearnedTextEncoder
from nas.models.text.transformers import TransformersContext
from nas.space import Block, Plan

_BUILDERS: dict[str, Callable[[Block], nn.Module]] = {
    "conv": Conv.from_block,
    "norm_act": NormAct.from_block,
    "time_embedding": TimeEmbedding.from_block,
    "resnet": Resnet.from_block,
    "spatial_transformer": SpatialTransformer.from_block,
    "downsample": Downsample.from_block,
    "upsample": Upsample.from_block,
    "text_embedding": TextEmbedding.from_block,
    "frame_embedding": FrameEmbedding.from_block,
    "data_to_velocity": DataToVelocity.from_block,
    "text_learned": LearnedTextEncoder.from_block,
    "text_clip": ClipContext.from_block,
    "text_transformers": TransformersContext.from_block,
    "decode_identity": IdentityDecoder.from_block,
    "decode_space_to_depth": SpaceToDepthDecoder.from_block,
    "decode_autoencoder": AutoencoderDecoder.from_block,
}


def build_module(block: Block) -> nn.Module:
    """Build the torch module of a block, freshly initialised.

    Raises:
        ConfigError: The kind is unknown, or needs a library that is not installed.
    """
    if block.kind in _BUILDERS:
        return _BUILDERS[block.kind](block)
    layer = layer_class(block.kind)
    context_width = block.inputs[1].shape[2] if layer.Config.uses_context else None
    config = layer.Config(**block.settings)
    layers = [layer(config, block.inputs[0].shape, context_width) for _ in range(config.depth)]
    return layers[0] if len(layers) == 1 else LayerStack(layers)


def example_inputs(of: Block | Plan, *, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random inputs of the shapes and types a block or a network expects, at batch 1, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randint(0, 16, spec.shape, generator=generator)
        if spec.dtype == "int64"
        else torch.randn(spec.shape, generator=generator)
        for spec in of.inputs
    )
