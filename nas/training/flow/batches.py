"""Batches of a step, decided by the step's number alone, so that a resumed run sees what it would have seen.

The processes of a run share a batch: process r of N has every N-th clip of it, from the r-th on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nas.data import LatentClips, Turns
from nas.files import derive_seed
from nas.models import TextEncoder
from nas.training.flow.rng import ClipSeeds, Draws


@dataclass(frozen=True)
class Batch:
    """What one process trains on in one step.

    Args:
        video_BTCHW: Latents of clips.
        video_tokens_BL: Their captions, as the text encoder's `tokenize` gives them: token numbers, or contexts
            (B, L, D) where a frozen encoder has read them beforehand.
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
        sources: Training clips, those of one size together; the size that the model makes is the first. A step reads
            one of them, the same in all processes, and so many more clips of a smaller size as have its pixels.
        text_encoder: Tokenises captions.
        batch_size: Clips of this process per step.
        image_batch_size: Frames of this process per step.
        caption_dropout: Share of captions replaced by the empty one.
        seed: Seed of the order, and of everything random about a clip.
        rank: Number of this process.
        world_size: Number of processes.
    """

    sources: Sequence[LatentClips]
    text_encoder: TextEncoder
    batch_size: int
    image_batch_size: int
    caption_dropout: float
    seed: int
    rank: int = 0
    world_size: int = 1

    def __call__(self, step: int) -> Batch:
        """The batch of a micro-step."""
        clips, indices, seeds = self._drawn("video", self.batch_size, step)
        framed, frame_indices, frame_seeds = self._drawn("image", self.image_batch_size, step)
        chosen_B = frame_seeds.draws("frame").below(framed.size.frames)
        return Batch(
            clips.videos(indices),
            self._tokens([clips.captions[index] for index in indices], seeds.draws("caption")),
            framed.images(frame_indices, chosen_B) if frame_indices else torch.zeros(0, 1, 3, 1, 1),
            self._tokens([framed.captions[index] for index in frame_indices], frame_seeds.draws("caption")),
            seeds,
            frame_seeds,
        )

    def _drawn(self, purpose: str, size: int, step: int) -> tuple[LatentClips, list[int], ClipSeeds]:
        """The set that a step reads, the clips of it that this process reads, and where their numbers come from."""
        if size == 0:
            return self.sources[0], [], ClipSeeds(0, ())
        turns = self._turns(purpose, size * self.world_size)
        number, turn = turns.at(derive_seed(self.seed, purpose, "turns"), step)
        # The first set draws as it would alone, so that a run of one size is what it was before there were several.
        which = [number] if number else []
        source, count = self.sources[number], turns.batch_sizes[number]
        seeds = ClipSeeds.of_share(
            derive_seed(self.seed, purpose, "random", *which), count // self.world_size, turn, self.rank,
            self.world_size,
        )  # fmt: skip
        indices = source.order.batch(count, derive_seed(self.seed, purpose, *which), turn)
        return source, indices[self.rank :: self.world_size], seeds

    def _turns(self, purpose: str, size: int) -> Turns:
        sizes = [source.size.image if purpose == "image" else source.size for source in self.sources]
        batch_sizes = tuple(size * each.times_in(sizes[0]) for each in sizes)
        return Turns(tuple(map(len, self.sources)), batch_sizes)

    def _tokens(self, captions: Sequence[str], draws: Draws) -> torch.Tensor:
        dropped = draws.uniform() < self.caption_dropout
        kept = ["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)]
        return self.text_encoder.tokenize(kept)
