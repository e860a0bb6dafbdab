"""Networks with published Core ML latencies by their published names, rebuilt with random weights on the meta device.

Importing this module imports timm (extra `bench`), and with it torchvision, whose wheel may carry native code for
another build of torch ("operator torchvision::nms does not exist"). That code is not needed, so this module skips the
registration that fails. Import it before anything that imports diffusers, which would otherwise import torchvision
itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def _no_fake_operators() -> Iterator[None]:
    """Disable `torch.library.register_fake`."""
    before = torch.library.register_fake

    def skipped(_name: object, function: Any = None, /, **_: object) -> Any:
        return (lambda given: given) if function is None else function

    torch.library.register_fake = skipped  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.library.register_fake = before


if importlib.util.find_spec("timm") is None:
    # `make venv` puts timm here, beside the other packages, where diffusers does not find torchvision.
    sys.path.append(str(Path(sys.prefix) / "bench"))
    if importlib.util.find_spec("timm") is None:
        sys.exit("error: timm is not installed; install the extra `bench`, or run `make venv`")

with _no_fake_operators():
    import timm
    from timm.utils.model import reparameterize_model

from coreml_networks import GUIDANCE_BATCH, diffusion_unet, synthetic, tiny_autoencoder  # noqa: E402
from coreml_transformers import clip_text, depth_anything_small, distilbert, opt_1_3b  # noqa: E402


@dataclass(frozen=True)
class Network:
    """A network with published latencies.

    Args:
        family: Networks of one family are left out together when the model is tested on unseen networks.
        kind: `image` for networks that read an image and return labels, features or a depth, `text`, `diffusion` for
            UNets and decoders, or `synthetic`.
        module: The network, on the meta device.
        inputs: Its arguments.
    """

    family: str
    kind: str
    module: nn.Module
    inputs: tuple[torch.Tensor, ...]


_SIZES = {"s": "small", "m": "medium", "l": "large"}
_NUMBER = r"(?P<a>\d+(?:\.\d+)?)"


def _percent(match: re.Match[str]) -> str:
    return f"{round(100 * float(match['a'])):03d}"


def _v3(match: re.Match[str]) -> str:
    return f"mobilenetv3_{match['b']}_{_percent(match) if match['a'] else '100'}"


def _v4(match: re.Match[str]) -> str:
    return f"mobilenetv4_{match['a'].lower()}_{_SIZES[match['b'][0].lower()]}"


# Family, name, timm's name, pixels of a side; names as they are written where latencies are published.
_TIMM: tuple[tuple[str, str, Callable[[re.Match[str]], str], int], ...] = (
    ("MobileNetV2", rf"mobilenet-?v2[-_ x]*{_NUMBER}", lambda m: f"mobilenetv2_{_percent(m)}", 224),
    ("MobileNetV3", r"mobilenet-?v3[-_ ](?P<b>small|large)(?:[-_ x]*(?P<a>\d+(?:\.\d+)?))?", _v3, 224),
    ("MobileNetV4", r"(?:mobilenet-?v4|mnv4)[-_ ](?P<a>conv|hybrid)[-_ ](?P<b>s|m|l|small|medium|large)", _v4, 0),
    ("ResNet", r"resnet-?(?P<a>18|26|34|50|101|152)", lambda m: f"resnet{m['a']}", 224),
    ("EfficientFormerV2", r"efficientformer-?v2[-_ ](?P<a>s0|s1|s2|l)", lambda m: f"efficientformerv2_{m['a']}", 224),
    ("EfficientFormer", r"efficientformer[-_ ](?P<a>l1|l3|l7)", lambda m: f"efficientformer_{m['a']}", 224),
    ("FastViT", r"fastvit[-_ ](?P<a>t8|t12|s12|sa12|sa24|sa36|ma36)", lambda m: f"fastvit_{m['a']}", 256),
    ("RepViT", rf"repvit[-_ ]m{_NUMBER}", lambda m: f"repvit_m{m['a'].replace('.', '_')}", 224),
    ("MobileViTv2", rf"mobilevit-?v2[-_ x]*{_NUMBER}", lambda m: f"mobilevitv2_{_percent(m)}", 256),
    ("MobileOne", r"mobileone[-_ ](?P<a>s[0-4])", lambda m: f"mobileone_{m['a']}", 224),
    ("MobileCLIP", r"mobileclip[-_ ]s(?P<a>[0-4])(?: image encoder)?", lambda m: f"fastvit_mci{m['a']}", 256),
    ("MobileCLIP", r"mobileclip[-_ ](?P<a>b)(?: image encoder)?", lambda _: "vit_base_mci_224", 224),
)
_PIXELS_V4 = {"small": 224, "medium": 256, "large": 384}


def build(name: str, variant: str = "") -> Network | None:
    """The network of that name, `None` if it is unknown.

    Args:
        name: Its published name; it may end in pixels, such as `384px`.
        variant: What is published beside the name: `batch 1`, `K/V pooled`, `backbone only`.
    """
    text = name.strip().lower()
    sized = re.fullmatch(r"(?P<name>.*?)[-_ @]+(?P<pixels>\d{3})(?:px)?", text)
    whole = "backbone only" not in variant.lower()
    return (
        _timm(text, None, whole)
        or (_timm(sized["name"], int(sized["pixels"]), whole) if sized else None)
        or _diffusion(text, variant.lower())
        or _decoder(text)
        or _transformer(text)
        or _synthetic(name)
    )


def _timm(text: str, pixels: int | None, whole: bool) -> Network | None:
    for family, pattern, timm_name, usual in _TIMM:
        match = re.fullmatch(pattern, text)
        if match is None:
            continue
        known = timm_name(match)
        if not timm.is_model(known):
            return None
        side = pixels or usual or _PIXELS_V4[known.rpartition("_")[2]]
        with torch.device("meta"):
            # Branches used in training become one convolution on the phone.
            module = reparameterize_model(timm.create_model(known, **({} if whole else {"features_only": True})).eval())
        # Without its head and on large images, a network is as much another one as one of another family.
        return Network(
            family if whole else f"{family}, features", "image", module, (torch.zeros(1, 3, side, side, device="meta"),)
        )
    return None


def _diffusion(text: str, variant: str) -> Network | None:
    match = re.fullmatch(
        r"(?:sd[- ]?|stable diffusion )?(?P<a>1\.5|2\.1|xl|turbo|sdxs-512)(?:-base)? unet(?: step)?(?: (?P<b>\d+)px)?",
        text,
    )
    if match is None:
        return None
    family = {"xl": "Stable Diffusion XL", "turbo": "SD-Turbo", "sdxs-512": "SDXS"}.get(match["a"], "Stable Diffusion")
    # SD-Turbo has the layout of Stable Diffusion 2.1.
    name = {"xl": "sdxl", "turbo": "sd2.1", "sdxs-512": "sdxs"}.get(match["a"], f"sd{match['a']}")
    pixels = int(match["b"] or (1024 if name == "sdxl" else 512))
    batch = 1 if "batch 1" in variant else GUIDANCE_BATCH
    pooled = None if "k/v pooled" not in variant else "down" if "pooled in down" in variant else ""
    return Network(family, "diffusion", *diffusion_unet(name, pixels, batch, pooled))


def _decoder(text: str) -> Network | None:
    match = re.fullmatch(r"taesd (?P<a>encoder|decoder) (?P<b>\d+)px", text)
    return match and Network("TAESD", "diffusion", *tiny_autoencoder(match["a"], int(match["b"])))


def _transformer(text: str) -> Network | None:
    if re.fullmatch(r"mobileclip-[\w/]+ text encoder", text):
        return Network("CLIP text encoder", "text", *clip_text())
    if match := re.fullmatch(r"distilbert seq (\d+) batch 1", text):
        return Network("DistilBERT", "text", *distilbert(int(match[1])))
    if match := re.fullmatch(r"opt-1\.3b, one token, prompt of (\d+)", text):
        return Network("OPT", "text", *opt_1_3b(int(match[1])))
    if match := re.fullmatch(r"depth-anything-small (\d+)x(\d+)", text):
        return Network("Depth-Anything", "image", *depth_anything_small(int(match[1]), int(match[2])))
    return None


def _synthetic(name: str) -> Network | None:
    network = synthetic(name)
    return None if network is None else Network("synthetic", "synthetic", *network)
