"""Image encoders of transformers from local folders: features of frames, and of captions in the same space.

Nothing is downloaded. Pictures are prepared here, with the numbers of the folder's `preprocessor_config.json`, because
the processors of transformers need torchvision or work picture by picture.

Shape suffixes: N pictures, C channels (RGB), H height, W width, K features, L tokens.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import nn

from nas.errors import CheckpointError
from nas.files import read_json
from nas.models.foreign import foreign_errors, import_transformers, load_foreign, load_tokenizer
from nas.models.weight_files import TRANSFORMERS

BATCH = 32
SAME = 1e-3
"""Features of length 1 may differ by so much if they are the same but for rounding."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_SPARE = r".*position_ids$|(.*\.)?(pooler|classifier|head|lm_head|decoder|mask_token)(\.|$)|.*embeddings\.mask_token$"
"""Names of weights of a head that the features do not come from."""
_HAS_CLASS = r"\.(cls_token|class_embedding)$"
"""Names of the weights of a class token, which is first among the tokens of the last layer."""


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel of pixels from 0 to 1, with which an encoder was trained."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def foreign_config(folder: Path) -> Any:
    """The configuration of a folder that transformers saved.

    Raises:
        CheckpointError: There is none, or it is of an unknown kind.
        ConfigError: transformers is not installed.
    """
    transformers = import_transformers("an encoder")
    if not (folder / "config.json").is_file():
        raise CheckpointError("holds no config.json", where=folder, hint="save the encoder with save_pretrained")
    with foreign_errors("is no configuration of transformers", CheckpointError, folder / "config.json"):
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)


def statistics_of(folder: Path, default: tuple[tuple[float, ...], tuple[float, ...]] = _IMAGENET) -> Statistics:
    """The statistics in the folder's `preprocessor_config.json`, or a default.

    Raises:
        CheckpointError: They are not three numbers each.
    """
    file = folder / "preprocessor_config.json"
    given = read_json(file, error=CheckpointError) if file.is_file() else {}
    parts = []
    for name, usual in zip(("image_mean", "image_std"), default, strict=True):
        part = given.get(name, usual) if isinstance(given, dict) else None
        good = isinstance(part, list | tuple) and len(part) == 3 and all(isinstance(item, int | float) for item in part)
        if part is None or not good:
            raise CheckpointError(f"{name}: expected three numbers, got {part!r}", where=file)
        parts.append(tuple(map(float, part)))
    return Statistics(*parts)


def normalised(picture_NCHW: torch.Tensor, statistics: Statistics) -> torch.Tensor:
    """Pixels from 0 to 255 as the numbers that an encoder reads."""
    mean, std = (torch.tensor(part, device=picture_NCHW.device).view(3, 1, 1) for part in statistics)
    return (picture_NCHW / 255 - mean) / std


