"""Codec and text encoder of a search space, built with their weights."""

from __future__ import annotations

import torch
from torch import nn

from nas.compression import compress_module
from nas.errors import ConfigError
from nas.models.autoencoders import AutoencoderCodec, decoder_of, load_autoencoder, without_encoder
from nas.models.codecs import Codec, IdentityCodec, SpaceToDepthCodec
from nas.models.text.clip import ClipTextEncoder
from nas.models.text.encoder import TextEncoder
from nas.models.text.learned import LearnedTextEncoder
from nas.models.text.transformers import TransformersTextEncoder
from nas.models.weights import folder_digest
from nas.space import SearchSpace


def make_codec(space: SearchSpace) -> Codec:
    """The codec of a search space, with its weights.

    Raises:
        CheckpointError: An autoencoder's folder cannot be used.
        ConfigError: An autoencoder has a layout and no weights.
    """
    return unloaded_codec(space).to(torch.device("cpu"))


def unloaded_codec(space: SearchSpace) -> Codec:
    """The codec of a search space; its weights are read when they are first needed."""
    codec = space.file.codec
    if codec.kind == "space_to_depth":
        return SpaceToDepthCodec(codec.factor)
    if codec.kind == "autoencoder":
        return AutoencoderCodec(codec, _weights(space, "codec", space.codec_folder))
    return IdentityCodec()


def compressed_codec(space: SearchSpace, kind: str) -> Codec:
    """The codec of a search space with compressed weights, see `nas.compression`; raises as `make_codec`."""
    codec = make_codec(space)
    compress_module(codec.decoder, kind)
    return codec


def make_decoder(space: SearchSpace) -> nn.Module:
    """The decoder of the codec, without the half that encodes; raises as `make_codec`."""
    codec = space.file.codec
    if codec.kind != "autoencoder":
        return make_codec(space).decoder
    folder = _weights(space, "codec", space.codec_folder)
    return decoder_of(without_encoder(load_autoencoder(codec, folder)), codec, folder)


def make_text_encoder(space: SearchSpace) -> TextEncoder:
    """The text encoder of a search space, freshly initialised or loaded.

    Raises:
        CheckpointError: The folder of its weights cannot be used.
        ConfigError: It has a layout and no weights, or transformers is not installed.
    """
    text = space.file.text
    if text.kind == "clip":
        return ClipTextEncoder.load(text, _weights(space, "text", space.text_folder))
    if text.kind == "transformers":
        return TransformersTextEncoder.load(text, _weights(space, "text", space.text_folder))
    return LearnedTextEncoder(text.tokens, text.width, text.layers, text.heads, text.vocabulary)


def _weights(space: SearchSpace, part: str, folder: str | None) -> str:
    if folder is None:
        hint = f"name the folder that holds them in {part}.path"
        raise ConfigError(f"{part} has a layout, and no weights", where=space.where, hint=hint)
    return folder


def text_identity(space: SearchSpace) -> str | None:
    """A text that decides the contexts of captions; `None` if the encoder is trained with the model.

    Raises:
        CheckpointError: The encoder's folder is missing.
        ConfigError: It has a layout and no weights.
    """
    text = space.file.text
    if text.kind == "learned":
        return None
    kind = "CLIP" if text.kind == "clip" else text.kind
    return f"{kind} {folder_digest(_weights(space, 'text', space.text_folder))} of {text.tokens} tokens"
