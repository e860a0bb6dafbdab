"""The sampler of a model, written out as numbers, so that a program needs no scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nas.files import StrictModel

if TYPE_CHECKING:
    from nas.models import Generation


class SamplerStep(StrictModel):
    """One denoising step: `latent = latent + velocity_factor * velocity`.

    Args:
        timestep: What the denoising network is told.
        noise_level: Share of noise in the latent before the step, in [0, 1]; for readers only.
        velocity_factor: Factor on the predicted velocity: the next noise level minus this one.
    """

    timestep: float
    noise_level: float
    velocity_factor: Annotated[float, Field(lt=0)]


class Sampler(StrictModel):
    """Euler steps along the path of rectified flow (Liu et al. 2022, arXiv 2209.03003).

    Args:
        method: Name of the rule that the steps follow.
        guidance_scale: Weight of classifier-free guidance (Ho and Salimans 2022). At 1 the network is called once a
            step. At any other value it is called twice, with the context of the prompt and with that of the empty
            caption, and the velocity is `empty + guidance_scale * (prompt - empty)`.
        steps: The steps, in order.
    """

    method: Literal["flow_matching_euler"] = "flow_matching_euler"
    guidance_scale: Annotated[float, Field(ge=1)]
    steps: Annotated[tuple[SamplerStep, ...], Field(min_length=1)]

    @classmethod
    def of(cls, generation: Generation) -> Sampler:
        """The sampler of a model's own settings; the numbers are those of diffusers' scheduler."""
        from nas.models.video_model import flow_schedule

        scheduler = flow_schedule(generation.steps, generation.shift)
        levels = [float(level) for level in scheduler.sigmas]
        steps = tuple(
            SamplerStep(timestep=float(timestep), noise_level=level, velocity_factor=after - level)
            for timestep, level, after in zip(scheduler.timesteps, levels[:-1], levels[1:], strict=True)
        )
        return cls(guidance_scale=generation.guidance_scale, steps=steps)

    @property
    def is_guided(self) -> bool:
        """Whether each step also needs a call with the empty caption."""
        return self.guidance_scale != 1
