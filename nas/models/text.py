"""Text encoders: a small learned one, and CLIP from a local folder.

Shape suffixes: B captions, L tokens, D width.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from nas.errors import CheckpointError, ConfigError
from nas.models.foreign import foreign_errors, load_foreign
from nas.models.weight_files import TRANSFORMERS
from nas.models.words import PAD, token_numbers, words
from nas.space import Block
from nas.space.layouts import clip_folder, clip_layout
from nas.space.schema import ClipText

logger = logging.getLogger(__name__)

_BESIDE_TEXT = r"vision_model\.|visual_projection\.|text_projection\.|logit_scale$|.*position_ids$"
"""Names of other weights in a checkpoint of the whole of CLIP, or of an older transformers."""


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
                "%d of %d captions are longer than text.tokens allows: only their first %d words or parts of words are "
                "read", cut, len(captions), most,
            )  # fmt: skip
        if nothing:
            logger.warning("%d of %d captions hold nothing to read, and count as empty", nothing, len(captions))

    def without_weights(self) -> TextEncoder:
        """A copy that tokenises and cannot encode, small enough to be sent to another process."""
        copied = copy.copy(self)
        copied.__dict__ |= {"_parameters": {}, "_buffers": {}, "_modules": {}}
        return copied

    def encode(self, captions: Sequence[str]) -> torch.Tensor:
        """Captions to context (B, L, D), on the encoder's device."""
        device = next(self.parameters()).device
        return self(self.tokenize(captions).to(device))  # type: ignore[no-any-return]


class LearnedTextEncoder(TextEncoder):
    """A small transformer over hashed words, trained with the model.

    Words, split by `nas.models.words`, are hashed (CRC-32) into a fixed number of buckets. So no vocabulary file has to
    match the weights, and any caption can be read.
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


class ClipContext(nn.Module):
    """CLIP's text model of transformers: its last hidden states are the context.

    Args:
        model: A `CLIPTextModel`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @classmethod
    def from_block(cls, block: Block) -> ClipContext:
        """Build from a plan's block, freshly initialised.

        Raises:
            ConfigError: transformers is not installed, or cannot build the layout.
        """
        transformers = import_transformers()
        with foreign_errors("CLIPTextModel cannot be built", ConfigError, "text.layout"):
            return cls(transformers.CLIPTextModel(transformers.CLIPTextConfig(**block.settings)).eval())

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Token numbers (B, L) to context (B, L, D)."""
        return self.model(tokens_BL)[0]  # type: ignore[no-any-return]


class ClipTextEncoder(TextEncoder):
    """CLIP's text encoder, frozen. Needs the extra `clip`.

    Args:
        tokenizer: A `CLIPTokenizer`.
        context: The text model.
        tokens: Length that captions are padded or cut to.
    """

    trainable = False

    def __init__(self, tokenizer: Any, context: ClipContext, tokens: int) -> None:
        super().__init__()
        self.tokenizer, self.context, self.tokens = tokenizer, context, tokens
        self.requires_grad_(False)

    @classmethod
    def load(cls, text: ClipText, folder: str) -> ClipTextEncoder:
        """Load from a folder that transformers saved.

        It holds a tokenizer and a text model, in one folder or in `tokenizer/` and `text_encoder/`, as in a Stable
        Diffusion checkpoint.

        Raises:
            ConfigError: transformers is not installed, or the folder's width differs from the space's.
            CheckpointError: The folder cannot be loaded, or holds another text encoder than the space says.
        """
        transformers = import_transformers()
        layout = clip_layout(text.model_copy(update={"layout": None}), folder)
        if text.layout not in (None, layout):
            raise CheckpointError("is another text encoder than the search space's text.layout says", where=folder)
        place = clip_folder(folder, "tokenizer")
        with foreign_errors("holds no tokenizer of CLIP", CheckpointError, place):
            tokenizer = transformers.CLIPTokenizer.from_pretrained(place, local_files_only=True)
            words = len(tokenizer)
        if words > layout.vocab_size:
            raise CheckpointError(
                f"its tokenizer knows {words} words, and its text model {layout.vocab_size}",
                where=folder,
                hint="take both from one checkpoint",
            )
        place = clip_folder(folder, "text_encoder")
        model = load_foreign(transformers.CLIPTextModel, place, TRANSFORMERS, spare=_BESIDE_TEXT)
        encoder = cls(tokenizer, ClipContext(model.eval()), text.tokens)
        with foreign_errors("cannot encode a caption", CheckpointError, folder), torch.no_grad():
            encoder.context(encoder.tokenize([""]))  # some wrong settings fail only when they are used
        return encoder

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """Tokens of CLIP's tokenizer."""
        if not captions:  # which the tokenizer does not take
            return torch.zeros(0, self.tokens, dtype=torch.int64)
        batch = self.tokenizer(
            list(captions), padding="max_length", max_length=self.tokens, truncation=True, return_tensors="pt"
        )
        return torch.as_tensor(batch["input_ids"])

    def length(self, caption: str) -> tuple[int, int]:
        """Tokens of the caption; start and end take a token each."""
        count = len(self.tokenizer(caption, add_special_tokens=False)["input_ids"])
        return count, min(count, self.tokens - 2)

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """The last hidden states of the text model."""
        return self.context(tokens_BL)  # type: ignore[no-any-return]


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


def import_transformers(what: str = "text.kind clip") -> Any:
    """The library transformers.

    Args:
        what: What needs it, for the message.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        hint = 'install the extra: pip install "nas-video[clip]"'
        raise ConfigError(f"{what} needs transformers", hint=hint) from error
    return transformers
