"""Tiny, randomly initialised networks of metrics, as users have them: folders of transformers, TorchScript files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn


def dino(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                    image_size=32, patch_size=8)  # fmt: skip
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    torch.manual_seed(0)
    half = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    tokens = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "aegrx")]
    text = half | {"vocab_size": len(tokens), "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1}
    config = transformers.CLIPConfig(text_config=text, vision_config=half | {"image_size": 32, "patch_size": 8},
                                     projection_dim=8)  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(folder)
    vocab = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return folder


def videomae(folder: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                         intermediate_size=16, image_size=16, patch_size=8, num_frames=4,
                                         **settings)  # fmt: skip
    transformers.VideoMAEForVideoClassification(config).save_pretrained(folder)
    return folder


class Means(nn.Module):
    """Features of clips (B, 3, T, H, W): the mean of each frame."""

    def forward(self, video: torch.Tensor, rescale: bool = False) -> torch.Tensor:
        scale = 255.0 if rescale else 1.0
        return video.mean(dim=(1, 3, 4)) / scale


class ToTheRight(nn.Module):
    """A flow that knows that everything moves two pixels to the right, and back if it is brighter before."""

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        x = torch.arange(first.shape[-1], dtype=torch.float32)
        there = ((second - first).mean(dim=1, keepdim=True) * x).mean(dim=(1, 2, 3), keepdim=True).sign()
        right = 2 * there * torch.ones_like(first[:, :1])
        return torch.cat([right, torch.zeros_like(right)], dim=1)


class Average(nn.Module):
    """An interpolator: the mean of both frames."""

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return (before + after) / 2


def script(network: nn.Module, file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network), file)
    return file
