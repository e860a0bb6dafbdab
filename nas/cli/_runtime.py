"""The options that choose a runtime: its name, and its own options as `--runtime-option key=value`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nas.runtimes import Runtime

RuntimeOption = Annotated[
    str,
    typer.Option(
        help="Runtime that executes the blocks: onnxruntime, torch, coreml, coreai, or one of an installed package."
    ),
]
RuntimeOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime-option",
        metavar="KEY=VALUE",
        help="Set an option of the runtime, such as opset=21; repeat it for each option.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=1024, help="Processor threads (default: the runtime's). Short for --runtime-option threads=..."
    ),
]
ComputeUnitOption = Annotated[
    str | None,
    typer.Option(
        help="Where blocks run. Core ML takes all, cpu_and_ne, cpu_and_gpu or cpu_only (default: all); Core AI takes "
        "all, prefer_ne, prefer_gpu or cpu_only (default: all); torch takes cpu or gpu (default: cpu). Short for "
        "--runtime-option compute_unit=..."
    ),
]
DeploymentTargetOption = Annotated[
    str | None,
    typer.Option(
        "--deployment-target",
        help="Oldest system that Core ML packages run on: iOS17, iOS18 or iOS26 (default: iOS18). Short for "
        "--runtime-option deployment_target=...",
    ),
]
StoredWeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Kind of weights that blocks are stored with: int8 (Core ML, ONNX Runtime), palettized_8, palettized_6 or "
        "palettized_4 (Core ML). Default: not compressed. Short for --runtime-option weights=...",
    ),
]


def chosen_runtime(name: str, texts: list[str] | None, **shortcuts: Any) -> Runtime:
    """The runtime of a name, with the options of `given_options`.

    Raises:
        ConfigError: The runtime or an option is unknown, a value is impossible, or an option is given twice.
    """
    from nas.runtimes import get_runtime

    return get_runtime(name, **given_options(texts, **shortcuts))


def given_options(texts: list[str] | None, **shortcuts: Any) -> dict[str, Any]:
    """The options of a runtime that the command line gives.

    Args:
        texts: The values of `--runtime-option`: `key=value`.
        shortcuts: Options that have an option of their own, such as `--threads`; `None` for those left out.

    Raises:
        ConfigError: An option is given twice.
    """
    from nas.cli._options import key_values
    from nas.errors import ConfigError

    options = key_values(texts or (), "--runtime-option")
    given = {option: value for option, value in shortcuts.items() if value is not None}
    for option in given.keys() & options.keys():
        shortcut = f"--{option.replace('_', '-')}"
        raise ConfigError(f"{option} is given twice", where="options", hint=f"leave out {shortcut} or --runtime-option")
    return options | given
