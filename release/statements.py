"""What a release states about itself: its version in one place, a dated changelog, a tag on the commit."""

from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
FINAL = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


BETWEEN = "Between releases nothing is wrong: `make release-check CHECK=--preview` skips the changelog and the tag"


class NotReady(Exception):
    """A check that does not hold, with what to do."""


def version(root: Path = ROOT) -> str:
    """The version, from the only file that states it.

    Raises:
        NotReady: It is not stated once, or not as `1.2.3` or `1.2.3rc1`.
    """
    stated = VERSION.findall((root / "nas" / "__init__.py").read_text())
    if len(stated) != 1 or not FINAL.fullmatch(stated[0]):
        raise NotReady(f"nas/__init__.py states the version {len(stated)} times: {stated}; state it once, as 1.2.3")
    settings = (root / "pyproject.toml").read_text()
    if re.search(r"^version\s*=", settings, re.MULTILINE) or 'dynamic = ["version"]' not in settings:
        raise NotReady("pyproject.toml states a version; leave it to nas/__init__.py")
    return str(stated[0])


def check_changelog(text: str, number: str, today: date | None = None) -> str:
    """The day of a version in the changelog.

    Args:
        text: The changelog.
        number: The version.
        today: The day that a message proposes.

    Raises:
        NotReady: It has no dated section, or something is still under Unreleased.
    """
    heading = f"`## [{number}] - {today or date.today()}`"
    sections = dict(re.findall(r"^## \[([^\]]+)\](.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    day = re.match(r" - (\d{4}-\d\d-\d\d)\n", sections.get(number, ""))
    if number in sections and not day:
        raise NotReady(f"the heading of {number} in CHANGELOG.md has no day; make it {heading}")
    if not day:
        raise NotReady(
            f"CHANGELOG.md has no heading of {number}; rename `## [Unreleased]` to {heading}, and begin an empty "
            f"`## [Unreleased]` above it. {BETWEEN}"
        )
    if sections.get("Unreleased", "").strip():
        raise NotReady(
            f"CHANGELOG.md has entries under Unreleased, but {number} is dated {day[1]} already; raise __version__ in "
            f"nas/__init__.py and give them its heading, or move them to {number} if nobody has it yet. {BETWEEN}"
        )
    return day[1]


def check_tag(number: str, root: Path = ROOT) -> str:
    """The name of the tag, which HEAD has or still needs.

    Raises:
        NotReady: Another commit has it, or HEAD has the tag of another version.
    """
    name = f"v{number}"
    here = _git(root, "tag", "--points-at", "HEAD", "--list", "v*")
    if name in _git(root, "tag", "--list", name) and name not in here:
        raise NotReady(f"the tag {name} is on another commit; raise the version")
    if here and name not in here:
        raise NotReady(f"this commit has the tag {', '.join(here)}, and its version is {number}")
    return f"{name} is on this commit" if here else f"no tag yet; name it {name}"


def _git(root: Path, *words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.split()