def fitted(picture_NCHW: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    """Uint8 pictures, resized with antialiasing so that their shorter side has `size` pixels; floats from 0 to 255."""
    height, width = picture_NCHW.shape[-2:]
    scale = size / min(height, width)
    shape = (max(int(height * scale), size), max(int(width * scale), size))
    if shape == (height, width):
        return picture_NCHW.float()
    return F.interpolate(picture_NCHW.float(), shape, mode=mode, antialias=True, align_corners=False).clamp(0, 255)


def cropped(picture_NCHW: torch.Tensor, size: int) -> torch.Tensor:
    """The square in the middle."""
    top, left = ((extent - size) // 2 for extent in picture_NCHW.shape[-2:])
    return picture_NCHW[..., top : top + size, left : left + size]


class ImageEncoder(nn.Module):
    """An image encoder: the class token of its last layer, as DINO's own code takes it.

    A picture is resized so that its shorter side fits. It is not cropped, as in VBench, if the encoder can interpolate
    the embeddings of positions.

    Args:
        model: The encoder.
        size: Pixels of the shorter side.
        statistics: Of its pixels.
    """

    def __init__(self, model: Any, size: int, statistics: Statistics) -> None:
        super().__init__()
        self.model, self.size, self.statistics = model, size, statistics
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self._any_size = self._interpolates or model.config.model_type.startswith("dinov")
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, folder: str | Path) -> ImageEncoder:
        """Load the encoder of a folder; a whole CLIP gives a `ClipEncoder`.

        Raises:
            CheckpointError: The folder cannot be loaded, or holds no image encoder with a class token, or one whose
                features are random.
            ConfigError: transformers is not installed.
        """
        root = Path(folder)
        config = foreign_config(root)
        if config.model_type == "clip":
            return ClipEncoder.load(root)
        transformers = import_transformers("an encoder")
        with foreign_errors("holds no image encoder", CheckpointError, root):
            kind = transformers.AutoModel._model_mapping[type(config)]
            headless = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
            size = _side(config.image_size)
        if kind.main_input_name != "pixel_values":
            raise CheckpointError(f"holds a {kind.__name__}, which encodes no images", where=root)
        settings = {"add_pooling_layer": False} if headless else {}
        model = load_foreign(kind, root, TRANSFORMERS, spare=_SPARE, **settings)
        if not any(re.search(_HAS_CLASS, name) for name, _ in model.named_parameters()):
            raise CheckpointError(f"holds a {kind.__name__}, which has no class token", where=root,
                                  hint="give a vision transformer that has one, such as DINO")  # fmt: skip
        return cls(model, size, statistics_of(root))._tried(root)

    def _tried(self, folder: Path) -> Self:
        """This encoder, if it encodes pictures, and a picture twice alike; else raises `CheckpointError`."""
        name, side = type(self.model).__name__, self.size
        picture_NCHW = torch.arange(3 * side * side, dtype=torch.int64).remainder(251).to(torch.uint8)
        picture_NCHW = picture_NCHW.view(1, 3, side, side)
        with foreign_errors(f"holds a {name}, which cannot encode a picture", CheckpointError, folder):
            first_NK, again_NK = (self.images(picture_NCHW) for _ in range(2))
        if not torch.allclose(first_NK, again_NK, atol=SAME):
            raise CheckpointError(f"holds a {name}, whose features of a picture differ from call to call", where=folder,
                                  hint="a ViTMAE masks at random; load it as a ViTModel, and save that")  # fmt: skip
        return self

    @torch.no_grad()
    def images(self, picture_NCHW: torch.Tensor) -> torch.Tensor:
        """Features (N, K) of uint8 pictures, each of length 1."""
        parts = [self._encode(self._prepare(part)).float() for part in torch.split(picture_NCHW, BATCH)]
        return F.normalize(torch.cat(parts), dim=-1)

    def _prepare(self, picture_NCHW: torch.Tensor) -> torch.Tensor:
        picture_NCHW = fitted(picture_NCHW, self.size, "bilinear")
        return normalised(picture_NCHW if self._any_size else cropped(picture_NCHW, self.size), self.statistics)

    def _encode(self, picture_NCHW: torch.Tensor) -> torch.Tensor:
        options = {"interpolate_pos_encoding": True} if self._interpolates else {}
        return self.model(pixel_values=picture_NCHW, **options).last_hidden_state[:, 0]  # type: ignore[no-any-return]


class ClipEncoder(ImageEncoder):
    """CLIP: its projected embeddings of images and of texts (Radford et al. 2021, arXiv 2103.00020).

    Args:
        model: A `CLIPModel`.
        size: Pixels of the square that it reads.
        statistics: Of its pixels.
        tokenizer: Its tokenizer; `None` if only images are encoded.
    """

    def __init__(self, model: Any, size: int, statistics: Statistics, tokenizer: Any = None) -> None:
        super().__init__(model, size, statistics)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: str | Path, *, texts: bool = False) -> ClipEncoder:
        """Load a whole CLIP.

        Args:
            folder: The folder.
            texts: Whether its tokenizer is needed.

        Raises:
            CheckpointError: The folder cannot be loaded, or holds something else.
        """
        root, transformers = Path(folder), import_transformers("an encoder")
        config = foreign_config(root)
        if config.model_type != "clip":
            raise CheckpointError(f"holds a {config.model_type}, where CLIP is needed", where=root,
                                  hint="save a CLIPModel there, with both its halves")  # fmt: skip
        tokenizer = None
        if texts:
            tokenizer = load_tokenizer(transformers.CLIPTokenizer, root, "tokenizer of CLIP")
        model = load_foreign(transformers.CLIPModel, root, TRANSFORMERS, spare=_SPARE)
        return cls(model, _side(config.vision_config.image_size), statistics_of(root, _CLIP), tokenizer)

    def _prepare(self, picture_NCHW: torch.Tensor) -> torch.Tensor:
        return normalised(cropped(fitted(picture_NCHW, self.size, "bicubic"), self.size), self.statistics)

    def _encode(self, picture_NCHW: torch.Tensor) -> torch.Tensor:
        return _embedding(self.model.get_image_features(pixel_values=picture_NCHW))

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Features (N, K) of captions, each of length 1; what exceeds CLIP's context is cut."""
        length = self.model.config.text_config.max_position_embeddings
        parts = []
        for start in range(0, len(captions), BATCH):
            some = list(captions[start : start + BATCH])
            batch = self.tokenizer(some, padding=True, truncation=True, max_length=length, return_tensors="pt")
            parts.append(_embedding(self.model.get_text_features(batch["input_ids"], batch["attention_mask"])).float())
        return F.normalize(torch.cat(parts), dim=-1)


def _embedding(output: Any) -> torch.Tensor:
    """The projected embedding; transformers 5 returns it within an output."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _side(size: Any) -> int:
    """The shorter side of a picture of the configured size."""
    return int(size if isinstance(size, int) else min(size))
