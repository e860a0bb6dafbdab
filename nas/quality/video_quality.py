"""The base of registered metrics that judge clips of any content, with the captions of held-out clips as prompts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, PositiveInt

from nas.errors import ConfigError
from nas.files import StrictModel, UserPath, fingerprint, sampled_digest
from nas.models.parts import unloaded_codec
from nas.models.weights import folder_digest
from nas.quality.clip_quality import ClipQuality, SamplingOptions
from nas.quality.clips.metric import ClipMetric
from nas.quality.clips.sources import HeldOutClips
from nas.quality.context import QualityContext


class VideoQualityOptions(StrictModel):
    """Options of every metric that looks at generated clips of any content.

    Args:
        clips: Clips per architecture, each for the caption of another held-out clip; fewer if fewer are held out.
        steps: Denoising steps; the model's own when left out.
        guidance_scale: Classifier-free guidance; the model's own when left out.
        finetune_steps: Train each architecture alone for this many steps first; not at all when left out.
    """

    clips: Annotated[int, Field(ge=2, le=10**6)] = 64
    steps: PositiveInt | None = None
    guidance_scale: Annotated[float, Field(ge=1)] | None = None
    finetune_steps: PositiveInt | None = None


class VideoQuality(ClipQuality):
    """A metric of generated clips of any content; needs a supernet and clips with captions.

    A subclass gives `clip_metric`, and names the options that are paths of networks in `networks`.
    """

    Config: ClassVar[type[StrictModel]] = VideoQualityOptions
    networks: ClassVar[tuple[str, ...]] = ()
    """Options that are paths of networks, of which exactly one is given."""
    networks_hint: ClassVar[str] = "docs/quality.md says which, and where to get it"
    fewest_frames: ClassVar[int] = 2
    """Clips with fewer frames cannot be judged."""

    @classmethod
    def check_options(cls, config: VideoQualityOptions, base: Path) -> None:
        """Refuse a network that is not named or not there."""
        given = [name for name in cls.networks if getattr(config, name) is not None]
        if cls.networks and len(given) != 1:
            what = " or ".join(cls.networks)
            missing = "needs the option" if not given else "takes one of the options"
            raise ConfigError(f"this metric {missing} {what}", where="quality metric", hint=cls.networks_hint)
        for name in given:
            if not (base / getattr(config, name)).exists():
                raise ConfigError(f"{name}: no such file or folder", where=base / getattr(config, name),
                                  hint=cls.networks_hint)  # fmt: skip

    @classmethod
    def create(cls, config: VideoQualityOptions, context: QualityContext) -> Self:
        """Load the networks, the models of the search and the captions."""
        cls.check_options(config, context.base)
        video = context.space.file.video
        if video.frames < cls.fewest_frames:
            raise ConfigError(f"this metric needs clips of {cls.fewest_frames} frames or more, not {video.frames}",
                              where="quality metric")  # fmt: skip
        context.require("a metric of clips")
        given = {name: getattr(config, name) for name in cls.networks}
        networks = {name: context.path(path) for name, path in given.items() if path is not None}
        metric = cls.clip_metric(networks, context)
        source = HeldOutClips(context.clips, unloaded_codec(context.space), config.clips, context.seed)
        models = context.models(config.finetune_steps)
        sampling = SamplingOptions(config.steps, config.guidance_scale)
        digest = fingerprint([models.fingerprint, {name: _digest(path) for name, path in networks.items()}])
        return cls(models, metric, source, seed=context.seed, sampling=sampling, fingerprint=digest)

    @classmethod
    @abstractmethod
    def clip_metric(cls, networks: Mapping[str, Path], context: QualityContext) -> ClipMetric:
        """The metric of clips.

        Args:
            networks: Paths of the networks that were given, by option.
            context: The inputs of the search.
        """


def _digest(path: Path) -> str:
    return folder_digest(path) if path.is_dir() else sampled_digest(path)


class EncoderOptions(VideoQualityOptions):
    """Options of a metric that looks at clips with a network of others.

    Args:
        encoder: The network: a folder that transformers saved; for the Frechet video distance also a TorchScript file.
    """

    encoder: UserPath | None = None


class FlowOptions(VideoQualityOptions):
    """Options of a metric of motion.

    Args:
        flow: The network for optical flow: weights of torchvision's RAFT, or a TorchScript file.
    """

    flow: UserPath | None = None


class SmoothnessOptions(FlowOptions):
    """Options of motion smoothness: a network for optical flow, or one that interpolates.

    Args:
        interpolator: A TorchScript file that makes the frame between two frames (N, 3, H, W) with pixels from 0 to 1,
            such as AMT, which VBench takes.
    """

    interpolator: UserPath | None = None
