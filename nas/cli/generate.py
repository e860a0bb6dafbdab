"""`nas generate`: make clips with a trained or distilled model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import DenoisingStepsOption, GuidanceOption, SeedOption
from nas.cli._paths import READS_FILE, READS_MODEL, WritesClips
from nas.cli._weights import SampledWeightsOption, compressed
from nas.formatting import counted


def generate(
    model: Annotated[
        Path,
        typer.Argument(parser=READS_MODEL, metavar="MODEL", help="Model folder, or a bundle made by `nas export`."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=WritesClips((".mp4", ".gif"), (".mp4", ".gif")),
            help="File to write: .mp4 or .gif. The other format is written beside it. With --prompts, a folder.",
        ),
    ],
    prompt: Annotated[str | None, typer.Option(help="What the clip should show.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            parser=READS_FILE,
            help="Text file with a prompt a line: write a clip of each into the folder --out, as PROMPT-INDEX.mp4.",
        ),
    ] = None,
    per_prompt: Annotated[
        int | None, typer.Option(min=1, max=1000, help="With --prompts, clips of each prompt (default: 1).")
    ] = None,
    steps: DenoisingStepsOption = None,
    guidance_scale: GuidanceOption = None,
    weights: SampledWeightsOption = None,
    seed: SeedOption = 0,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="Runtime that executes the converted networks of a bundle: onnxruntime, coreml or coreai (default: "
            "PyTorch executes the model's own weights)."
        ),
    ] = None,
    runtime_option: Annotated[
        list[str] | None,
        typer.Option(
            "--runtime-option",
            metavar="KEY=VALUE",
            help="Set an option of that runtime, such as threads=2; repeat it for each option.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="With --runtime, compare each step with the bundle's test vector first.")
    ] = False,
) -> None:
    """Write one clip as MP4 and GIF, and print how long it took; or with --prompts, many clips.

    With --prompts, the same command makes the clips that are still missing. With --runtime, only what lies in a bundle
    is executed, as an app would do it, and the time of each part is printed.
    """
    from nas.cli._bundle import clip_of_bundle
    from nas.cli._runtime import chosen_runtime
    from nas.errors import ConfigError
    from nas.files import check_suffix

    if prompts is not None:
        others = {
            "--prompt": prompt,
            "--runtime": runtime,
            "--runtime-option": runtime_option,
            "--check": check or None,
        }
        _refuse(others, "has no effect with --prompts", "leave one of them out")
        _clips_of_prompts(
            model, prompts, out, per_prompt or 1, steps=steps, guidance_scale=guidance_scale, weights=weights, seed=seed
        )
        return
    if prompt is None or per_prompt is not None:
        missing = (
            "gives what the clip should show" if prompt is None else "needs --prompts, a file with a prompt a line"
        )
        raise ConfigError(f"{'--prompt or --prompts' if prompt is None else '--per-prompt'} {missing}", where="options")
    check_suffix(out, (".mp4", ".gif"))
    if runtime is None:
        if check or runtime_option:
            option = "--check" if check else "--runtime-option"
            raise ConfigError("needs --runtime, which executes the networks of a bundle", where=option)
        _clip_of_model(model, prompt, out, steps=steps, guidance_scale=guidance_scale, weights=weights, seed=seed)
        return
    fixed = {"--steps": steps, "--guidance-scale": guidance_scale, "--weights": weights}
    hint = "leave it out, or export the model with other settings"
    _refuse(fixed, "has no effect with --runtime: a bundle is as it was exported", hint)
    clip_of_bundle(model, chosen_runtime(runtime, runtime_option), prompt, out, seed=seed, check=check)


def _refuse(options: Mapping[str, object], why: str, hint: str) -> None:
    """Raise `ConfigError` for the first of these options that was given."""
    from nas.errors import ConfigError

    for option, value in options.items():
        if value is not None:
            raise ConfigError(why, where=option, hint=hint)


def _clip_of_model(
    model: Path,
    prompt: str,
    out: Path,
    *,
    steps: int | None,
    guidance_scale: float | None,
    weights: str | None,
    seed: int,
) -> None:
    from nas.data import write_gif, write_mp4
    from nas.models import VideoModel
    from nas.report.comparison import Sampling, sample_all

    loaded = compressed(VideoModel.load(model), weights)
    defaults = loaded.generation
    scale = defaults.guidance_scale if guidance_scale is None else guidance_scale
    (made,) = sample_all([Sampling("", loaded, steps or defaults.steps, scale)], [prompt], seed=seed)
    (clip,) = made.clips_TCHW
    fps = loaded.space.file.video.fps
    write_mp4(clip, out.with_suffix(".mp4"), fps)
    write_gif(clip, out.with_suffix(".gif"), fps)
    typer.echo(f"{out.with_suffix('.mp4')}\n{out.with_suffix('.gif')}")
    typer.echo(
        f"{made.seconds_per_clip:.3g} s for the clip, {counted(made.sampling.calls, 'call')} of the denoising network"
    )


def _clips_of_prompts(
    model: Path,
    prompts: Path,
    out: Path,
    per_prompt: int,
    *,
    steps: int | None,
    guidance_scale: float | None,
    weights: str | None,
    seed: int,
) -> None:
    from nas.models import VideoModel
    from nas.report.prompt_clips import clips_of, read_prompts, record_file, write_prompt_clips

    clips = clips_of(read_prompts(prompts), per_prompt, seed)
    loaded = compressed(VideoModel.load(model), weights)
    made = write_prompt_clips(loaded, clips, out, steps=steps, guidance_scale=guidance_scale)
    typer.echo(f"{counted(made, 'clip')} made, {len(clips) - made} there before; {out} and {record_file(out)}")
