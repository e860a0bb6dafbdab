"""Batches of a run. The number of a step decides its batch, so that a resumed run sees the batches it would have seen.

The processes of a run share a batch: process r of N has every N-th clip of it, from the r-th on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nas.data import LatentClips
from nas.data.clips.sampling import BucketSchedule
from nas.files import derive_seed
from nas.models import TextEncoder
from nas.training.flow.rng import BatchRNG, RNGKeys


@dataclass(frozen=True)
class Batch:
    """What one process trains on in one step.

    Args:
        video_BTCHW: Latents of clips.
        video_tokens_BL: Their captions, as the text encoder's `tokenize` returns them: token numbers, or contexts
            (B, L, D) if a frozen encoder has encoded them in advance.
        image_BTCHW: Latents of single frames (T = 1) of other clips; may be empty.
        image_tokens_BL: Their captions.
        video_keys: RNG keys of the clips.
        image_keys: RNG keys of the frames.
    """

    video_BTCHW: torch.Tensor
    video_tokens_BL: torch.Tensor
    image_BTCHW: torch.Tensor
    image_tokens_BL: torch.Tensor
    video_keys: RNGKeys
    image_keys: RNGKeys

    def parts(self) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, RNGKeys]]:
        """Name, latents, tokens and keys of the clips, and of the frames if there are any."""
        yield "video", self.video_BTCHW, self.video_tokens_BL, self.video_keys
        if len(self.image_BTCHW):
            yield "image", self.image_BTCHW, self.image_tokens_BL, self.image_keys

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))

    def pin_memory(self) -> Batch:
        """The batch in pinned memory, from which a graphics card copies while it computes."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        tensors: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return dataclasses.replace(self, **tensors)


@dataclass(frozen=True)
class BatchSource:
    """Makes the batches of a run.

    Args:
        sources: Training clips, one set for each size; the first has the size that the model makes. A step reads one
            set, the same in all processes. Of a smaller size it reads more clips, with about as many pixels in all.
        text_encoder: Tokenises captions.
        batch_size: Clips of this process per step.
        image_batch_size: Frames of this process per step.
        caption_dropout: Share of captions replaced by the empty one.
        seed: Seed of the order, and of the random numbers of clips.
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

    @property
    def decodes(self) -> bool:
        """Whether making a batch decodes videos or images."""
        return any(source.decoded_when_read for source in self.sources)

    def __call__(self, step: int) -> Batch:
        """The batch of a micro-step."""
        clips, indices, keys = self._drawn("video", self.batch_size, step)
        framed, frame_indices, frame_keys = self._drawn("image", self.image_batch_size, step)
        chosen_B = frame_keys.rng("frame").below(framed.size.frames)
        return Batch(
            clips.videos(indices),
            self._tokens([clips.captions[index] for index in indices], keys.rng("caption")),
            framed.images(frame_indices, chosen_B) if frame_indices else torch.zeros(0, 1, 3, 1, 1),
            self._tokens([framed.captions[index] for index in frame_indices], frame_keys.rng("caption")),
            keys,
            frame_keys,
        )

    def _drawn(self, purpose: str, size: int, step: int) -> tuple[LatentClips, list[int], RNGKeys]:
        """The set that a step reads, the clips of it that this process reads, and their RNG keys."""
        if size == 0:
            return self.sources[0], [], RNGKeys(0, ())
        schedule = self._schedule(purpose, size * self.world_size)
        number, reading = schedule.at(derive_seed(self.seed, purpose, "turns"), step)
        # The first set has the seeds of a run with one size only, so that old runs of one size resume.
        which = [number] if number else []
        source, count = self.sources[number], schedule.batch_sizes[number]
        keys = RNGKeys.of_process(
            derive_seed(self.seed, purpose, "random", *which), count // self.world_size, reading, self.rank,
            self.world_size,
        )  # fmt: skip
        indices = source.order.batch(count, derive_seed(self.seed, purpose, *which), reading)
        return source, indices[self.rank :: self.world_size], keys

    def _schedule(self, purpose: str, size: int) -> BucketSchedule:
        sizes = [source.size.image if purpose == "image" else source.size for source in self.sources]
        batch_sizes = tuple(size * grid.times_in(sizes[0]) for grid in sizes)
        return BucketSchedule(tuple(map(len, self.sources)), batch_sizes)

    def _tokens(self, captions: Sequence[str], rng: BatchRNG) -> torch.Tensor:
        dropped = rng.uniform() < self.caption_dropout
        kept = ["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)]
        return self.text_encoder.tokenize(kept)
