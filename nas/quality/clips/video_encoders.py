"""Features of whole clips for the Frechet video distance: VideoMAE of transformers, or a TorchScript file such as I3D.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, L tokens, K features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.errors import CheckpointError
from nas.models.foreign import import_transformers, load_foreign
from nas.models.weight_files import TRANSFORMERS
from nas.quality.clips.encoders import Statistics, foreign_config, normalised, statistics_of
from nas.quality.clips.frechet import FeatureExtractor
from nas.quality.clips.scripts import call_script, load_script

_BATCH = 4
_PRETRAINING = r"(encoder_to_decoder|decoder|mask_token)(\.|$)|.*position_ids$"
"""Names of weights of VideoMAE that only its own training uses."""


def load_video_encoder(path: str | Path) -> FeatureExtractor:
    """Features of uint8 clips by the network in a folder of transformers, or in a TorchScript file.

    Raises:
        CheckpointError: There is nothing, or something else.
        ConfigError: transformers is not installed.
    """
    place = Path(path)
    return VideoMaeFeatures.load(place).extract if place.is_dir() else script_features(place)


class VideoMaeFeatures(nn.Module):
    """VideoMAE (Tong et al. 2022, arXiv 2203.12602): the mean of its last tokens, which its classifier reads.

    Clips get as many frames as it was trained with, evenly spaced, and are resized to its square, as is usual for the
    Frechet video distance.

    Args:
        model: A `VideoMAEModel`.
        norm: The norm between mean and classifier, in a checkpoint that was trained to classify.
        statistics: Of its pixels.
        first: Whether its classifier reads the first token instead of the mean (`use_mean_pooling: false`).
    """

    def __init__(self, model: Any, norm: nn.Module | None, statistics: Statistics, *, first: bool = False) -> None:
        super().__init__()
        self.model, self.norm, self.statistics, self.first = model, norm or nn.Identity(), statistics, first
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, folder: Path) -> VideoMaeFeatures:
        """Load the encoder of a folder; raises as `load_video_encoder`."""
        transformers, config = import_transformers("an encoder"), foreign_config(folder)
        if config.model_type != "videomae":
            raise CheckpointError(f"holds a {config.model_type}, which encodes no clips", where=folder,
                                  hint="give a VideoMAE, or a TorchScript file")  # fmt: skip
        statistics = statistics_of(folder)
        if "VideoMAEForVideoClassification" in (config.architectures or ()):
            whole = load_foreign(transformers.VideoMAEForVideoClassification, folder, TRANSFORMERS)
            return cls(whole.videomae, whole.fc_norm, statistics, first=whole.fc_norm is None)
        model = load_foreign(transformers.VideoMAEModel, folder, TRANSFORMERS, spare=_PRETRAINING)
        return cls(model, None, statistics)

    @torch.no_grad()
    def extract(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Features (B, K) of uint8 clips."""
        return torch.cat([self._features(part) for part in torch.split(video_BTCHW, _BATCH)])

    def _features(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        config = self.model.config
        chosen_BTCHW = video_BTCHW[:, spread(video_BTCHW.shape[1], config.num_frames)]
        size = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
        picture_NCHW = F.interpolate(
            chosen_BTCHW.flatten(0, 1).float(), (size, size), mode="bilinear", align_corners=False, antialias=True
        )
        pixels_BTCHW = normalised(picture_NCHW, self.statistics).view(*chosen_BTCHW.shape[:3], size, size)
        token_BLK = self.model(pixel_values=pixels_BTCHW).last_hidden_state
        pooled_BK = token_BLK[:, 0] if self.first else token_BLK.mean(dim=1)
        return self.norm(pooled_BK).float()  # type: ignore[no-any-return]


def spread(available: int, wanted: int) -> torch.Tensor:
    """Numbers of frames, evenly spaced from the first to the last; frames repeat if there are too few."""
    return torch.linspace(0, available - 1, wanted).round().long()


def script_features(path: str | Path) -> FeatureExtractor:
    """Features by a TorchScript file that takes clips (B, 3, T, H, W) with pixels from 0 to 255.

    It is asked to rescale and resize the clips and to return features, if it has options of these names, as the I3D has
    that is usual for the Frechet video distance. Outputs (B, K, ...) are flattened.

    Raises:
        CheckpointError: There is no such file, or it is something else.
    """
    script = load_script(path)

    def extract(video_BTCHW: torch.Tensor) -> torch.Tensor:
        parts = [
            call_script(
                script, path, part.transpose(1, 2).float(), rescale=True, resize=True, return_features=True
            ).flatten(1)
            for part in torch.split(video_BTCHW, _BATCH)
        ]
        return torch.cat(parts)

    return extract
