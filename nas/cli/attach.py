"""`nas attach`: clips of the front's members as artifacts of a study, for optuna-dashboard."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._common import JsonOption, SeedOption, emit_json, emit_table
from nas.cli._paths import READS_SUPERNET, WritesInto
from nas.cli._study import OneStudyOption, RunOrStudyArgument, SearchScoresOption, only_study

if TYPE_CHECKING:
    from nas.report import FrontSource


def attach(
    source: RunOrStudyArgument,
    artifact_dir: Annotated[
        Path, typer.Option(parser=WritesInto(), help="Folder of the videos; give optuna-dashboard the same one.")
    ],
    study: OneStudyOption = None,
    supernet: Annotated[
        Path | None,
        typer.Option(
            parser=READS_SUPERNET, help="Folder written by `nas train`, whose weights the clips are made with."
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="What a clip should show; repeat it for clips side by side (default: captions of the run's samples)."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Denoising steps of the clips.")] = 25,
    guidance_scale: Annotated[float, typer.Option(min=1, help="Scale of classifier-free guidance; 1 is none.")] = 3.0,
    search_scores: SearchScoresOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a video of each member of the front, and attach it to its trial as an artifact, for optuna-dashboard.

    Clips are made with the weights of the supernet, from the same noise for all members. What is attached already is
    not made again, so the same command continues after an interruption. A run has its own study and supernet.
    """
    from nas.report import ClipSettings, attach_front_clips
    from nas.search.storage.address import dashboard_url

    front, known = _source(source, study, supernet, search_scores)
    prompts = tuple(dict.fromkeys(prompt or known))
    clips = attach_front_clips(front, artifact_dir, ClipSettings(prompts, steps, guidance_scale, seed))
    url = dashboard_url(front.storage)
    command = shlex.join(["optuna-dashboard", url, "--artifact-dir", str(artifact_dir)])
    rows = [
        {
            "trial": clip.member.trial,
            "architecture": clip.member.architecture.id,
            "file": clip.file,
            "now": "attached" if clip.is_new else "was there",
        }
        for clip in clips
    ]
    if as_json:
        emit_json({"study": front.study, "prompts": list(prompts), "clips": rows, "open_with": command})
        return
    emit_table(f"clips of the front of {front.study}", rows)
    typer.echo(f"see them: {command}")


def _source(
    source: str, study: str | None, supernet: Path | None, search_scores: bool
) -> tuple[FrontSource, tuple[str, ...]]:
    """The front, and the prompts that a run knows."""
    from nas.errors import ConfigError
    from nas.files import user_path
    from nas.pipeline.front_clips import front_of_run, prompts_of_run
    from nas.report import FrontSource

    folder = Path(user_path(source))
    if not folder.is_dir():
        name = study or only_study(source)
        if supernet is None:
            raise ConfigError("needs --supernet, whose weights the clips are made with", where=f"study {name}")
        return FrontSource(source, name, supernet, search_scores), ()
    if study is not None or supernet is not None:
        raise ConfigError("a run knows its study and its supernet: leave --study and --supernet out", where=source)
    return front_of_run(folder, search_scores=search_scores), prompts_of_run(folder)
