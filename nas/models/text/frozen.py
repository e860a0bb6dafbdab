"""What the text encoders of transformers have in common: a tokenizer, a frozen model, and a folder that holds both.

Shape suffixes: B captions, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from nas.errors import CheckpointError
from nas.models.foreign import foreign_errors
from nas.models.text.encoder import TextEncoder


class FrozenTextEncoder(TextEncoder):
    """A text model of transformers with its tokenizer. Needs the extra `clip`.

    Args:
        tokenizer: A tokenizer of transformers.
        context: From token numbers (B, L) to context (B, L, D).
        tokens: Length L that captions are padded or cut to.
    """

    trainable = False

    def __init__(self, tokenizer: Any, context: nn.Module, tokens: int) -> None:
        super().__init__()
        self.tokenizer, self.context, self.tokens = tokenizer, context, tokens
        self.requires_grad_(False)

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """Tokens of the tokenizer, with those that it adds to every caption."""
        if not captions:  # which the tokenizer does not take
            return torch.zeros(0, self.tokens, dtype=torch.int64)
        batch = self.tokenizer(
            list(captions), padding="max_length", padding_side="right", max_length=self.tokens, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        return torch.as_tensor(batch["input_ids"])

    def length(self, caption: str) -> tuple[int, int]:
        """Tokens of the caption; those that the tokenizer adds take a place each."""
        count = len(self.tokenizer(caption, add_special_tokens=False)["input_ids"])
        return count, min(count, self.tokens - self.tokenizer.num_special_tokens_to_add())

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """The last hidden states of the text model."""
        return self.context(tokens_BL)  # type: ignore[no-any-return]

    def check(self, known: int, folder: str | Path) -> Self:
        """This encoder, after a try whether its two halves fit.

        Args:
            known: Tokens that the text model knows.
            folder: Where they come from.

        Raises:
            CheckpointError: The tokenizer knows more tokens than the model, or leaves none for words; or an empty or a
                long caption cannot be encoded.
        """
        if (words := len(self.tokenizer)) > known:
            raise CheckpointError(
                f"its tokenizer knows {words} words, and its text model {known}",
                where=folder,
                hint="take both from one checkpoint",
            )
        if (added := self.tokenizer.num_special_tokens_to_add()) >= self.tokens:
            what = f"its tokenizer adds {added} tokens to a caption, so text.tokens {self.tokens} leave none for words"
            raise CheckpointError(what, where=folder, hint="raise text.tokens")
        # Some wrong settings fail only when they are used, and some models number fewer places than they say.
        longest_BL = torch.full((1, self.tokens), int(self.tokenizer.pad_token_id == 0))
        what = f"cannot encode captions of {self.tokens} tokens (text.tokens)"
        with foreign_errors(what, CheckpointError, folder), torch.no_grad():
            self.context(torch.cat([self.tokenize([""]), longest_BL]))
        return self
