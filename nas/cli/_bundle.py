"""Making a clip with a bundle, and printing how long that took beside what was predicted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nas.cli._common import emit_table

if TYPE_CHECKING:
    from nas.export import ParityReport
    from nas.export.manifest import Manifest
    from nas.export.running.checking import Compared
    from nas.export.running.generating import BundleModel
    from nas.runtimes import Runtime

_PARTS = {"text_encoder": "text encoder", "unet": "denoising network", "decoder": "decoder"}


def clip_of_bundle(bundle: Path, runtime: Runtime, prompt: str, out: Path, *, seed: int, check: bool) -> None:
    """Write the clip of a prompt as MP4 and GIF, and print the milliseconds of each part."""
    import torch

    from nas.data import to_bytes, write_gif, write_mp4
    from nas.export import BundleModel, check_bundle
    from nas.models.flow import starting_noise

    model = BundleModel.open(bundle, runtime)
    tokens = model.tokenize(prompt)
    if check:
        _print_check(check_bundle(model), bundle, runtime)
    noise = starting_noise(model.manifest.latent.shape[1:], seed, [0]).numpy()
    model.warm_up(noise)
    clip = to_bytes(torch.from_numpy(model.make(tokens, noise).frames_BTCHW).float())[0]
    write_mp4(clip, out.with_suffix(".mp4"), model.manifest.clip.fps)
    write_gif(clip, out.with_suffix(".gif"), model.manifest.clip.fps)
    typer.echo(f"{out.with_suffix('.mp4')}\n{out.with_suffix('.gif')}")
    emit_table(f"Milliseconds, {runtime.name} on {runtime.device}", _latency_rows(model))
    if model.manifest.latency is not None:
        typer.echo(_basis(model.manifest))
    if (reason := runtime.unmeasurable_reason()) is not None:
        typer.echo(f"these milliseconds say nothing about a device: {reason}")


def _latency_rows(model: BundleModel) -> list[dict[str, Any]]:
    """A row for each part, and one for the clip."""
    predicted = model.manifest.latency or {}
    rows = [
        {"part": _PARTS[name], "calls": len(part.times_ms), "ms per call": part.call_ms,
         "predicted": predicted.get(f"{name}_ms")}
        for name, part in model.parts.items()
    ]  # fmt: skip
    total_ms = sum(sum(part.times_ms) for part in model.parts.values())
    clip = {"part": "clip", "calls": None, "ms per call": total_ms, "predicted": predicted.get("pipeline_ms")}
    return [*rows, clip]


def _basis(manifest: Manifest) -> str:
    """Where the predicted latency comes from."""
    latency = manifest.latency or {}
    calls = latency.get("unet_calls")
    return (
        f"predicted for {latency.get('device')} with {latency.get('runtime')}, from {latency.get('provenance')} "
        f"latencies of blocks and {calls} calls of the denoising network"
    )


def _print_check(compared: tuple[Compared, ...], bundle: Path, runtime: Runtime) -> None:
    rows = [
        {"tensor": row.name, "PSNR (dB)": "equal" if row.psnr_db == math.inf else f"{row.psnr_db:.1f}",
         "largest difference": row.max_abs_error}
        for row in compared
    ]  # fmt: skip
    emit_table(f"{bundle} with {runtime.name}, against the test vector", rows)


def parity_text(parity: ParityReport) -> str:
    """The difference to torch in a few words."""
    if parity.status != "measured":
        return parity.status
    return "equal" if parity.psnr_db is None else f"{parity.psnr_db:.1f} dB"
