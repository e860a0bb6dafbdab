"""The command line: one module per command, which parses, calls the library and prints.

Modules here import nothing heavy at the top, so that `nas --help` answers at once.
"""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

import typer

from nas.cli import (
    attach,
    bundle,
    classifier,
    compare,
    data,
    devices,
    distill,
    export,
    front,
    generate,
    latency,
    pick,
    plot,
    profile,
    report,
    rescore,
    run,
    score,
    search,
    space,
    train,
)
from nas.cli._app import App
from nas.cli._output import standard_output
from nas.errors import NasError, allocation_failure
from nas.formatting import printable

logger = logging.getLogger("nas")

app = App(
    name="nas",
    help="Search the temporal layers of a video-diffusion model for the device it must run on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(space.app, name="space")
app.command("devices")(devices.devices)
app.command("profile")(profile.profile)
app.add_typer(latency.app, name="latency")
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("search")(search.search)
app.command("rescore")(rescore.rescore)
app.command("front")(front.front)
app.command("plot")(plot.plot)
app.command("pick")(pick.pick)
app.command("distill")(distill.distill)
app.command("generate")(generate.generate)
app.command("compare")(compare.compare)
app.command("classifier")(classifier.classifier)
app.command("score")(score.score)
app.command("export")(export.export)
app.add_typer(bundle.app, name="bundle")
app.command("run")(run.run)
app.command("report")(report.report)
app.command("attach")(attach.attach)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nas {version('nas-video')}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is being done."),
    _version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Print the version and exit."
    ),
) -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    from nas.environment import check_libraries, launcher

    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logger.setLevel(level)
    check_libraries()
    launcher()  # what contradicts itself is said before any work


def main() -> None:
    """Entry point of the `nas` command: every error ends in one line.

    The exit code is 2 for what a user can solve, and 1 for what only this program can.
    """
    try:
        with standard_output():
            app()
    except NasError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        _end(f"{where}{error.strerror or str(error) or type(error).__name__}", 2)
    except Exception as error:
        if allocation_failure(error) is not None:
            _end("there is too little memory for this; make it smaller, or use a machine with more", 2)
        logger.info("what led to it:", exc_info=True)
        said = next(iter(str(error).splitlines()), "")
        hint = "this is a defect of nas, please report it; `nas --verbose ...` shows what led to it"
        _end(f"unexpected {type(error).__name__}: {said}; {hint}", 1)


def _end(line: str, exit_code: int) -> NoReturn:
    sys.stderr.write(f"error: {printable(' '.join(line.split()))}\n")
    sys.exit(exit_code)
