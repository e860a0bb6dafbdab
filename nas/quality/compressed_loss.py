"""What compressed weights cost a single model on held-out clips."""

from __future__ import annotations

from typing import NamedTuple, cast

from nas.compression import CompressedKind
from nas.data import CaptionedClips
from nas.models import SuperNet, VideoModel
from nas.models.parts import unloaded_codec
from nas.quality.flow_loss import HeldOutFlowLoss


class CompressedLoss(NamedTuple):
    """The same loss with two kinds of weights, on the same clips and noise.

    Args:
        metric: Name of the loss.
        clips: What it was measured on.
        loss: The loss with compressed weights.
        uncompressed_loss: The loss with the weights as they were trained.
    """

    metric: str
    clips: str
    loss: float
    uncompressed_loss: float


def compressed_loss(
    model: VideoModel, kind: CompressedKind, clips: CaptionedClips, *, batches: int = 16, seed: int = 0
) -> CompressedLoss:
    """The held-out flow loss of a model with compressed weights and without; the model stays as it is.

    Args:
        model: The model.
        kind: The kind of weights.
        clips: Held-out clips.
        batches: Batches of eight clips.
        seed: Seed of clips, noise and timesteps.

    Raises:
        CheckpointError: A weight is too large for fp16.
    """
    codec, shift = unloaded_codec(model.space), model.generation.shift
    # Of the supernet it only needs weights, which are those of one network here.
    held_out = HeldOutFlowLoss(
        cast(SuperNet, model.unet), model.text_encoder, codec, clips, seed=seed, batches=batches, shift=shift
    )
    twin = model.copy().compress(kind)
    losses = [float(held_out.loss_of(each.unet, each.text_encoder)) for each in (twin, model)]
    return CompressedLoss(held_out.name, held_out.detail, *losses)
