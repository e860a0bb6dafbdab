"""Judges clips that models make of a run's captions, by comparison with the real clips of these captions.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, N real clips of all captions, K features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

from benchmarks.quickstart_features import DownPathFeatures
from nas.data import CaptionedClips, ClipDataset
from nas.errors import DataError
from nas.models import VideoModel
from nas.quality import FrechetVideoDistance, TemporalFlicker, estimate
from nas.quality.clips.scoring import generated_clips

GRID = (2, 4)
"""Means of channels alone take clips for each other that differ in where things are."""
ASKED = 16
SEED = 0


@dataclass(frozen=True)
class RealClips:
    """The real clips of some captions.

    Args:
        video_BTCHW: The clips, uint8.
        captions: Of each.
    """

    video_BTCHW: torch.Tensor
    captions: tuple[str, ...]

    @classmethod
    def of(cls, clips: CaptionedClips) -> RealClips:
        """All clips of a set.

        Raises:
            DataError: They are kept as latents, or have several sizes.
        """
        if not isinstance(clips, ClipDataset):
            raise DataError("the run's clips are no videos of one size", hint="use `data:` of such videos")
        return cls(*clips.batch(range(len(clips))))

    @property
    def asked(self) -> list[int]:
        """Places of at most `ASKED` clips of distinct captions, evenly spread over these in their order."""
        first = [self.captions.index(caption) for caption in dict.fromkeys(self.captions)]
        count = min(ASKED, len(first))
        return [first[round(number * (len(first) - 1) / max(count - 1, 1))] for number in range(count)]


class Judge:
    """Compares clips with real ones by what a model of images sees in them.

    Args:
        model: That model.
        training: Real clips that a run has trained on.
        held_out: Real clips that it has not.
    """

    def __init__(self, model: VideoModel, training: RealClips, held_out: RealClips) -> None:
        self.training, self.held_out = training, held_out
        self.distance = FrechetVideoDistance(DownPathFeatures(model))
        self.looks = FrechetVideoDistance(DownPathFeatures(model, GRID))
        self.captions = training.captions + held_out.captions
        sides = (training, held_out)
        self.real_NK = np.concatenate([self.looks.describe(each.video_BTCHW, each.captions) for each in sides])

    def found(self, video_BTCHW: torch.Tensor, captions: Sequence[str]) -> int:
        """Of how many clips the nearest real clip, of all there are, has their caption."""
        return self._nearest(cdist(self.looks.describe(video_BTCHW, captions), self.real_NK), captions)

    def _nearest(self, distance_BN: np.ndarray, captions: Sequence[str]) -> int:
        nearest = distance_BN.argmin(axis=1)
        return sum(self.captions[place] == caption for place, caption in zip(nearest, captions, strict=True))

    def of_model(self, model: VideoModel, real: RealClips) -> dict[str, Any]:
        """What is printed of a model: it makes one clip for each real clip, with the caption of that.

        Args:
            model: Samples as it does by default.
            real: Those of training, or those held out.
        """
        made_BTCHW = generated_clips(model, real.captions, seed=SEED)
        asked, distance = real.asked, None
        if real is self.training:  # those held out are too few for one
            distance = asdict(estimate(self.distance, made_BTCHW, real.video_BTCHW, real.captions, seed=SEED))
        return {
            "found": self.found(made_BTCHW[asked], [real.captions[place] for place in asked]),
            "of": len(asked),
            "distance": distance,
            **_flicker(made_BTCHW, real),
        }

    def of_real(self, real: RealClips) -> dict[str, Any]:
        """The same of the real clips themselves: of those with a caption in common, is the nearest other one of it?"""
        place = 0 if real is self.training else len(self.training.captions)
        rows = [place + row for row, caption in enumerate(real.captions) if self.captions.count(caption) > 1]
        distance_BN = cdist(self.real_NK[rows], self.real_NK)
        distance_BN[np.arange(len(rows)), rows] = np.inf
        found = self._nearest(distance_BN, [self.captions[row] for row in rows])
        return {"found": found, "of": len(rows), "distance": None, **_flicker(real.video_BTCHW, real)}


def _flicker(video_BTCHW: torch.Tensor, real: RealClips) -> dict[str, float]:
    """Temporal flicker of clips, and how many times that of the real clips of their captions it is."""
    metric = TemporalFlicker()
    made, there = (metric.describe(each, real.captions).mean() for each in (video_BTCHW, real.video_BTCHW))
    if not there:
        raise DataError("nothing moves in the real clips: there is no flicker to compare with")
    return {"flicker": float(made), "times_real": float(made / there)}
