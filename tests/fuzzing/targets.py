"""What there is to try odd values on: every option of every command, and every key of every file."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzzing import values
from tests.fuzzing.bases import BASES
from tests.fuzzing.cases import Case, Target, command_line, commands, shuffled
from tests.fuzzing.keys import key_targets, raw_targets


def option_targets() -> list[Target]:
    """One for each argument and option of each command."""
    return [
        Target(f"{name} {param.opts[0]}", name, _option_cases(name, command, param))
        for name, command in commands().items()
        for param in command.params
        if param.name != "help"
    ]


def _option_cases(name: str, command: Any, param: Any) -> Callable[[int], st.SearchStrategy[Case]]:
    hints = typing.get_type_hints(inspect.unwrap(command.callback))

    def strategy(seed: int) -> st.SearchStrategy[Case]:
        @st.composite
        def cases(draw: st.DrawFn) -> Case:
            given = dict(BASES[name])
            others = [each for each in command.params if each.name not in {param.name, "help"}]
            changed = [param]
            if others and draw(st.integers(0, 3)) == 3:
                changed.append(draw(st.sampled_from(others)))
            for each in changed:
                given[each.name] = draw(st.sampled_from(shuffled(_pool(each, hints), seed, each.name)))
            return Case(f"{name} {param.opts[0]}", name, command_line(name, command, given))

        return cases()

    return strategy


def _pool(param: Any, hints: Mapping[str, Any]) -> list[Any]:
    """What to try for an argument or option."""
    hint = str(hints.get(param.name))
    if getattr(param, "is_flag", False):
        return [True, False]
    if "int" in hint or "float" in hint:
        return [text for text in values.NUMBERS if values.harmless(param.name, text)]
    if "Path" in hint:
        return [*values.PATHS, *values.PATHS, *values.TEXTS]
    words = re.findall(r"[\w.:/-]+", param.help or "") if hasattr(param, "help") else []
    return [*words, *words, *values.TEXTS, *_special(param.name)]


def _special(name: str) -> Sequence[str]:
    if name == "storage":
        return (*values.STORAGES, *values.STORAGES, *values.PATHS)
    if name in {"quality", "features"}:
        return (*values.FUNCTIONS, *values.FUNCTIONS)
    return (*values.PATHS, *values.NUMBERS) if name == "data" else values.NUMBERS


def all_targets(folder: Path) -> list[Target]:
    """Everything there is to try; `folder` holds what `world.make` has made."""
    return option_targets() + key_targets(folder) + raw_targets(folder)
