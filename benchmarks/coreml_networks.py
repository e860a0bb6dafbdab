"""Networks of diffusers with published Core ML latencies, and three synthetic ones."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import nn

TEXT_TOKENS = 77
GUIDANCE_BATCH = 2
"""Published steps are with classifier-free guidance, two samples in one call, where nothing else is said."""

_COMMON: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 32}
_UNETS: dict[str, dict[str, Any]] = {
    "sd1.5": {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2.1": {
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxs": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "mid_block_type": None,
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 768,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}


class _Step(nn.Module):
    """A UNet as a function of tensors alone."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, *more: torch.Tensor) -> Any:
        added = dict(zip(("text_embeds", "time_ids"), more, strict=False)) or None
        return self.unet(sample, timestep, text, added_cond_kwargs=added, return_dict=False)[0]


class _PooledAttention:
    """Attention to keys and values that are means over 2 x 2 positions, as an attention processor of diffusers."""

    def __call__(self, attention: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        side = math.isqrt(hidden_states.shape[1])
        image = hidden_states.transpose(1, 2).unflatten(2, (side, side))
        pooled = nn.functional.avg_pool2d(image, 2).flatten(2).transpose(1, 2)
        query, key, value = (
            part(source).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for part, source in (
                (attention.to_q, hidden_states),
                (attention.to_k, pooled),
                (attention.to_v, pooled),
            )
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return attention.to_out[1](attention.to_out[0](mixed))


def diffusion_unet(
    name: str, pixels: int, batch: int = GUIDANCE_BATCH, pooled: str | None = None
) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """One denoising step of a square image.

    Args:
        name: Name of the configuration.
        pixels: A side of the image; 8 of them are one latent pixel.
        batch: Samples in one call.
        pooled: Prefix of the names of blocks whose self-attention pools its keys and values; `None` for no block.
    """
    config, side = _UNETS[name], pixels // 8
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=side, **(_COMMON | config)).eval()
        for path, module in unet.named_modules():
            if pooled is not None and path.startswith(pooled) and path.endswith("attn1"):
                module.set_processor(_PooledAttention())
        inputs = [
            torch.zeros(batch, 4, side, side),
            torch.zeros(batch),
            torch.zeros(batch, TEXT_TOKENS, config["cross_attention_dim"]),
        ]
        if name == "sdxl":
            inputs += [torch.zeros(batch, 1280), torch.zeros(batch, 6)]
    return _Step(unet), tuple(inputs)


def tiny_autoencoder(part: str, pixels: int) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The `encoder` or the `decoder` of TAESD, for a square image."""
    with torch.device("meta"):
        autoencoder = AutoencoderTiny().eval()
        if part == "encoder":
            return autoencoder.encoder, (torch.zeros(1, 3, pixels, pixels),)
        return autoencoder.decoder, (torch.zeros(1, 4, pixels // 8, pixels // 8),)


def synthetic(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]] | None:
    """The networks of the comparison of TensorFlow models on iPhones, by their file names; `None` for others.

    All of them read a sequence or a strip of 10 x 512.
    """
    with torch.device("meta"):
        if match := re.fullmatch(r"DenseModel_units_(\d+)_layers_(\d+)_", name):
            return _dense(*map(int, match.groups())), (torch.zeros(1, 10, 512),)
        if match := re.fullmatch(r"Conv2D_filters_(\d+)_kernel_(\d+)_layers_(\d+)_", name):
            return _convolutions(*map(int, match.groups())), (torch.zeros(1, 3, 10, 512),)
        pattern = r"Transformer_embedDim_(\d+)_nHeads_(\d+)_ffn_(\d+)_keyDim_(\d+)_layers_(\d+)_deLayers_(\d+)_"
        if match := re.fullmatch(pattern, name):
            return _Transformer(*map(int, match.groups())), (torch.zeros(1, 10, 512),)
    return None


def _dense(units: int, layers: int) -> nn.Module:
    widths = [512] + [units] * layers
    parts = ((nn.Linear(a, b, bias=False), nn.ReLU()) for a, b in itertools.pairwise(widths))
    return nn.Sequential(*(part for pair in parts for part in pair))


def _convolutions(filters: int, kernel: int, layers: int) -> nn.Module:
    widths = [3] + [filters] * layers
    parts = ((nn.Conv2d(a, b, kernel, padding="same", bias=False), nn.ReLU()) for a, b in itertools.pairwise(widths))
    return nn.Sequential(*(part for pair in parts for part in pair))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, heads * head_width) for _ in range(3))
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, x_BNC: torch.Tensor, source_BMC: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(source).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, source in ((self.query, x_BNC), (self.key, source_BMC), (self.value, source_BMC))
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """Attention to itself, in a decoder to the encoder's output too, and two linear maps."""

    def __init__(self, width: int, heads: int, hidden: int, head_width: int, attentions: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(_Attention(width, heads, head_width) for _ in range(attentions))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(attentions + 1))
        self.maps = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False))

    def forward(self, x_BNC: torch.Tensor, source_BMC: torch.Tensor) -> torch.Tensor:
        for attention, norm, source in zip(self.attentions, self.norms, (None, source_BMC), strict=False):
            x_BNC = norm(x_BNC + attention(x_BNC, x_BNC if source is None else source))
        return self.norms[-1](x_BNC + self.maps(x_BNC))


class _Transformer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, head_width: int, layers: int, decoder_layers: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(_Layer(width, heads, hidden, head_width, 1) for _ in range(layers))
        self.decoder = nn.ModuleList(_Layer(width, heads, hidden, head_width, 2) for _ in range(decoder_layers))
        self.head = nn.Linear(width, 512)

    def forward(self, x_BNC: torch.Tensor) -> torch.Tensor:
        encoded = target = x_BNC
        for layer in self.encoder:
            encoded = layer(encoded, encoded)
        for layer in self.decoder:
            target = layer(target, encoded)
        return self.head(target)
