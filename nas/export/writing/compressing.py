"""The model with the weights that compressed files of it hold: what they are compared with, and what they cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from nas.compression import compressed_kind
from nas.errors import ConfigError
from nas.export.manifest import Compression, HeldOutLoss
from nas.export.reference import ReferenceClip
from nas.export.writing.converting import Convertible
from nas.export.writing.parts import ModelPart, model_parts
from nas.export.writing.programs import Programs
from nas.models import VideoModel
from nas.runtimes import Runtime, compare, to_arrays


def compressed_parts(
    model: VideoModel, clip: ReferenceClip, parts: Sequence[ModelPart], kind: str
) -> tuple[ModelPart, ...]:
    """The parts of a model with compressed weights.

    Args:
        model: The model, which stays as it is.
        clip: Its reference clip.
        parts: Its parts, whose inputs are also those of the compressed ones.
        kind: The kind of weights.

    Raises:
        CheckpointError: A weight is too large for fp16.
    """
    twin = model.copy().compress(kind)
    assert twin.codec is not None
    twins = model_parts(twin, dataclasses.replace(clip, decoder=twin.codec.decoder))
    return tuple(dataclasses.replace(own, inputs=part.inputs) for own, part in zip(twins, parts, strict=True))


def cost_of_compression(kind: str, networks: Sequence[Convertible], held_out: HeldOutLoss | None) -> Compression:
    """How far compressed parts are from those without, both in torch in fp32.

    Args:
        kind: The kind of weights.
        networks: The networks as they were trained, each with its twin of compressed weights.
        held_out: Losses on held-out clips, if they are known.
    """
    psnr_db = {network.own.part.name: _lowest_db(network.own, network.stored) for network in networks}
    return Compression(weights=kind, psnr_db=psnr_db, held_out=held_out)


def kind_of(runtimes: Mapping[str, Runtime]) -> str | None:
    """The kind of compressed weights that some of the runtimes write; `None` if none does.

    Raises:
        ConfigError: There are several kinds.
    """
    kinds = {compressed_kind(runtime.settings.weights) for runtime in runtimes.values()} - {None}
    if len(kinds) > 1:
        raise ConfigError(f"a bundle has one kind of compressed weights, got {', '.join(sorted(map(str, kinds)))}")
    return next(iter(kinds), None)


def _lowest_db(whole: Programs, twin: Programs) -> float | None:
    """The lowest PSNR of the outputs of all calls; `None` if they are equal."""
    name = whole.programs[-1].outputs[-1]
    pairs = zip(twin.values, whole.values, strict=True)
    lowest = min(compare(*to_arrays([ours[name], theirs[name]])).psnr_db for ours, theirs in pairs)
    return None if lowest == math.inf else lowest
