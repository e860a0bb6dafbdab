"""Any Python function as a quality metric."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

from nas.errors import ConfigError
from nas.files import StrictModel
from nas.models import SuperNet
from nas.models.weights import weights_digest
from nas.quality.base import Direction, MeanScore, QualityMetric
from nas.quality.context import QualityContext
from nas.space import Architecture

Scorer = Callable[..., Any]
"""`f(architecture)` or `f(architecture, network)`; returns a number, which may be a `MeanScore`."""


class FunctionOptions(StrictModel):
    """Options of a function as a metric.

    Args:
        function: The function, as `package.module:function`.
        direction: `minimize` or `maximize`; needed if the function does not carry its direction.
    """

    function: str | None = None
    direction: str | None = None


class FunctionQuality(QualityMetric):
    """A metric made of a function.

    A function of one argument gets the `Architecture`. A function of two also gets its network: a stand-alone copy with
    the weights it inherits from the supernet, which the function may change. Arguments with defaults do not count. If
    the function raises, the evaluation of that architecture has failed.

    Args:
        function: The function. It may carry its direction itself: `function.direction = "maximize"`.
        direction: `minimize` or `maximize`; needed if the function does not carry it.
        name: Recognises the metric in a study; the function's module and name by default.
        supernet: Weights for the networks; only for a function that takes a network.

    Raises:
        ConfigError: The direction is missing, unknown or contradicted; the function takes other arguments; or a
            supernet is given and the function takes no network, or the other way round.
    """

    Config = FunctionOptions

    def __init__(
        self,
        function: Scorer,
        *,
        direction: str | None = None,
        name: str | None = None,
        supernet: SuperNet | None = None,
    ) -> None:
        self.function = function
        self.name = name or _name(function)
        self.direction = _direction(function, direction, where=self.name)
        self.supernet = None if supernet is None else supernet.eval()
        if takes_network(function, where=self.name) != (supernet is not None):
            raise _supernet_error(self.name, given=supernet is not None)
        self.fingerprint = "" if supernet is None else weights_digest(supernet)

    @classmethod
    def check_options(cls, config: FunctionOptions, base: Path) -> None:
        """Import the function."""
        load_function(_given(config), where="quality metric")

    @classmethod
    def create(cls, config: FunctionOptions, context: QualityContext) -> FunctionQuality:
        """Import the function, and load the supernet if the function takes a network."""
        name = _given(config)
        function = load_function(name)
        supernet = None
        if takes_network(function, where=name):
            context.require(f"{name} takes a network and", clips=False)
            supernet = context.models().supernet
        return cls(function, direction=config.direction, name=name, supernet=supernet)

    def score(self, architecture: Architecture) -> float:
        """Call the function; raises what the function raises, and `TypeError` if it returns no number."""
        if self.supernet is None:
            value = self.function(architecture)
        else:
            value = self.function(architecture, self.supernet.extract(architecture))
        if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
            raise TypeError(f"{self.name} returned {value!r}, expected a number")
        return value if isinstance(value, MeanScore) else float(value)


def _given(config: FunctionOptions) -> str:
    if config.function is None:
        hint = "give package.module:function"
        raise ConfigError("this metric needs the option function", where="quality metric", hint=hint)
    return config.function


def load_function(spec: str, *, where: str = "--quality") -> Scorer:
    """Find a function by `package.module:function`, on `sys.path` with the current folder in front.

    Args:
        spec: Module and name, with a colon between them.
        where: The option it came from, for messages.

    Raises:
        ConfigError: The text has another form, the module is missing or fails to import, or it lacks the function.
    """
    module_name, colon, name = spec.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigError(f"expected package.module:function, got {spec!r}", where=where)
    module = _import(module_name, where)
    if not hasattr(module, name):
        raise ConfigError(f"module {module_name} has no {name!r}", where=where, hint=f"looked in {_file(module)}")
    function = getattr(module, name)
    if not callable(function):
        raise ConfigError(f"{spec} is not callable, but of type {type(function).__name__}", where=where)
    return cast(Scorer, function)


def takes_network(function: Scorer, *, where: str) -> bool:
    """Whether the signature of a function asks for a network beside the architecture.

    Raises:
        ConfigError: It can be called with neither one nor two arguments, or has no signature to read.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigError("has no signature to read its arguments from", where=where,
                          hint="wrap it in a Python function") from error  # fmt: skip
    for count in (1, 2):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 2
    raise ConfigError(f"takes {signature}, expected (architecture) or (architecture, network)", where=where)


def _import(name: str, where: str) -> Any:
    """Import a module as `python -m` would find it."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # it stays there: the function may import its neighbours later
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"no module {error.name!r}", where=where,
                              hint=f"looked in the current folder, {here}, and on sys.path") from error  # fmt: skip
        raise ConfigError(f"module {name} fails to import: {error}", where=where) from error
    except (Exception, SystemExit) as error:  # a module may fail in any way
        what = f"module {name} fails to import: {type(error).__name__}: {error}"
        raise ConfigError(what, where=where) from error


def _direction(function: Scorer, given: str | None, *, where: str) -> Direction:
    own = getattr(function, "direction", None)
    known = get_args(Direction)
    for value in (given, own):
        if value is not None and value not in known:
            raise ConfigError(f"direction {value!r} is unknown (known: {', '.join(known)})", where=where)
    if given and own and given != own:
        raise ConfigError(f"the function says it is to {own}, the direction given is {given}", where=where,
                          hint="leave one of them out")  # fmt: skip
    if not (given or own):
        raise ConfigError("it is not known whether lower or higher is better", where=where,
                          hint='give --direction, or set the attribute direction of the function')  # fmt: skip
    return cast(Direction, given or own)


def _supernet_error(name: str, *, given: bool) -> ConfigError:
    if given:
        return ConfigError("takes the architecture alone, not a supernet", where=name,
                           hint="leave it out, or let the function take (architecture, network)")  # fmt: skip
    return ConfigError("takes a network, which needs a supernet", where=name, hint="give --supernet")


def _name(function: Scorer) -> str:
    name = getattr(function, "__qualname__", None)
    if name is None:
        raise ConfigError(f"{function!r} has no name", where="quality", hint="give name=...")
    return f"{function.__module__}:{name}"


def _file(module: Any) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)
