"""The set-up of the Makefile: what running needs alone, then what developing needs, each when it is due."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("Makefile", "pyproject.toml", "constraints.txt")
LOGGING = '#!/bin/sh\necho "$@" >> log\n'

TO_RUN = "pip install --constraint constraints.txt --editable ."
TO_DEVELOP = "pip install --constraint constraints.txt --editable .[dev]"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the Makefile, whose Python notes what it is asked to do."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "nas"):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(LOGGING)
        program.chmod(0o755)
    return tmp_path


def _made(place: Path, target: str) -> list[str]:
    """What a target installs, and the last thing that it does."""
    log = place / "log"
    log.unlink(missing_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(["make", "-s", target], cwd=place, env=clean, check=True)
    lines = log.read_text().splitlines()
    return [line.removeprefix("-m ") for line in lines if "--editable" in line or line == lines[-1]]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_the_quickstart_installs_what_running_needs_and_tests_add_the_rest(place: Path) -> None:
    run = "run examples/quickstart.yaml"
    assert _made(place, "quickstart") == [TO_RUN, run]
    assert _made(place, "quickstart") == [run]
    first = _made(place, "test")
    assert first[0] == TO_DEVELOP
    assert first[1].startswith("pytest")
    assert _made(place, "test") == first[1:]
    assert _made(place, "quickstart") == [run]

    later = time.time() + 5
    os.utime(place / "constraints.txt", (later, later))
    for name in (".installed", ".installed-to-run"):
        os.utime(place / ".venv" / name, (later - 9, later - 9))
    assert _made(place, "test")[:2] == [TO_RUN, TO_DEVELOP]
