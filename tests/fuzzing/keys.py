"""Tries of every key of every file, and of every file with other bytes in it."""

from __future__ import annotations

import copy
import json
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from hypothesis import strategies as st

from tests.fuzzing import values
from tests.fuzzing.bases import BASES, RAW, Arguments, Kind, kinds
from tests.fuzzing.cases import Case, Target, command_line, commands, shuffled


def key_targets(folder: Path) -> list[Target]:
    """One for each key of each kind of file; `folder` holds what `world.make` has made."""
    found = []
    for name, kind in kinds().items():
        prefix: Path_ = ("layers", "wide") if name == "layer" else ()
        paths = dict.fromkeys(prefix + path for model in kind.models() for path in keys_of(model))
        for path in paths:
            label = f"{name}: {'.'.join(map(str, (part for part in path if not isinstance(part, Pin))))}"
            found.append(Target(label, kind.readers[0][0], _key_cases(label, kind, path, folder)))
    return found


def raw_targets(folder: Path) -> list[Target]:
    """One for each file that bytes are put into."""
    return [
        Target(f"bytes of {path}", reader[0], _raw_cases(path, *reader, folder=folder))
        for path, reader in RAW.items()
        if folder.joinpath(path.removeprefix("w/")).exists()
    ]


@dataclass(frozen=True)
class Pin:
    """In a path of keys: the mapping here is of this kind, out of several."""

    kind: str


Path_ = tuple[int | str | Pin, ...]


def keys_of(model: type[pydantic.BaseModel]) -> Iterator[Path_]:
    """Paths of all keys of a model, and of those inside."""
    for name, info in model.model_fields.items():
        yield (name,)
        for way, inner in _inside(info.annotation):
            yield from ((name, *way, *rest) for rest in keys_of(inner))


def _inside(annotation: Any) -> Iterator[tuple[Path_, type[pydantic.BaseModel]]]:
    """Models in an annotation, and the way to each."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        kind = annotation.model_fields.get("kind")
        literals = () if kind is None else typing.get_args(kind.annotation)
        yield ((Pin(literals[0]),) if literals else (), annotation)
        return
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    step: Path_ = {dict: ("wide",), tuple: (0,), list: (0,)}.get(origin, ())  # type: ignore[call-overload]
    for each in arguments:
        for way, model in _inside(each):
            yield (*step, *way), model


def _key_cases(label: str, kind: Kind, path: Path_, folder: Path) -> Callable[[int], st.SearchStrategy[Case]]:
    all_commands = commands()
    last = str(path[-1])

    def strategy(seed: int) -> st.SearchStrategy[Case]:
        pool = values.JSON if kind.path.endswith(".json") else values.YAML
        pieces = shuffled([text for text in pool if values.harmless(last, text)], seed, label)

        @st.composite
        def cases(draw: st.DrawFn) -> Case:
            what = draw(st.sampled_from(["set"] * 8 + ["delete", "rename"]))
            content = _changed(_base(kind, folder), path, what, draw(st.sampled_from(pieces)))
            command, more = draw(st.sampled_from(shuffled(kind.readers, seed, label)))
            given = {name: value for name, value in {**BASES[command], **more}.items() if value is not None}
            line = command_line(command, all_commands[command], given)
            return Case(label, command, line, {kind.path: content.encode("utf-8", "surrogatepass")})

        return cases()

    return strategy


def _base(kind: Kind, folder: Path) -> Any:
    from nas.validation import load_json, load_plain

    text = folder.joinpath(kind.path.removeprefix("w/")).read_text(encoding="utf-8")
    return load_json(text) if kind.path.endswith(".json") else load_plain(text)


_HERE = "@here@"


def _changed(value: Any, path: Path_, what: str, piece: str) -> str:
    """A file with a piece of text in the place of a key's value, or without the key, or with another name for it."""
    value = copy.deepcopy(value)
    part = _reach(value, path[:-1])
    key: Any = path[-1]
    if what == "delete" and isinstance(part, dict):
        part.pop(key, None)
    elif what == "rename" and isinstance(part, dict):
        part[f"{key}x"] = part.pop(key, 1)
    else:
        part[key] = _HERE
    return json.dumps(value, indent=1, ensure_ascii=False).replace(f'"{_HERE}"', piece)


def _reach(part: Any, path: Path_) -> Any:
    """The part of a value below a path, made where it is missing or of another kind."""
    for place, step in enumerate(path):
        if isinstance(step, Pin):
            if part.get("kind") != step.kind:
                part.clear()
                part["kind"] = step.kind
            continue
        listed = place + 1 < len(path) and isinstance(path[place + 1], int)
        inner = part[step] if isinstance(part, list) else part.get(step)
        if not isinstance(inner, list if listed else dict) or (listed and not inner):
            inner = [{}] if listed else {}
            part[step] = inner
        part = inner
    return part


def _raw_cases(path: str, command: str, more: Arguments, *, folder: Path) -> Callable[[int], st.SearchStrategy[Case]]:
    line = command_line(command, commands()[command], {**BASES[command], **more})
    label = f"bytes of {path}"

    def strategy(seed: int) -> st.SearchStrategy[Case]:
        pieces = shuffled(values.BYTES, seed, path)
        content = folder.joinpath(path.removeprefix("w/")).read_bytes()

        @st.composite
        def cases(draw: st.DrawFn) -> Case:
            start = draw(st.integers(0, len(content)))
            taken = draw(st.sampled_from([0, 1, 4, 20, len(content)]))
            changed = content[:start] + draw(st.sampled_from(pieces)) + content[start + taken :]
            return Case(label, command, line, {path: changed})

        return cases()

    return strategy
