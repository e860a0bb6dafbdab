"""Captioned video clips: folders of real videos, the procedural set, latents, splits, batches and writing."""

from __future__ import annotations

from nas.data.buckets import Bucket, BucketedClips
from nas.data.captioned import CaptionedClips, Contexts, GridSize, LatentClips, LatentCodec
from nas.data.clips import Clip, ClipDataset, ClipShape, ClipSubset
from nas.data.config import (
    VALIDATION_FRACTION,
    ClipsConfig,
    DataConfig,
    DataFile,
    DataSplit,
    HeldOutShare,
    LatentsConfig,
    MovingShapesConfig,
    VideoFolderConfig,
    WebDatasetConfig,
    open_data,
    split,
)
from nas.data.latents.stored import StoredLatents
from nas.data.moving_shapes.dataset import MovingShapes
from nas.data.moving_shapes.scene import (
    BEHAVIOURS,
    COLOURS,
    DIRECTIONS,
    SHAPES,
    SPEEDS,
    ShapeScene,
    parse_caption,
    prompts,
)
from nas.data.pixels import to_bytes, to_pixels
from nas.data.sampling import ReadingOrder, Turns, batch_indices
from nas.data.tars.dataset import TarDataset
from nas.data.videos.folder import VideoDataset
from nas.data.writing import frame_strip, write_gif, write_mp4

__all__ = [
    "BEHAVIOURS",
    "COLOURS",
    "DIRECTIONS",
    "SHAPES",
    "SPEEDS",
    "VALIDATION_FRACTION",
    "Bucket",
    "BucketedClips",
    "CaptionedClips",
    "Clip",
    "ClipDataset",
    "ClipShape",
    "ClipSubset",
    "ClipsConfig",
    "Contexts",
    "DataConfig",
    "DataFile",
    "DataSplit",
    "GridSize",
    "HeldOutShare",
    "LatentClips",
    "LatentCodec",
    "LatentsConfig",
    "MovingShapes",
    "MovingShapesConfig",
    "ReadingOrder",
    "ShapeScene",
    "StoredLatents",
    "TarDataset",
    "Turns",
    "VideoDataset",
    "VideoFolderConfig",
    "WebDatasetConfig",
    "batch_indices",
    "frame_strip",
    "open_data",
    "parse_caption",
    "prompts",
    "split",
    "to_bytes",
    "to_pixels",
    "write_gif",
    "write_mp4",
]
