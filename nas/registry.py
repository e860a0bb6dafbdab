"""Registries of extension points: names that stand for classes, of this project or of another package.

Each extension point has one `Registry`: its built-in classes by name, and the entry-point group through which an
installed package adds its own. A class is imported when it is first asked for, so that reading a name costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from nas.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """The classes of one extension point, by name.

    Args:
        kind: What they are, in the singular, for messages: "temporal layer".
        group: The entry-point group of other packages: "nas.temporal_layers".
        base: The abstract base class that each of them has, as "module:Class".
        builtin: Name and "module:Class" of each class that this project brings.
    """

    def __init__(self, kind: str, group: str, base: str, builtin: Mapping[str, str]) -> None:
        self.kind, self.group, self.base, self.builtin = kind, group, base, dict(builtin)

    def names(self) -> tuple[str, ...]:
        """All registered names: the built-in ones first, then those of installed packages."""
        return (*self.builtin, *(name for name in _entry_points(self.group) if name not in self.builtin))

    def get(self, name: str) -> type[T]:
        """The class of that name.

        Raises:
            ConfigError: Nothing is registered under that name; the message lists what is. Or what another package
                registers cannot be imported, is no subclass of the base, has a `Config` that is none of the base's, or
                takes a name that is taken.
        """
        self.check(name)
        if name in self.builtin:
            return cast(type[T], import_object(self.builtin[name]))
        return self._load(_entry_points(self.group)[name][0])

    def check(self, name: str) -> None:
        """Refuse a name that nothing, or more than one class, is registered under; loads no class.

        Raises:
            ConfigError: As `get`.
        """
        installed = _entry_points(self.group).get(name, ())
        if len(installed) + (name in self.builtin) > 1:
            raise self._taken(name, installed)
        if not installed and name not in self.builtin:
            raise ConfigError(f"unknown {self.kind} {name!r} (known: {', '.join(self.names())})")

    def _load(self, point: EntryPoint) -> type[T]:
        what = f"{self.kind} {point.name!r} of {_package(point)}"
        try:
            loaded = point.load()
        except Exception as problem:
            said = f"{type(problem).__name__}: {problem}"
            raise ConfigError(
                f"{what} cannot be imported: {said}", hint="repair or uninstall that package"
            ) from problem
        base = import_object(self.base)
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            raise ConfigError(f"{what} is no subclass of {base.__name__}", where=point.value)
        options, expected = getattr(loaded, "Config", None), getattr(base, "Config", None)
        if expected is not None and not (isinstance(options, type) and issubclass(options, expected)):
            raise ConfigError(f"the Config of {what} is no subclass of {expected.__name__}", where=point.value)
        return cast(type[T], loaded)

    def _taken(self, name: str, installed: tuple[EntryPoint, ...]) -> ConfigError:
        owners = [*(["nas"] if name in self.builtin else []), *map(_package, installed)]
        return ConfigError(
            f"{self.kind} {name!r} is registered {len(owners)} times, by {' and '.join(owners)}",
            hint="rename it in one of these packages, or uninstall one",
        )


def import_object(target: str) -> Any:
    """The object that "module:name" stands for; raises what importing it raises."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _entry_points(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points of a group by name; more than one where packages use the same name."""
    return _entry_points_on(group, tuple(sys.path))


@cache
def _entry_points_on(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:  # noqa: ARG001
    """Reading the metadata of all packages takes a while, and changes only with the path that they are found on."""
    by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        by_name[point.name] = (*by_name.get(point.name, ()), point)
    return by_name


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
