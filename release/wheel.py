"""Builds wheel and sdist, installs the wheel alone into a fresh environment, and runs commands of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from release.statements import ROOT, NotReady

NOT_INSTALLED = {"pytest", "mypy", "ruff", "hypothesis", "zensical", "pre-commit", "optuna-dashboard"}
"""Development packages: none of them may be needed, so none of them may be there."""


def build(out: Path, number: str) -> Path:
    """Build both files; the wheel is made from the sdist, so the sdist is complete.

    Returns:
        The wheel.
    """
    for old in out.glob("nas_video-*"):
        old.unlink()
    run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], out.parent)
    wheel, sdist = out / f"nas_video-{number}-py3-none-any.whl", out / f"nas_video-{number}.tar.gz"
    built = sorted(file.name for file in out.glob("nas_video-*"))
    if not (wheel.is_file() and sdist.is_file()):
        raise NotReady(f"dist/ has {', '.join(built)}, not wheel and sdist of {number}")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """A fresh environment with the wheel and what it needs.

    Returns:
        The folder of its programs.
    """
    shutil.rmtree(environment, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(environment)], environment.parent)
    programs = environment / "bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    # torch first and alone, as in the Makefile.
    run([*pip, "torch"], environment.parent)
    run([*pip, str(wheel)], environment.parent)
    listed = run([str(programs / "python"), "-m", "pip", "list", "--format", "freeze"], environment.parent)
    unwanted = NOT_INSTALLED & {line.partition("==")[0].lower() for line in listed.splitlines()}
    if unwanted:
        raise NotReady(f"the wheel brings development packages: {', '.join(sorted(unwanted))}")
    return programs


def try_commands(programs: Path, folder: Path, number: str) -> None:
    """Run the smallest example with the installed command, in a folder that has nothing of the repository but it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "smallest", folder / "examples" / "smallest")
    nas = str(programs / "nas")
    if "Usage: nas" not in run([nas, "--help"], folder):
        raise NotReady("nas --help shows no usage")
    if run([nas, "--version"], folder).split() != ["nas", number]:
        raise NotReady(f"nas --version is not {number}")
    run([nas, "space", "show", "examples/smallest/space.yaml"], folder)
    run([nas, "run", "examples/smallest/run.yaml"], folder)
    made = folder / "runs" / "smallest"
    missing = [name for name in ("export/bundle/manifest.json", "summary/summary.html") if not (made / name).is_file()]
    if missing:
        raise NotReady(f"nas run made no {', '.join(missing)}")


def run(command: Sequence[str], folder: Path) -> str:
    """What a command prints; nothing of this repository is on its path.

    Raises:
        NotReady: It failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = re.sub(r"\s+$", "", done.stderr or done.stdout)[-2000:]
        raise NotReady(f"{' '.join(command)} ended with {done.returncode}:\n{last}")
    return done.stdout
