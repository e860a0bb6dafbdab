"""Making clips with a bundle: what lies in it is executed, and nothing else.

No module is built of the search space. A program on a phone does the same, see `docs/app.md` and
`examples/run_bundle.py`.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from nas.export.manifest import PARTS, Manifest, Network, Part
from nas.export.running.integrity import check_files
from nas.export.running.selection import networks_of, tokenizer_files
from nas.export.sampler import SamplerStep
from nas.export.tokenizers import tokenize
from nas.files import require_whole
from nas.runtimes import Array, Executable, Runtime

logger = logging.getLogger(__name__)

_MS = 1e3


@dataclass
class PartCalls:
    """The programs of one part, and how long their calls have taken.

    Args:
        programs: Networks with their executables, in order of execution.
        times_ms: Milliseconds of each call of all of them.
    """

    programs: tuple[tuple[Network, Executable], ...]
    times_ms: list[float] = field(default_factory=list)

    def __call__(self, **values: Array) -> Array:
        """The output of the last program; each reads its inputs by name."""
        began = time.perf_counter()
        for network, executable in self.programs:
            made = executable.run_all([values[tensor.name] for tensor in network.inputs])
            # A network in fp16 returns fp16; the sampler's sums are made in fp32.
            numbers = (array.astype(np.float32, copy=False) for array in made)
            values |= zip((tensor.name for tensor in network.outputs), numbers, strict=True)
        self.times_ms.append(_MS * (time.perf_counter() - began))
        return values["output"]

    @property
    def call_ms(self) -> float:
        """Milliseconds of a call: the median."""
        return median(self.times_ms)


@dataclass(frozen=True)
class BundleClip:
    """A clip that a bundle has made.

    Args:
        context_BLD: The text encoder's output for the caption.
        latents_BTCHW: The latents after each step.
        frames_BTCHW: Pixels in [-1, 1].
    """

    context_BLD: Array
    latents_BTCHW: tuple[Array, ...]
    frames_BTCHW: Array


class BundleModel:
    """The networks of a bundle, loaded by one runtime.

    Args:
        root: The bundle.
        manifest: Its manifest.
        parts: The programs of each part.
    """

    def __init__(self, root: Path, manifest: Manifest, parts: Mapping[Part, PartCalls]) -> None:
        self.root, self.manifest, self.parts = root, manifest, parts

    @classmethod
    def open(cls, folder: str | Path, runtime: Runtime) -> BundleModel:
        """Load the networks of a runtime from a bundle; a warning says if an interpreter will execute them.

        Args:
            folder: The bundle.
            runtime: What executes them.

        Raises:
            CheckpointError: The folder is no bundle, or a file is missing, damaged or not the one that was exported.
            ConfigError: The bundle has no networks for this runtime, or its manifest has an impossible key.
            OutOfMemoryError: The networks need more memory than there is.
            RuntimeUnavailableError: The runtime cannot execute here.
        """
        root = Path(folder)
        require_whole(root)
        manifest = Manifest.load(root)
        networks = networks_of(manifest, runtime.name, root)
        runtime.require_available()
        if (stand_in := runtime.unmeasurable_reason()) is not None:
            logger.warning("%s", _slow_text(stand_in, manifest))
        check_files(root, manifest, [*(network.path for network in networks), *tokenizer_files(manifest)])
        parts = {part: PartCalls(tuple(_loaded(networks, part, runtime, root))) for part in PARTS}
        return cls(root, manifest, parts)

    def tokenize(self, prompt: str) -> Array:
        """Token numbers (1, L) of a prompt; raises as `nas.export.tokenizers.tokenize`."""
        return tokenize(self.manifest.tokenizer, prompt, self.root)

    def warm_up(self, noise_BTCHW: Array) -> None:
        """Call each network once and forget how long it took: first calls allocate memory."""
        context_BLD = self.parts["text_encoder"](tokens=self.tokenize(""))
        self._velocity(noise_BTCHW, self.manifest.sampler.steps[0].timestep, context_BLD)
        self.parts["decoder"](latent=noise_BTCHW)
        for part in self.parts.values():
            part.times_ms.clear()

    def make(self, tokens_BL: Array, noise_BTCHW: Array) -> BundleClip:
        """Make a clip.

        Args:
            tokens_BL: Numbers of the caption, of batch 1.
            noise_BTCHW: The first latent, float32, in the manifest's shape.
        """
        context_BLD, empty_BLD = self.contexts(tokens_BL)
        latent_BTCHW, latents = noise_BTCHW, []
        for step in self.manifest.sampler.steps:
            latent_BTCHW = self.step(latent_BTCHW, step, context_BLD, empty_BLD)
            latents.append(latent_BTCHW)
        return BundleClip(context_BLD, tuple(latents), self.decode(latent_BTCHW))

    def contexts(self, tokens_BL: Array) -> tuple[Array, Array]:
        """Contexts (1, L, D) of a caption and of the empty one, which only guidance computes."""
        context_BLD = self.parts["text_encoder"](tokens=tokens_BL)
        if not self.manifest.sampler.is_guided:
            return context_BLD, context_BLD
        return context_BLD, self.parts["text_encoder"](tokens=self.tokenize(""))

    def step(self, latent_BTCHW: Array, step: SamplerStep, context_BLD: Array, empty_BLD: Array) -> Array:
        """The latent after one step of the sampler."""
        velocity_BTCHW = self._velocity(latent_BTCHW, step.timestep, context_BLD)
        if self.manifest.sampler.is_guided:
            without_BTCHW = self._velocity(latent_BTCHW, step.timestep, empty_BLD)
            scale = np.float32(self.manifest.sampler.guidance_scale)
            velocity_BTCHW = without_BTCHW + scale * (velocity_BTCHW - without_BTCHW)
        return latent_BTCHW + np.float32(step.velocity_factor) * velocity_BTCHW

    def decode(self, latent_BTCHW: Array) -> Array:
        """Pixels (1, T, 3, H, W) in [-1, 1] of the last latent."""
        return self.parts["decoder"](latent=latent_BTCHW)

    def _velocity(self, latent_BTCHW: Array, timestep: float, context_BLD: Array) -> Array:
        return self.parts["unet"](sample=latent_BTCHW, timestep=np.array([timestep], np.float32), context=context_BLD)


def _slow_text(stand_in: str, manifest: Manifest) -> str:
    """What a clip takes where another program executes the networks than on a device."""
    calls = len(manifest.sampler.steps) * (2 if manifest.sampler.is_guided else 1)
    weights = sum(manifest.parameters.values())
    size = f"{calls} calls of the denoising network, and the bundle has {weights:,} weights"
    return f"{stand_in}; a clip takes {size}: large networks take hours"


def _loaded(
    networks: Iterable[Network], part: Part, runtime: Runtime, root: Path
) -> Iterable[tuple[Network, Executable]]:
    return ((network, runtime.load(root / network.path)) for network in networks if network.part == part)
