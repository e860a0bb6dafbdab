"""A set of captioned clips, as training, search and distillation read it: latents and captions.

Shape suffixes: B clips, T frames, C channels, H height, W width of latents, L text tokens, D text width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from nas.data.clips.sampling import ReadingOrder


class LatentCodec(Protocol):
    """Encodes pixels to latents: the part of a codec that a set of clips uses."""

    @property
    def identity(self) -> str:
        """Everything that decides the latents, as text. Codecs with equal identities make equal latents."""
        ...

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Pixels (B, T, 3, H, W) in [-1, 1] to latents, frame by frame."""
        ...


class Contexts(Protocol):
    """Captions that a frozen text encoder has encoded in advance."""

    @property
    def identity(self) -> str:
        """Everything that decides the contexts, as text; as `LatentCodec.identity`."""
        ...

    def read(self, captions: Sequence[str]) -> torch.Tensor:
        """Contexts (B, L, D), float32. The empty caption can always be read.

        Raises:
            DataError: A caption was not encoded, or a stored context cannot be read.
        """
        ...


@dataclass(frozen=True)
class GridSize:
    """Frames, height and width of clips, in pixels or in latent pixels."""

    frames: int
    height: int
    width: int

    def times_in(self, other: GridSize) -> int:
        """How many clips of this size have as many pixels as one of another size; at least one."""
        return max(other.pixels // self.pixels, 1)

    @property
    def pixels(self) -> int:
        """Number of pixels in a clip."""
        return self.frames * self.height * self.width

    @property
    def text(self) -> str:
        """The size for people, e.g. `16x64x64`."""
        return f"{self.frames}x{self.height}x{self.width}"

    @property
    def image(self) -> GridSize:
        """The size of one frame."""
        return GridSize(1, self.height, self.width)


class LatentClips(ABC):
    """Captioned clips of one size, as latents.

    Args:
        names: The clips' names, in order.
        captions: The captions, in order.
        order: The order in which clips are read.
        size: Their size, in pixels or in latent pixels; all sets of a run use the same unit.
    """

    decoded_when_read = False
    """Whether reading a clip decodes a video or an image, which takes longer than reading what is stored."""

    def __init__(self, names: Sequence[str], captions: Sequence[str], order: ReadingOrder, size: GridSize) -> None:
        self.names = tuple(names)
        self.captions = tuple(captions)
        self.order = order
        self.size = size

    def __len__(self) -> int:
        return len(self.captions)

    @abstractmethod
    def videos(self, indices: Sequence[int]) -> torch.Tensor:
        """Latents `latent_BTCHW` of clips, float32.

        Raises:
            DataError: A clip cannot be read.
        """

    @abstractmethod
    def images(self, indices: Sequence[int], frame_B: torch.Tensor) -> torch.Tensor:
        """Latents `latent_BTCHW`, T = 1, of one frame of each clip; otherwise as `videos`.

        Args:
            indices: The clips.
            frame_B: The frame of each.
        """


class CaptionedClips(ABC):
    """A set of captioned clips, of one size or of several.

    Args:
        names: The clips' names, in order.
        captions: The clips' captions, in order.
        fingerprint: A digest of everything that decides clips, captions and order.
        contexts: The captions as encoded in advance; `None` if they are encoded during training.
    """

    def __init__(
        self, names: Sequence[str], captions: Sequence[str], fingerprint: str, contexts: Contexts | None = None
    ) -> None:
        self.names = tuple(names)
        self.captions = tuple(captions)
        self.fingerprint = fingerprint
        self.contexts = contexts

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def latents(self, codec: LatentCodec) -> tuple[LatentClips, ...]:
        """The clips as latents, grouped by size. The size that the model makes comes first.

        Args:
            codec: Encodes them, unless they were encoded in advance.

        Raises:
            DataError: There are no clips, or they were encoded with another codec.
        """
