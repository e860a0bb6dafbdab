"""A search space with a small random autoencoder and a small random CLIP, as diffusers and transformers save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import AutoencoderKL

from tests.tiny import TINY


def frozen_space(root: Path) -> Path:
    """The file of a space like `TINY`, with `root/vae` as its codec and `root/clip` as its text encoder."""
    save_autoencoder(root / "vae")
    save_clip(root)
    changes: dict[str, Any] = {
        "codec": {"kind": "autoencoder", "path": "vae", "latent_channels": 4, "spatial_factor": 2},
        "text": {"kind": "clip", "path": "clip", "tokens": 8, "width": 16},
        "prediction": "velocity",
    }
    path = root / "frozen.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


def save_autoencoder(folder: Path, **changes: Any) -> AutoencoderKL:
    """A small random `AutoencoderKL`, saved."""
    torch.manual_seed(0)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.5,
        **changes,
    ).eval()
    model.save_pretrained(folder)
    return model


def save_clip(root: Path) -> None:
    """A small random CLIP text model with its tokenizer, saved to `root/clip`."""
    transformers = pytest.importorskip("transformers")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (root / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(root / "vocab.json"), str(root / "merges.txt"))
    tokenizer.save_pretrained(root / "clip" / "tokenizer")
    config = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1,
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(root / "clip" / "text_encoder")


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "green", "ball", "box", "moves", "left", "right")

SENTENCE_ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    "roberta": {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "pad_token_id": 0
    },
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"},
}  # fmt: skip
"""Small text encoders: fields of the configuration by model type."""


def save_sentence_encoder(folder: Path, kind: str = "bert", **changes: Any) -> Any:
    """A small random text encoder of `SENTENCE_ENCODERS` with its tokenizer, saved; returns the model.

    The tokenizer knows the words of `WORDS`, and adds one before the caption and one after it.
    """
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=library, **named).save_pretrained(folder)
    torch.manual_seed(0)
    settings = {"vocab_size": len(WORDS), **SENTENCE_ENCODERS[kind], **changes}
    config = transformers.AutoConfig.for_model(kind, **settings)
    model = transformers.AutoModelForTextEncoding.from_config(config).eval()
    model.save_pretrained(folder)
    return model
