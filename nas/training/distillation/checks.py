"""A check of the student during training: how close its clips are to their reference, and how diverse.

Shape suffixes: B clips, K numbers per clip.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import AliasChoices, Field

from nas.data import CaptionedClips, LatentClips
from nas.errors import TrainingError
from nas.files import StrictModel, derive_seed
from nas.models import VideoModel
from nas.models.flow import TIMESTEP_SCALE
from nas.models.network import DownPath
from nas.models.parts import unloaded_codec
from nas.models.video_model import batches
from nas.quality import frechet_distance
from nas.quality.clips.metric import Floats
from nas.training.distillation.config import DistillationConfig

PROMPTS, CLIPS_PER_PROMPT = 16, 2
_BATCH = 8


class Check(StrictModel):
    """How good a student's clips are.

    Args:
        step: Training steps of the student.
        distance: Frechet distance to the reference, over features of the teacher's down path; `None` if the clips are
            not finite.
        diversity: Distance between clips of one caption from different noise, as a share of the same for the teacher in
            as few steps; `None` if the clips are not finite.
    """

    step: int
    distance: float | None
    diversity: Annotated[float | None, Field(validation_alias=AliasChoices("diversity", "variety"))]


class StudentCheck:
    """Makes a few clips with a student and compares them with a reference.

    The reference is what the student learns from. It is clips of the guided teacher from the same noise if the target
    uses the teacher: guidance leads away from real clips, and the student should learn that, too. Otherwise it is real
    clips of the same captions.

    Args:
        teacher: The teacher. Its network turns clips into features, and its diversity is the measure of the student's.
        clips: Captions and real clips.
        config: What the student learns.
        seed: Seed of the choice of clips, and of the noise.

    Raises:
        TrainingError: The reference is not finite.
    """

    def __init__(self, teacher: VideoModel, clips: CaptionedClips, config: DistillationConfig, seed: int) -> None:
        self.teacher, self.steps, self.seed = teacher, config.steps, seed
        teacher.unet.eval()
        teacher.text_encoder.eval()
        self.path = DownPath(teacher.unet.plan)
        latents = clips.latents(unloaded_codec(teacher.space))[0]
        chosen = np.random.default_rng(derive_seed(seed, "check")).permutation(len(latents))[:PROMPTS].tolist()
        self.prompts = [latents.captions[index] for index in chosen for _ in range(CLIPS_PER_PROMPT)]
        if config.target_class.uses_teacher:
            source, hint = "the guided teacher's clips", "lower guidance_scale, or train the teacher longer"
            reference_BTCHW = self._clips(teacher, config.steps * config.substeps, config.guidance)
        else:
            source, hint = "the clips to learn from", "look for them in the data"
            reference_BTCHW = self._real(latents, chosen).repeat_interleave(CLIPS_PER_PROMPT, dim=0)
        self.reference_BK = self._features(reference_BTCHW)
        if not np.isfinite(self.reference_BK).all():
            raise TrainingError(f"{source} hold numbers that are not finite", hint=hint)
        self.teacher_BK = self._features(self._clips(teacher, config.steps))
        self.teacher_spread = _spread(self.teacher_BK)

    def at_start(self) -> Check:
        """The check of an untrained student, which is the teacher in as few steps."""
        return self._compare(self.teacher_BK, 0)

    def __call__(self, student: VideoModel, step: int) -> Check:
        """Check a student."""
        return self._compare(self._features(self._clips(student, self.steps)), step)

    def _compare(self, generated_BK: Floats, step: int) -> Check:
        if not np.isfinite(generated_BK).all():
            return Check(step=step, distance=None, diversity=None)
        diversity = _spread(generated_BK) / self.teacher_spread if self.teacher_spread else 1.0
        distance = frechet_distance(generated_BK, self.reference_BK)
        if not (np.isfinite(distance) and np.isfinite(diversity)):
            return Check(step=step, distance=None, diversity=None)
        return Check(step=step, distance=distance, diversity=diversity)

    def _real(self, latents: LatentClips, chosen: list[int]) -> torch.Tensor:
        device = next(self.teacher.unet.parameters()).device
        parts = [latents.videos(chosen[part.start : part.stop]) for part in batches(len(chosen), _BATCH)]
        return torch.cat(parts).to(device)

    def _clips(self, model: VideoModel, steps: int, guidance_scale: float = 1.0) -> torch.Tensor:
        noise_BTCHW = model.noise(len(self.prompts), derive_seed(self.seed, "check noise"))
        parts = [
            model.denoise([self.prompts[i] for i in part], noise_BTCHW[part.start : part.stop],
                          steps=steps, guidance_scale=guidance_scale)
            for part in batches(len(self.prompts), _BATCH)
        ]  # fmt: skip
        return torch.cat(parts)

    @torch.no_grad()
    def _features(self, latent_BTCHW: torch.Tensor) -> Floats:
        """Mean of each channel of each level, and its standard deviation along time."""
        context_BLD = self.teacher.text_encoder.encode(self.prompts)
        features = [
            self._features_of_batch(part_BTCHW, part_BLD)
            for part_BTCHW, part_BLD in zip(
                torch.split(latent_BTCHW, _BATCH), torch.split(context_BLD, _BATCH), strict=True
            )
        ]
        return np.asarray(torch.cat(features).double().cpu().numpy(), dtype=np.float64)

    def _features_of_batch(self, latent_BTCHW: torch.Tensor, context_BLD: torch.Tensor) -> torch.Tensor:
        timestep_B = torch.full((len(latent_BTCHW),), 0.1 * TIMESTEP_SCALE, device=latent_BTCHW.device)
        features = self.path(self.teacher.unet, latent_BTCHW, timestep_B, context_BLD)
        levels_BTC = [feature.float().mean(dim=(3, 4)) for feature in features]
        return torch.cat([part for level in levels_BTC for part in (level.mean(1), level.std(1, correction=0))], dim=1)


def _spread(feature_BK: Floats) -> float:
    """Mean distance between the two clips of each caption."""
    first_BK, second_BK = feature_BK[0::CLIPS_PER_PROMPT], feature_BK[1::CLIPS_PER_PROMPT]
    return float(np.linalg.norm(first_BK - second_BK, axis=1).mean())
