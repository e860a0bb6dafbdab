"""Networks of transformers with published Core ML latencies, with random weights on the meta device."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

Built = tuple[nn.Module, tuple[torch.Tensor, ...]]


class _Output(nn.Module):
    """A network that returns one of its outputs."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, inputs: torch.Tensor) -> Any:
        return getattr(self.network(inputs), self.name)


def clip_text() -> Built:
    """The text encoder of MobileCLIP S1, S2 and B: 12 layers of 512 channels, 77 tokens."""
    config = transformers.CLIPTextConfig(
        hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8, projection_dim=512
    )
    return _of_tokens(transformers.CLIPTextModelWithProjection, config, 77, "text_embeds")


def distilbert(tokens: int) -> Built:
    """DistilBERT with a classifier."""
    config = transformers.DistilBertConfig()
    return _of_tokens(transformers.DistilBertForSequenceClassification, config, tokens, "logits")


def opt_1_3b(tokens: int) -> Built:
    """OPT-1.3B, for a prompt of that many tokens."""
    config = transformers.OPTConfig(
        hidden_size=2048, ffn_dim=8192, num_hidden_layers=24, num_attention_heads=32, use_cache=False
    )
    return _of_tokens(transformers.OPTForCausalLM, config, tokens, "logits")


def depth_anything_small(height: int, width: int) -> Built:
    """Depth-Anything small: a DINOv2 of 384 channels and a DPT head."""
    backbone = transformers.Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=384,
        num_attention_heads=6,
        num_hidden_layers=12,
        out_features=["stage9", "stage10", "stage11", "stage12"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
    )
    with torch.device("meta"):
        network = transformers.DepthAnythingForDepthEstimation(config).eval()
        # Patches are of 14 pixels; a side that is no multiple of it was resized.
        sides = (side // 14 * 14 for side in (height, width))
        return _Output(network, "predicted_depth"), (torch.zeros(1, 3, *sides),)


def _of_tokens(network: Any, config: Any, tokens: int, output: str) -> Built:
    with torch.device("meta"):
        return _Output(network(config).eval(), output), (torch.zeros(1, tokens, dtype=torch.long),)
