"""The options that say how architectures are scored, which `search` and `rescore` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._data import DATA_HELP, open_clips

if TYPE_CHECKING:
    from nas.quality import QualityMetric
    from nas.space import SearchSpace

SupernetOption = Annotated[
    Path | None, typer.Option(help="Folder written by `nas train`; weights that architectures inherit.")
]
ClipsOption = Annotated[str | None, typer.Option(help=DATA_HELP)]
FunctionOption = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="MODULE:FUNCTION",
        help="Score with a function of yours instead: of the architecture, or with --supernet also of its network.",
    ),
]
DirectionOption = Annotated[
    str | None, typer.Option(help="minimize or maximize, where the function of --quality does not say.")
]


@dataclass(frozen=True)
class QualityOptions:
    """What the options said; `None` for what was not given.

    Args:
        function: Module and name of a function, with a colon between them.
        direction: Its direction.
        supernet: Folder of a trained supernet.
        data: Name of the clips.
        batches: Batches of held-out clips.
        finetune_steps: Steps of training each architecture alone.
        seed: Seed of whatever is drawn.
    """

    function: str | None
    direction: str | None
    supernet: Path | None
    data: str | None
    batches: int | None
    finetune_steps: int | None
    seed: int


def make_quality(options: QualityOptions, space: SearchSpace, *, batches: int) -> QualityMetric:
    """The metric that the options ask for; `batches` of held-out clips where they do not say how many.

    Raises:
        ConfigError: Options contradict each other, or one is missing.
    """
    if options.function is not None:
        return _function_quality(options, options.function, space)
    return _held_out_quality(options, space, options.batches or batches)


def _function_quality(options: QualityOptions, spec: str, space: SearchSpace) -> QualityMetric:
    from nas.errors import ConfigError
    from nas.quality import FunctionQuality, load_function, takes_network
    from nas.training import load_supernet

    mine = {"--data": options.data, "--batches": options.batches, "--finetune-steps": options.finetune_steps}
    for name, value in mine.items():
        if value is not None:
            raise ConfigError(f"{name} belongs to the held-out flow loss, and means nothing to --quality",
                              where="options", hint="leave one of them out")  # fmt: skip
    function = load_function(spec)
    if options.supernet is None:
        return FunctionQuality(function, direction=options.direction, name=spec)
    if not takes_network(function, where=spec):
        raise ConfigError(f"{spec} takes the architecture alone, --supernet means nothing to it", where="options",
                          hint="leave it out, or let the function take (architecture, network)")  # fmt: skip
    supernet, _ = load_supernet(space, options.supernet)
    return FunctionQuality(function, direction=options.direction, name=spec, supernet=supernet)


def _held_out_quality(options: QualityOptions, space: SearchSpace, batches: int) -> QualityMetric:
    from nas.errors import ConfigError
    from nas.training import held_out_quality

    if options.direction is not None:
        raise ConfigError("--direction is that of a function", where="options", hint="give --quality, or leave it out")
    if options.supernet is None or options.data is None:
        missing = " and ".join(
            name for name, value in (("--supernet", options.supernet), ("--data", options.data)) if value is None
        )
        raise ConfigError(f"the held-out flow loss needs {missing}", where="options",
                          hint="or score with a function of yours, --quality module:function")  # fmt: skip
    return held_out_quality(
        space,
        options.supernet,
        open_clips(options.data, space),
        finetune_steps=options.finetune_steps,
        seed=options.seed,
        batches=batches,
    )
