"""Checks that this commit can be released: see docs/releasing.md.

Run it from the root of the repository: `python -m release`, or `make release-check`.
"""

from __future__ import annotations

import argparse
import sys
import time

from release.statements import ROOT, NotReady, check_changelog, check_tag, version
from release.wheel import build, install, try_commands

WORK = ROOT / "build" / "release"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m release", description="Check that this commit can be released.")
    parser.add_argument("--preview", action="store_true", help="skip the changelog and the tag")
    try:
        _check(parser.parse_args().preview)
    except NotReady as problem:
        sys.stderr.write(f"not ready: {problem}\n")
        return 1
    return 0


def _check(preview: bool) -> None:
    number = version()
    _say(f"version {number}, stated once")
    if not preview:
        _say(f"changelog of {check_changelog((ROOT / 'CHANGELOG.md').read_text(), number)}")
        _say(check_tag(number))
    wheel = build(ROOT / "dist", number)
    _say(f"{wheel.name} of {wheel.stat().st_size / 1024:.0f} KiB, made from its sdist")
    programs = install(wheel, WORK / "environment")
    _say("installed alone into a fresh environment")
    began = time.monotonic()
    try_commands(programs, WORK / "empty", number)
    _say(f"nas --help, --version, space show and run work there; {time.monotonic() - began:.0f} s")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
