"""Builds the documentation site into `build/site`, and fails on any warning, broken link or page without a link to it.

Run it from the root of the repository: `python -m docs.site`, or `make docs`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from docs.site.checking import problems
from docs.site.staging import ROOT, Staging

SITE = ROOT / "build" / "site"


def main() -> int:
    Staging(ROOT / "build" / "docs").write()
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        return 1
    found = problems(SITE.resolve())
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{SITE}: {len(list(SITE.rglob('*.html')))} pages, {len(found)} problems\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
