"""`nas compare`: clips of a distilled model beside those of its teacher, for the same prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SeedOption, emit_json, emit_table
from nas.cli._paths import READS_MODEL, WRITES_SHEET
from nas.cli._weights import known_kind


def compare(
    student: Annotated[
        Path, typer.Argument(parser=READS_MODEL, metavar="STUDENT", help="Model folder made by `nas distill`.")
    ],
    teacher: Annotated[Path, typer.Option(parser=READS_MODEL, help="Model folder of its teacher.")],
    prompt: Annotated[list[str], typer.Option(help="What a clip should show; repeat it for more rows.")],
    out: Annotated[
        Path,
        typer.Option(
            parser=WRITES_SHEET,
            help="Contact sheet to write: frames as .png, .svg or .pdf, or moving as .webp or .gif.",
        ),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Also draw the student with weights of this kind: fp16, int8, palettized_8, palettized_6 or "
            "palettized_4; repeat it for each kind.",
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw clips of the teacher, the teacher with as few steps, and the student, for the same prompts and noise.

    With --weights, the student is also drawn with compressed weights.
    """
    from nas.models import VideoModel
    from nas.report.comparison import plot_contact_sheet, sample_all, student_and_teacher, with_weights
    from nas.report.moving_sheet import MOVING, write_moving_sheet

    kinds = [kind for kind in map(known_kind, weights or ()) if kind is not None]
    samplings = student_and_teacher(VideoModel.load(student), VideoModel.load(teacher))
    compressed = [with_weights(samplings[-1], VideoModel.load(student), kind) for kind in kinds]
    sampled = sample_all([*samplings, *compressed], prompt, seed=seed)
    if out.suffix.lower() in MOVING:
        write_moving_sheet(sampled, prompt, out, samplings[0].model.space.file.video.fps)
    else:
        plot_contact_sheet(sampled, prompt, out)
    rows = [
        {
            "sampled": result.sampling.label,
            "steps": result.sampling.steps,
            "guidance": result.sampling.guidance_scale,
            "calls": result.sampling.calls,
            "seconds per clip": round(result.seconds_per_clip, 4),
        }
        for result in sampled
    ]
    if as_json:
        emit_json({"sheet": str(out), "rows": rows})
    else:
        emit_table(str(out), rows)
