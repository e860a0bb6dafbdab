"""What models are asked to show when their clips are judged, and real clips of the same.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from nas.data import CaptionedClips, ClipDataset, ClipShape, DataSplit, LatentClips, to_bytes
from nas.data.clips.buckets import BucketedClips
from nas.errors import DataError
from nas.files import derive_seed
from nas.models import Codec
from nas.models.video_model import batches
from nas.quality.clips.scoring import BATCH, real_clips

logger = logging.getLogger(__name__)


class ClipSource(ABC):
    """Prompts, and real clips to compare with.

    Args:
        prompts: What the clips of a model should show, one prompt for each clip.
        identity: Everything that decides prompts and real clips.
    """

    def __init__(self, prompts: Sequence[str], *identity: object) -> None:
        self.prompts, self.identity = tuple(prompts), identity

    @abstractmethod
    def real(self) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        """Real clips (B, T, C, H, W), uint8, of the prompts and in their order, in batches, with their captions."""

    @abstractmethod
    def other(self) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        """Other real clips, with their captions: what clips of a perfect model would be like."""


class DrawnClips(ClipSource):
    """Clips that are drawn for sentences of the moving-shapes grammar.

    Args:
        prompts: The sentences.
        shape: Of the clips.
        seed: Of the drawing.
    """

    def __init__(self, prompts: Sequence[str], shape: ClipShape, seed: int) -> None:
        super().__init__(prompts, shape.size_TCHW, tuple(prompts), seed)
        self.shape, self.seed = shape, seed

    def real(self) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        """All clips at once; raises `DataError` if a prompt is no moving-shapes sentence."""
        yield real_clips(self.prompts, self.shape, derive_seed(self.seed, "real")), self.prompts

    def other(self) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        """As `real`, drawn anew."""
        yield real_clips(self.prompts, self.shape, derive_seed(self.seed, "other")), self.prompts


class HeldOutClips(ClipSource):
    """Captions of held-out clips, and these clips. Other real clips are some that models were trained on.

    Of clips of several sizes, those of the model's own size are used. Clips that are stored as latents are decoded.

    Args:
        split: The clips.
        codec: Decodes stored latents.
        count: How many clips; fewer if fewer are held out, with a warning.
        seed: Decides which.

    Raises:
        DataError: Fewer than two clips of the model's size are held out.
    """

    def __init__(self, split: DataSplit, codec: Codec, count: int, seed: int = 0) -> None:
        self._codec, self._count, self._seed = codec, count, seed
        self._held_out, self._train = split.validation, split.train
        self._clips = _of_model_size(split.validation, codec)
        if len(self._clips) < 2:
            raise DataError(f"{len(self._clips)} clip of the model's size is held out, a metric of clips needs 2",
                            hint="add clips, or raise validation_fraction in a data file")  # fmt: skip
        if len(self._clips) < count:
            logger.warning("%d clips are held out, so each model makes %d, not %d", *[len(self._clips)] * 2, count)
        self._indices = _drawn(len(self._clips), count, seed)
        captions = [self._clips.captions[index] for index in self._indices]
        super().__init__(captions, split.validation.fingerprint, tuple(self._indices))

    def real(self) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        """The held-out clips that have the captions."""
        return self._read(self._clips, self._indices)

    def other(self) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        """As many clips of the training set; raises `DataError` if it has fewer."""
        clips = _of_model_size(self._train, self._codec)
        if len(clips) < len(self.prompts):
            raise DataError(f"{len(clips)} training clips cannot be compared with {len(self.prompts)} held-out ones",
                            hint=f"ask for at most {len(clips)} clips")  # fmt: skip
        return self._read(clips, _drawn(len(clips), len(self.prompts), self._seed))

    def _read(
        self, clips: ClipDataset | LatentClips, indices: Sequence[int]
    ) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
        for numbers in batches(len(indices), BATCH):
            some = [indices[number] for number in numbers]
            if isinstance(clips, ClipDataset):
                yield clips.batch(some)
            else:
                codec = self._codec.to(torch.device("cpu"))
                video_BTCHW = to_bytes(codec.decode(clips.videos(some)))
                yield video_BTCHW, tuple(clips.captions[index] for index in some)


def _of_model_size(clips: CaptionedClips, codec: Codec) -> ClipDataset | LatentClips:
    """The clips of the size that the model makes, as pixels if they are there."""
    if isinstance(clips, ClipDataset):
        return clips
    first = clips.latents(codec)[0]  # refuses clips of several sizes without that of the model
    return clips.parts[0] if isinstance(clips, BucketedClips) else first


def _drawn(available: int, count: int, seed: int) -> list[int]:
    """Numbers of clips, in order, so that files are read one after the other."""
    order = np.random.default_rng(derive_seed(seed, "judged")).permutation(available)
    return sorted(int(index) for index in order[:count])
