"""A small text encoder that is trained with the model.

Shape suffixes: B captions, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nas.models.text.encoder import TextEncoder
from nas.models.text.words import PAD, token_numbers, words
from nas.space import Block


class LearnedTextEncoder(TextEncoder):
    """A small transformer over hashed words, trained with the model.

    Words, split by `nas.models.text.words`, are hashed (CRC-32) into a fixed number of buckets. So no vocabulary file
    has to match the weights, and any caption can be read.
    """

    trainable = True

    def __init__(self, tokens: int, width: int, layers: int, heads: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.vocabulary = tokens, vocabulary
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        for parameter in self.layers.parameters():  # torch copies one layer
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    @classmethod
    def from_block(cls, block: Block) -> LearnedTextEncoder:
        """Build from a plan's block."""
        return cls(**block.settings)  # type: ignore[arg-type]

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """Hashed words after a start token, padded with zeros."""
        numbers = [token_numbers(caption, self.tokens, self.vocabulary) for caption in captions]
        return torch.tensor(numbers, dtype=torch.int64)

    def length(self, caption: str) -> tuple[int, int]:
        """Words of the caption; the start takes one token."""
        count = len(words(caption))
        return count, min(count, self.tokens - 1)

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Contexts of tokens; those of padding are zeros, so that they do not dilute the words when pooled."""
        words_BL1 = (tokens_BL != PAD).unsqueeze(-1)
        return self.layers(self.embedding(tokens_BL) + self.positions) * words_BL1  # type: ignore[no-any-return]
