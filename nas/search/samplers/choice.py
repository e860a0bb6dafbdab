"""Which sampler a search uses: a registered one, a function of the user, or a sampler of Optuna."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from nas.errors import ConfigError, NasError
from nas.files import StrictModel, parse
from nas.registry import Registry
from nas.search.objective import Objective
from nas.search.samplers.factory import SamplerFactory

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_BUILTIN = "nas.search.samplers.builtin:"

SAMPLERS: Registry[SamplerFactory] = Registry(
    kind="sampler",
    group="nas.samplers",
    base="nas.search.samplers.factory:SamplerFactory",
    builtin={
        "pareto": f"{_BUILTIN}Pareto",
        "random": f"{_BUILTIN}Random",
        "nsga2": f"{_BUILTIN}NSGA2",
        "nsga3": f"{_BUILTIN}NSGA3",
        "tpe": f"{_BUILTIN}TPE",
        "exhaustive": f"{_BUILTIN}Exhaustive",
    },
)
"""All samplers: the built-in ones, and those of installed packages."""


@dataclass(frozen=True)
class SamplerChoice:
    """The sampler of a search.

    Args:
        name: Its name, for messages.
        factory: Makes it.
        options: Its options that differ from the defaults, as plain data.
    """

    name: str
    factory: SamplerFactory
    options: Mapping[str, Any] = field(default_factory=dict)


def choose_sampler(sampler: str | SamplerFactory | BaseSampler, options: Mapping[str, Any]) -> SamplerChoice:
    """Find a sampler.

    Args:
        sampler: A registered name, `module:factory`, a factory, or a sampler of Optuna.
        options: Its options. Only a sampler that is named takes any.

    Raises:
        ConfigError: The name is unknown, cannot be imported, or does not take these options.
    """
    if isinstance(sampler, str):
        return _named(sampler, options)
    if options:
        raise ConfigError("sampler_options are for a sampler that is given by name", where="search")
    if isinstance(sampler, SamplerFactory):
        return SamplerChoice(_path(type(sampler)), sampler, _plain(sampler.config))
    return SamplerChoice(_path(type(sampler)), _Made(sampler))


def find_sampler(name: str) -> type[SamplerFactory] | Callable[..., Any]:
    """What makes a sampler: the class of a registered name, or what `module:factory` names.

    Raises:
        ConfigError: The name is unknown, or cannot be imported.
    """
    if ":" not in name:
        return SAMPLERS.get(name)
    from nas.quality.function import load_function  # with torch

    return load_function(name, where="sampler")


def _named(name: str, options: Mapping[str, Any]) -> SamplerChoice:
    maker = find_sampler(name)
    if isinstance(maker, type) and issubclass(maker, SamplerFactory):
        return _registered(name, maker, options)
    function = cast(Callable[..., Any], maker)
    try:
        inspect.signature(function).bind(None, 0, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"sampler {name} cannot be called as factory(objective, seed, **options): {error}",
                          hint=f"options: {', '.join(options) or 'none'}") from error  # fmt: skip
    return SamplerChoice(name, _Function(name, function, options), options)


def _registered(name: str, kind: type[SamplerFactory], options: Mapping[str, Any]) -> SamplerChoice:
    if options and not kind.Config.model_fields:
        raise ConfigError(f"sampler {name} has no options, got {', '.join(options)}")
    config = parse(dict(options), kind.Config, where=None)
    return SamplerChoice(name, kind(config), _plain(config))


def _plain(config: StrictModel) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_defaults=True)


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


class _Function(SamplerFactory):
    """The factory of a function `factory(objective, seed, **options)`."""

    def __init__(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        super().__init__(self.Config())
        self.name, self.function, self.options = name, function, dict(options)

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """Call the function."""
        from optuna.samplers import BaseSampler

        try:
            sampler = self.function(objective, seed, **self.options)
        except NasError:
            raise
        except Exception as problem:
            said = f"{type(problem).__name__}: {problem}"
            raise ConfigError(f"sampler {self.name} cannot be made: {said}") from problem
        if not isinstance(sampler, BaseSampler):
            raise ConfigError(f"sampler {self.name} returned {sampler!r}, expected a sampler of Optuna")
        return sampler


class _Made(SamplerFactory):
    """The factory of a sampler that exists already, with random numbers of its own."""

    def __init__(self, sampler: BaseSampler) -> None:
        super().__init__(self.Config())
        self.sampler = sampler

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """Return the sampler."""
        return self.sampler
