"""What a text encoder is, and one whose contexts were stored in advance.

Shape suffixes: B captions, L tokens, D width.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

import torch
from torch import nn

logger = logging.getLogger(__name__)


class TextEncoder(nn.Module, ABC):
    """Turns captions into the context that cross-attention reads.

    The empty caption means "no caption" in classifier-free guidance.
    """

    trainable: bool

    @abstractmethod
    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """Captions to token numbers (B, L), int64, padded or cut to L."""

    @abstractmethod
    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Token numbers (B, L) to context (B, L, D)."""

    def length(self, caption: str) -> tuple[int, int]:
        """Number of words or tokens of a caption, and how many of them are read."""
        return 1, 1

    def reads_all(self, caption: str) -> bool:
        """Whether no word or token of a caption is cut off."""
        count, read = self.length(caption)
        return count == read

    def warn_of_losses(self, captions: Collection[str]) -> None:
        """Warn once, with their number, of captions that are cut, or of which nothing is read.

        Args:
            captions: All captions that will be used, or a large sample; the empty one is never counted.
        """
        lengths = [self.length(caption) for caption in captions if caption.strip()]
        cut, most = sum(count > read for count, read in lengths), max((read for _, read in lengths), default=0)
        nothing = sum(count == 0 for count, _ in lengths)
        if cut:
            logger.warning(
                "text.tokens is too small for %d of %d captions: only the first %d words or parts of words are read",
                cut, len(captions), most,
            )  # fmt: skip
        if nothing:
            logger.warning("nothing can be read of %d of %d captions: they count as empty", nothing, len(captions))

    def without_weights(self) -> TextEncoder:
        """A copy that tokenises and cannot encode, small enough to be sent to another process."""
        copied = copy.copy(self)
        copied.__dict__ |= {"_parameters": {}, "_buffers": {}, "_modules": {}}
        return copied

    def encode(self, captions: Sequence[str]) -> torch.Tensor:
        """Captions to context (B, L, D), on the encoder's device."""
        device = next(self.parameters()).device
        return self(self.tokenize(captions).to(device))  # type: ignore[no-any-return]


class ReadCaptions(Protocol):
    """Captions that a frozen encoder has encoded in advance."""

    def read(self, captions: Sequence[str]) -> torch.Tensor:
        """Contexts (B, L, D) of captions, the empty one among those that can be read."""
        ...


class StoredText(TextEncoder):
    """Replaces a frozen encoder that has encoded all captions in advance: nothing is left to compute.

    Its tokens are the contexts themselves.

    Args:
        contexts: The encoder's contexts; other captions cannot be read.
    """

    trainable = False

    def __init__(self, contexts: ReadCaptions) -> None:
        super().__init__()
        self.contexts = contexts
        # Follows the module to its device, on which contexts are wanted.
        self.register_buffer("anchor", torch.zeros(0), persistent=False)
        self.anchor: torch.Tensor

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """Contexts (B, L, D) of captions, float32."""
        return self.contexts.read(captions)

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """The contexts that `tokenize` has read."""
        return tokens_BL

    def encode(self, captions: Sequence[str]) -> torch.Tensor:
        """The stored contexts of captions."""
        return self.tokenize(captions).to(self.anchor.device)
