"""The reference of the Python API, in Markdown: the public names of each package, rendered by mkdocstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

NAS = Path(__file__).parents[2] / "nas"
PACKAGES = (
    "space", "models", "runtimes", "latency", "data", "quality", "training", "search", "compression", "export",
    "report", "pipeline",
)  # fmt: skip


def pages() -> Iterator[tuple[str, str]]:
    """File name and text of each page."""
    yield "index.md", _top()
    for package in PACKAGES:
        yield f"{package}.md", _page(f"nas.{package}", public_names(NAS / package / "__init__.pyi"))
    yield "errors.md", _page("nas.errors", {"NasError": "nas.errors.NasError"})
    yield "testing.md", _page("nas.testing", _conformances())


def public_names(stub: Path) -> dict[str, str]:
    """Name, and where it is defined, of each class, function and constant that a package's stub lists."""
    package = ".".join(stub.parent.relative_to(NAS.parent).parts)
    return {
        alias.name: f"{package}.{line.module}.{alias.name}"
        for line in ast.parse(stub.read_text()).body
        if isinstance(line, ast.ImportFrom) and line.module is not None
        for alias in line.names
    }


def _conformances() -> dict[str, str]:
    lines = ast.parse((NAS / "testing" / "__init__.py").read_text()).body
    return {
        alias.name: f"{line.module}.{alias.name}"
        for line in lines
        if isinstance(line, ast.ImportFrom) and line.module != "__future__"
        for alias in line.names
    }


def _page(package: str, names: dict[str, str]) -> str:
    head = f"# {package}\n\n::: {package}\n    options:\n      members: false\n      show_root_heading: false"
    return "\n\n".join([head, *(f"::: {package}.{name}" for name in sorted(names))]) + "\n"


def _top() -> str:
    names = public_names(NAS / "__init__.pyi")
    rows = [f"| `nas.{name}` | [`{_home(place)}`][{_home(place)}] |" for name, place in sorted(names.items())]
    packages = ", ".join(f"[`nas.{name}`]({name}.md)" for name in (*PACKAGES, "errors"))
    return "\n\n".join([
        "# Python API",
        "`import nas` has the names that a script needs. [The whole pipeline in Python](../python.md) uses them.",
        "\n".join(["| name | defined in |", "| --- | --- |", *rows]),
        f"More public names are in the packages: {packages}. [`nas.testing`](testing.md) has the tests that an"
        " extension inherits. Names that no page here lists may change.",
        *(f"::: {place}" for place in _elsewhere(names)),
    ]) + "\n"  # fmt: skip


def _elsewhere(names: dict[str, str]) -> list[str]:
    """Names of `nas` that no page of a package shows."""
    shown = {home for package in PACKAGES for home in public_names(NAS / package / "__init__.pyi").values()}
    homes = (_home(place) for name, place in sorted(names.items()) if name != "NasError")
    return [home for home in homes if home not in shown]


def _home(place: str) -> str:
    """Where a name of `nas` is defined: its package lists it under its own module."""
    package, _, name = place.rpartition(".")
    stub = NAS.parent.joinpath(*package.split(".")) / "__init__.pyi"
    return public_names(stub).get(name, place) if stub.exists() else place
