"""Batches of a step, decided by the step's number alone, so that a resumed run sees what it would have seen.

The processes of a run share a batch: process r of N has every N-th clip of it, from the r-th on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import torch

from nas.data import ClipDataset, batch_indices
from nas.data.pixels import to_pixels
from nas.files import derive_seed
from nas.models import Codec, TextEncoder
from nas.training.draws import ClipSeeds, Draws


class Movable(Protocol):
    """What a training step can be given: anything that moves to a device."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        ...


BatchT = TypeVar("BatchT", bound=Movable)


@dataclass(frozen=True)
class Batch:
    """What one process trains on in one step.

    Args:
        video_BTCHW: Latents of clips.
        video_tokens_BL: Their captions.
        image_BTCHW: Latents of single frames (T = 1) of other clips; may be empty.
        image_tokens_BL: Their captions.
        video_seeds: Where what is random about the clips comes from.
        image_seeds: The same for the frames.
    """

    video_BTCHW: torch.Tensor
    video_tokens_BL: torch.Tensor
    image_BTCHW: torch.Tensor
    image_tokens_BL: torch.Tensor
    video_seeds: ClipSeeds
    image_seeds: ClipSeeds

    def parts(self) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, ClipSeeds]]:
        """Name, latents, tokens and seeds of clips and of frames, where there are any."""
        yield "video", self.video_BTCHW, self.video_tokens_BL, self.video_seeds
        if len(self.image_BTCHW):
            yield "image", self.image_BTCHW, self.image_tokens_BL, self.image_seeds

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        tensors: dict[str, Any] = {
            name: each.to(device) for name, each in vars(self).items() if isinstance(each, torch.Tensor)
        }
        return dataclasses.replace(self, **tensors)


@dataclass(frozen=True)
class BatchSource:
    """Draws the batches of a run.

    Args:
        clips: Training clips.
        codec: Encodes them to latents.
        text_encoder: Tokenises captions.
        batch_size: Clips of this process per step.
        image_batch_size: Frames of this process per step.
        caption_dropout: Share of captions replaced by the empty one.
        seed: Seed of the order, and of everything random about a clip.
        rank: Number of this process.
        world_size: Number of processes.
    """

    clips: ClipDataset
    codec: Codec
    text_encoder: TextEncoder
    batch_size: int
    image_batch_size: int
    caption_dropout: float
    seed: int
    rank: int = 0
    world_size: int = 1

    def __call__(self, step: int) -> Batch:
        """The batch of a micro-step."""
        video_BTCHW, captions = self._clips("video", self.batch_size, step)
        frames, frame_captions = self._clips("image", self.image_batch_size, step)
        seeds = self._seeds("video", self.batch_size, step)
        frame_seeds = self._seeds("image", self.image_batch_size, step)
        chosen = frame_seeds.draws("frame").below(frames.shape[1])
        image_BTCHW = frames[torch.arange(len(frames)), chosen].unsqueeze(1)
        return Batch(
            self.codec.encode(video_BTCHW),
            self._tokens(captions, seeds.draws("caption")),
            self.codec.encode(image_BTCHW) if len(frames) else image_BTCHW,
            self._tokens(frame_captions, frame_seeds.draws("caption")),
            seeds,
            frame_seeds,
        )

    def _seeds(self, purpose: str, size: int, step: int) -> ClipSeeds:
        seed = derive_seed(self.seed, purpose, "random")
        return ClipSeeds.of_share(seed, size, step, self.rank, self.world_size)

    def _clips(self, purpose: str, size: int, step: int) -> tuple[torch.Tensor, tuple[str, ...]]:
        if size == 0:
            return torch.zeros(0, 1, 3, 1, 1), ()
        seed = derive_seed(self.seed, purpose)
        indices = batch_indices(len(self.clips), size * self.world_size, seed, step)[self.rank :: self.world_size]
        video_BTCHW, captions = self.clips.batch(indices)
        return to_pixels(video_BTCHW), captions

    def _tokens(self, captions: tuple[str, ...], draws: Draws) -> torch.Tensor:
        dropped = draws.uniform() < self.caption_dropout
        kept = ["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)]
        return self.text_encoder.tokenize(kept)
