"""Torch modules: temporal layers, the network of one architecture, the supernet, codecs and text encoders."""

from nas.models.blocks import build_module, example_inputs
from nas.models.chain import Chain
from nas.models.codecs import Codec
from nas.models.costs import (
    NetworkCost,
    abstract_block,
    block_cost,
    extreme_architectures,
    network_cost,
    parameter_range,
)
from nas.models.network import PlanModule, VideoUNet, load_spatial
from nas.models.parts import make_codec, make_decoder, make_text_encoder, text_identity, unloaded_codec
from nas.models.pretrained import load_pretrained
from nas.models.summary import space_summary
from nas.models.supernet import SuperNet
from nas.models.temporal import TemporalLayer
from nas.models.text import StoredText, TextEncoder
from nas.models.video_model import Generation, VideoModel

__all__ = [
    "Chain",
    "Codec",
    "Generation",
    "NetworkCost",
    "PlanModule",
    "StoredText",
    "SuperNet",
    "TemporalLayer",
    "TextEncoder",
    "VideoModel",
    "VideoUNet",
    "abstract_block",
    "block_cost",
    "build_module",
    "example_inputs",
    "extreme_architectures",
    "load_pretrained",
    "load_spatial",
    "make_codec",
    "make_decoder",
    "make_text_encoder",
    "network_cost",
    "parameter_range",
    "space_summary",
    "text_identity",
    "unloaded_codec",
]
