"""CLIP's text encoder.

Shape suffixes: B captions, L tokens, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nas.errors import CheckpointError, ConfigError
from nas.models.foreign import foreign_errors, import_transformers, load_foreign, load_tokenizer
from nas.models.text.frozen import FrozenTextEncoder
from nas.models.weight_files import TRANSFORMERS
from nas.space import Block
from nas.space.schema import ClipText
from nas.space.text_layouts import clip_layout, text_folder

_BESIDE_TEXT = r"vision_model\.|visual_projection\.|text_projection\.|logit_scale$|.*position_ids$"
"""Names of other weights in a checkpoint of the whole of CLIP, or of an older transformers."""


class ClipContext(nn.Module):
    """CLIP's text model of transformers: its last hidden states are the context.

    Padding takes part in its attention, as in Stable Diffusion.

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
        transformers = import_transformers("text.kind clip")
        with foreign_errors("CLIPTextModel cannot be built", ConfigError, "text.layout"):
            return cls(transformers.CLIPTextModel(transformers.CLIPTextConfig(**block.settings)).eval())

    def forward(self, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Token numbers (B, L) to context (B, L, D)."""
        return self.model(tokens_BL)[0]  # type: ignore[no-any-return]


class ClipTextEncoder(FrozenTextEncoder):
    """CLIP's text encoder, frozen."""

    @classmethod
    def load(cls, text: ClipText, folder: str) -> ClipTextEncoder:
        """Load from a folder that transformers saved.

        It holds a tokenizer and a text model, in one folder or in `tokenizer/` and `text_encoder/`, as in a Stable
        Diffusion checkpoint.

        Raises:
            ConfigError: transformers is not installed, or the folder's width differs from the space's.
            CheckpointError: The folder cannot be loaded, or holds another text encoder than the space says.
        """
        transformers = import_transformers("text.kind clip")
        layout = clip_layout(text.model_copy(update={"layout": None}), folder)
        if text.layout not in (None, layout):
            raise CheckpointError("is another text encoder than the search space's text.layout says", where=folder)
        place = text_folder(folder, "tokenizer")
        tokenizer = load_tokenizer(transformers.CLIPTokenizer, place, "tokenizer of CLIP")
        place = text_folder(folder, "text_encoder")
        model = load_foreign(transformers.CLIPTextModel, place, TRANSFORMERS, spare=_BESIDE_TEXT)
        return cls(tokenizer, ClipContext(model.eval()), text.tokens).check(layout.vocab_size, folder)
