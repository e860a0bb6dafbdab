"""The registered metrics of generated clips of any content. `docs/quality.md` has their definitions and sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from nas.errors import CheckpointError
from nas.quality.clips.encoders import ClipEncoder, ImageEncoder
from nas.quality.clips.frames import FrameConsistency, TextAlignment
from nas.quality.clips.frechet import FrechetVideoDistance
from nas.quality.clips.metric import ClipMetric, TemporalFlickering
from nas.quality.clips.motion import DynamicDegree, FlowInterpolator, Interpolator, MotionSmoothness
from nas.quality.clips.optical_flow import load_flow
from nas.quality.clips.scripts import call_script, load_script
from nas.quality.clips.video_encoders import load_video_encoder
from nas.quality.context import QualityContext
from nas.quality.video_quality import EncoderOptions, FlowOptions, SmoothnessOptions, VideoQuality


class TemporalFlickeringQuality(VideoQuality):
    """How little consecutive frames differ."""

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, which needs no network."""
        return TemporalFlickering()


class DynamicDegreeQuality(VideoQuality):
    """Share of clips in which something moves."""

    Config = FlowOptions
    networks = ("flow",)

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, with its network for optical flow."""
        return DynamicDegree(load_flow(networks["flow"]), context.space.file.video.fps)


class MotionSmoothnessQuality(VideoQuality):
    """How well every second frame follows from its neighbours."""

    Config = SmoothnessOptions
    networks = ("flow", "interpolator")
    fewest_frames = 3

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, with its network; by optical flow it has another name, because its numbers differ."""
        if "interpolator" in networks:
            return MotionSmoothness(_interpolator(networks["interpolator"]))
        return MotionSmoothness(FlowInterpolator(load_flow(networks["flow"])), "motion smoothness by flow")


def _interpolator(path: Path) -> Interpolator:
    script = load_script(path)

    def interpolate(before_NCHW: torch.Tensor, after_NCHW: torch.Tensor) -> torch.Tensor:
        pairs = zip(torch.split(before_NCHW, 1), torch.split(after_NCHW, 1), strict=True)
        made_NCHW = torch.cat([call_script(script, path, before, after) for before, after in pairs])
        if made_NCHW.shape != before_NCHW.shape:
            what = f"returns {tuple(made_NCHW.shape)} for {tuple(before_NCHW.shape)}"
            raise CheckpointError(what, where=path, hint="a frame in the middle has the shape of its neighbours")
        return made_NCHW

    return interpolate


class SubjectConsistencyQuality(VideoQuality):
    """How much the frames of a clip are alike to an image encoder, DINO for VBench's numbers."""

    Config = EncoderOptions
    networks = ("encoder",)

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, with its encoder."""
        return FrameConsistency(ImageEncoder.load(networks["encoder"]), "subject consistency")


class BackgroundConsistencyQuality(VideoQuality):
    """How much the frames of a clip are alike to CLIP."""

    Config = EncoderOptions
    networks = ("encoder",)

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, with its encoder."""
        return FrameConsistency(ClipEncoder.load(networks["encoder"]), "background consistency")


class TextAlignmentQuality(VideoQuality):
    """How much the frames of a clip are like its prompt to CLIP."""

    Config = EncoderOptions
    networks = ("encoder",)
    fewest_frames = 1

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, with its encoder."""
        return TextAlignment(ClipEncoder.load(networks["encoder"], texts=True))


class FrechetVideoDistanceQuality(VideoQuality):
    """Frechet distance of generated clips from held-out ones, over the features of any network."""

    Config = EncoderOptions
    networks = ("encoder",)
    fewest_frames = 1

    @classmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric, with its encoder."""
        path = networks["encoder"]
        return FrechetVideoDistance(load_video_encoder(path), f"Frechet video distance, {path.name}")
