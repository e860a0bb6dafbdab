"""A registry finds built-in and installed classes by name, and says what is wrong with a name or a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import ConfigError
from nas.registry import Registry

GROUP = "nas.test_shapes"


def install(site: Path, package: str, points: str, code: str = "") -> None:
    (site / f"{package}.py").write_text(code, encoding="utf-8")
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def registry() -> Registry[OSError]:
    return Registry("shape", GROUP, "builtins:OSError", {"pipe": "builtins:BrokenPipeError"})


def test_a_built_in_class_is_found_by_name(registry: Registry[OSError]) -> None:
    assert registry.get("pipe") is BrokenPipeError
    assert registry.names() == ("pipe",)


def test_a_name_is_checked_without_loading_its_class() -> None:
    registry: Registry[OSError] = Registry("shape", GROUP, "builtins:OSError", {"pipe": "shapes_not_there:Pipe"})
    registry.check("pipe")
    with pytest.raises(ConfigError, match=r"unknown shape 'square' \(known: pipe\)"):
        registry.check("square")


def test_an_unknown_name_is_answered_with_the_known_ones(registry: Registry[OSError], site: Path) -> None:
    install(site, "shapes_known", "round = shapes_known:Round")
    with pytest.raises(ConfigError, match=r"unknown shape 'square' \(known: pipe, round\)"):
        registry.get("square")


def test_an_installed_class_is_found_by_name(registry: Registry[OSError], site: Path) -> None:
    install(site, "shapes_good", "round = shapes_good:Round", "class Round(OSError): ...")
    assert registry.get("round").__name__ == "Round"


@pytest.mark.parametrize(
    ("package", "code", "said"),
    [
        ("shapes_alien", "class Round: ...", "no subclass of OSError"),
        ("shapes_function", "def Round(): ...", "no subclass of OSError"),
        ("shapes_empty", "", "of shapes_empty cannot be imported: AttributeError"),
        ("shapes_broken", "1 / 0", "of shapes_broken cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_package_that_breaks_the_contract_is_named(
    registry: Registry[OSError], site: Path, package: str, code: str, said: str
) -> None:
    install(site, package, f"round = {package}:Round", code)
    with pytest.raises(ConfigError, match=said):
        registry.get("round")


def test_options_of_another_kind_are_refused(site: Path) -> None:
    registry: Registry[object] = Registry("sampler", GROUP, "nas.search.samplers.factory:SamplerFactory", {})
    code = "from nas.search import SamplerFactory\nclass Round(SamplerFactory):\n    class Config:\n        sides = 0"
    install(site, "shapes_options", "round = shapes_options:Round", code)
    with pytest.raises(ConfigError, match="the Config of sampler 'round' of shapes_options is no subclass of Strict"):
        registry.get("round")


def test_a_name_that_two_packages_take_names_both(registry: Registry[OSError], site: Path) -> None:
    install(site, "shapes_one", "pipe = shapes_one:Pipe")
    with pytest.raises(ConfigError, match="'pipe' is registered 2 times, by nas and shapes_one"):
        registry.get("pipe")
    assert registry.names() == ("pipe",)
