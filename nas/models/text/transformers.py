"""Text encoders of transformers that know padding: like BERT, the encoder of T5, and others.

Shape suffixes: B captions, L tokens, D width.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import torch
from torch import nn

from nas.errors import CheckpointError, ConfigError
from nas.models.foreign import foreign_errors, import_transformers, load_foreign, load_tokenizer
from nas.models.text.frozen import FrozenTextEncoder
from nas.models.weight_files import TRANSFORMERS
from nas.space import Block
from nas.space.schema import TransformersText
from nas.space.text_layouts import text_folder, text_model, transformers_layout

_BESIDE_TEXT = r"pooler\.|cls\.|lm_head\.|(vocab|qa|mlm)_\w+\.|.*position_ids$"
"""Names of other weights in a checkpoint: of heads that the encoder was trained with."""


class TransformersContext(nn.Module):
    """A text model of transformers: its last hidden states are the context.

    Padding takes no part in attention, and its contexts are zeros, as those of `LearnedTextEncoder`.

    Args:
        model: A model that takes `input_ids` and `attention_mask`.
        pad: Number of the token that pads.
    """

    def __init__(self, model: Any, pad: int) -> None:
        super().__init__()
        self.model, self.pad = model, pad
        # It looks for padding in captions without a mask, and the meta device has no values to look at.
        self.model.warn_if_padding_and_no_attention_mask = _no_warning

    @classmethod
    def from_block(cls, block: Block) -> TransformersContext:
        """Build from a plan's block, freshly initialised.

        Raises:
            ConfigError: transformers is not installed, or cannot build the layout.
        """
        import_transformers("text.kind transformers")
        config, kind = text_model(json.loads(str(block.settings["layout"])), ConfigError, "text.layout")
        with foreign_errors(f"{kind.__name__} cannot be built", ConfigError, "text.layout"):
            return cls(kind(config, **_without_pooler(kind)).eval(), _pad(config, ConfigError, "text.layout"))

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Token numbers (B, L) to context (B, L, D)."""
        words_BL = tokens_BL != self.pad
        # transformers looks at the values of a mask, and the meta device, where costs are counted, has none.
        mask_BL = None if tokens_BL.is_meta else words_BL.long()
        context_BLD = self.model(input_ids=tokens_BL, attention_mask=mask_BL)[0]
        return context_BLD * words_BL.unsqueeze(-1)  # type: ignore[no-any-return]


class TransformersTextEncoder(FrozenTextEncoder):
    """A text encoder of transformers, frozen."""

    @classmethod
    def load(cls, text: TransformersText, folder: str) -> TransformersTextEncoder:
        """Load from a folder that transformers saved.

        It holds a tokenizer and a text model, in one folder or in `tokenizer/` and `text_encoder/`.

        Raises:
            ConfigError: transformers is not installed, or the folder's width differs from the space's.
            CheckpointError: The folder cannot be loaded, or holds another text encoder than the space says.
        """
        transformers = import_transformers("text.kind transformers")
        layout = transformers_layout(text.model_copy(update={"layout": None}), folder)
        if text.layout is not None and transformers_layout(text, None) != layout:
            raise CheckpointError("is another text encoder than the search space's text.layout says", where=folder)
        config, kind = text_model(json.loads(layout), CheckpointError, folder)
        place = text_folder(folder, "tokenizer")
        tokenizer = load_tokenizer(transformers.AutoTokenizer, place, "tokenizer of transformers")
        if not hasattr(tokenizer, "backend_tokenizer"):
            hint = "save it with its tokenizer.json"
            raise CheckpointError(f"{type(tokenizer).__name__} cannot be exported", where=place, hint=hint)
        pad = _pad(config, CheckpointError, folder)
        if tokenizer.pad_token_id != pad:
            what = f"its tokenizer pads with {tokenizer.pad_token_id}, and its text model expects {pad}"
            raise CheckpointError(what, where=folder, hint="take both from one checkpoint")
        place = text_folder(folder, "text_encoder")
        model = load_foreign(kind, place, TRANSFORMERS, spare=_BESIDE_TEXT, **_without_pooler(kind))
        return cls(tokenizer, TransformersContext(model.eval(), pad), text.tokens).check(config.vocab_size, folder)


def _no_warning(*_: object) -> None:
    """Nothing: a mask is left out where there are no values alone."""


def _without_pooler(kind: Any) -> dict[str, bool]:
    """The argument of a model's class that leaves out a layer over the first token, which is no part of the context."""
    name = "add_pooling_layer"
    return {name: False} if name in inspect.signature(kind.__init__).parameters else {}


def _pad(config: Any, error: type[CheckpointError] | type[ConfigError], where: str) -> int:
    pad = getattr(config, "pad_token_id", None)
    if not isinstance(pad, int):
        raise error("has no pad_token_id, so captions of different length cannot be encoded", where=where)
    return pad
