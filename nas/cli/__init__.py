"""The command line: one module per verb, which parses, calls the library and prints.

Modules here import nothing heavy at the top, so that `nas --help` answers at once.
"""

from __future__ import annotations

import logging
import sys

import typer

from nas.cli import (
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
    rescore,
    run,
    score,
    search,
    space,
    train,
)
from nas.errors import NasError

app = typer.Typer(
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
app.command("run")(run.run)


@app.callback()
def _options(verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is being done.")) -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    from nas.environment import launcher

    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("nas").setLevel(level)
    launcher()  # what contradicts itself is said before any work


def main() -> None:
    """Entry point of the `nas` command: a user's mistake ends in one line and exit code 2."""
    try:
        app()
    except NasError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
