"""The packages under `examples/` that extend nas, installed for a test."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def install(example: str, site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a package of `examples/` on the path of this process, as pip would install it, until the test ends.

    Args:
        example: Name of its folder, e.g. `custom_runtime`.
        site: Folder to install to.
        monkeypatch: Of the test; it takes the package off the path again, and forgets its modules.

    Returns:
        The folder, as a fresh process needs it on its PYTHONPATH.
    """
    folder = EXAMPLES / example
    modules = sorted(folder.glob("*.py"))
    site.mkdir(parents=True, exist_ok=True)
    for module in modules:
        shutil.copy(module, site)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(_entry_points(project))
    monkeypatch.syspath_prepend(site)
    for module in modules:
        # Put in first, so that monkeypatch takes out what the test imports.
        monkeypatch.setitem(sys.modules, module.stem, None)
        del sys.modules[module.stem]
    return site


def _entry_points(project: dict[str, Any]) -> str:
    """The entry points of all groups, in the format of installed metadata."""
    groups = project["entry-points"].items()
    return "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups)
