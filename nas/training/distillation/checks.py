"""What tells a good student from a bad one while it is trained, whatever the clips show.

Shape suffixes: B clips, K numbers per clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nas.data import ClipDataset
from nas.data.pixels import to_pixels
from nas.errors import TrainingError
from nas.files import derive_seed
from nas.models import VideoModel, make_codec
from nas.models.flow import TIMESTEP_SCALE
from nas.models.network import evaluate
from nas.models.video_model import batches
from nas.quality import frechet_distance
from nas.quality.samples import Floats
from nas.space import down_path

PROMPTS, CLIPS_PER_PROMPT = 32, 2
_BATCH = 16


@dataclass(frozen=True)
class Check:
    """A student's clips, beside real ones of the same captions.

    Args:
        step: Steps of its training.
        distance: Frechet distance over the features of the teacher's down path.
        variety: How far clips of one caption, from different noise, are apart; 1 is the teacher in as few steps.
    """

    step: int
    distance: float
    variety: float


class StudentCheck:
    """Makes a few clips with a student and compares them.

    Args:
        teacher: Sees the clips, and says how far apart clips of one caption are.
        clips: Where captions and real clips are from.
        steps: Denoising steps of the student.
        seed: Of the choice of clips, and of the noise.
    """

    def __init__(self, teacher: VideoModel, clips: ClipDataset, steps: int, seed: int) -> None:
        self.teacher, self.steps, self.seed = teacher, steps, seed
        teacher.unet.eval()
        teacher.text_encoder.eval()
        self.encoder, self.levels = down_path(teacher.unet.plan)
        chosen = np.random.default_rng(derive_seed(seed, "check")).permutation(len(clips))[:PROMPTS].tolist()
        video_BTCHW, captions = clips.batch(chosen)
        self.prompts = [caption for caption in captions for _ in range(CLIPS_PER_PROMPT)]
        device = next(teacher.unet.parameters()).device
        latent_BTCHW = make_codec(teacher.space).encode(to_pixels(video_BTCHW)).to(device)
        self.real_BK = self._features(latent_BTCHW.repeat_interleave(CLIPS_PER_PROMPT, dim=0))
        self._apart = self._apart_of(self._features(self._clips(teacher)))

    def __call__(self, student: VideoModel, step: int) -> Check:
        """Look at a student.

        Raises:
            TrainingError: Its clips are not finite.
        """
        made_BTCHW = self._clips(student)
        if not torch.isfinite(made_BTCHW).all():
            raise TrainingError(f"the student's clips are not finite at step {step}", hint="lower learning_rate")
        made_BK = self._features(made_BTCHW)
        variety = self._apart_of(made_BK) / max(self._apart, 1e-12)
        return Check(step, frechet_distance(made_BK, self.real_BK), variety)

    def _clips(self, model: VideoModel) -> torch.Tensor:
        noise_BTCHW = model.noise(len(self.prompts), derive_seed(self.seed, "check noise"))
        parts = [
            model.denoise([self.prompts[i] for i in part], noise_BTCHW[part.start : part.stop],
                          steps=self.steps, guidance_scale=1.0)
            for part in batches(len(self.prompts), _BATCH)
        ]  # fmt: skip
        return torch.cat(parts)

    @torch.no_grad()
    def _features(self, latent_BTCHW: torch.Tensor) -> Floats:
        """Mean of each channel of each level, and its deviation along time."""
        context_BLD = self.teacher.text_encoder.encode(self.prompts)
        timestep_B = torch.full((len(latent_BTCHW),), 0.1 * TIMESTEP_SCALE, device=latent_BTCHW.device)
        inputs = {"sample": latent_BTCHW, "timestep": timestep_B, "context": context_BLD}
        features = evaluate(self.encoder, self.teacher.unet, inputs, self.levels)
        means = [feature.float().mean(dim=(3, 4)) for feature in features]
        seen_BK = torch.cat([each for mean in means for each in (mean.mean(1), mean.std(1, correction=0))], dim=1)
        return np.asarray(seen_BK.double().cpu().numpy(), dtype=np.float64)

    @staticmethod
    def _apart_of(feature_BK: Floats) -> float:
        """Mean distance between the clips of one caption."""
        one_BK, other_BK = feature_BK[0::CLIPS_PER_PROMPT], feature_BK[1::CLIPS_PER_PROMPT]
        return float(np.linalg.norm(one_BK - other_BK, axis=1).mean())
