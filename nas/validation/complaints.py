"""Errors of pydantic as one line that names the key, what was expected and what was given."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic
from pydantic_core import ErrorDetails

from nas.validation.known import known_text

Location = tuple[int | str, ...]

_FOREIGN = frozenset({"extra_forbidden", "invalid_key"})


def complaint(problem: pydantic.ValidationError, model: type[pydantic.BaseModel], value: Any, within: str = "") -> str:
    """The first of pydantic's errors as one line.

    Args:
        problem: What pydantic raised.
        model: The model that the data was checked against.
        value: The data.
        within: Key of the file that holds the data.
    """
    # A misspelt key is reported as unknown, and the right one as missing: put the unknown one first.
    errors = sorted(problem.errors(include_url=False), key=lambda error: error["type"] not in _FOREIGN)
    places = [_place(error, value) for error in errors]
    # A union gives an error per member. The member that got furthest into the data was probably meant.
    about = [place for place in places if place[: len(places[0])] == places[0]]
    chosen = max(about, key=len)
    same = [error for error, place in zip(errors, places, strict=True) if place == chosen]
    text = _sentence(same, _dotted(chosen, within), model)
    others = len(set(places) - set(about))
    return f"{text} (and {others} more)" if others else text


def _sentence(errors: Sequence[ErrorDetails], key: str, model: type[pydantic.BaseModel]) -> str:
    first = errors[0]
    kind, context = first["type"], first.get("ctx", {})
    if kind in _FOREIGN:
        known, listed_by = _known(model, first["loc"]), getattr(model, "listed_by", None)
        return f"unknown key {key} ({known_text(str(first['loc'][-1]), known, listed_by)})"
    if kind == "missing":
        return f"key {key} is missing"
    if kind == "union_tag_not_found":
        return f"key {key}.{_unquoted(context)} is missing"
    if kind == "union_tag_invalid":
        expected = context["expected_tags"].replace("'", "")
        return f"{key}.{_unquoted(context)}: expected one of {expected}; got {context['tag']!r}"
    if kind == "value_error":
        return f"{key}: {first['msg'].removeprefix('Value error, ')}"
    expected = " or ".join(dict.fromkeys(_expected(error) for error in errors))
    return f"{key}: expected {expected}; got {_short(first['input'])}"


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a name that matches {pattern}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
}


def _expected(error: ErrorDetails) -> str:
    text = _EXPECTED.get(error["type"])
    if text is None:
        return error["msg"][:1].lower() + error["msg"][1:]
    return text.format(**error.get("ctx", {}))


def _unquoted(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")


def _place(error: ErrorDetails, value: Any) -> Location:
    """The location of an error in the data: pydantic's location without the names of union members."""
    place: list[int | str] = []
    for part in error["loc"]:
        if isinstance(value, Mapping):
            is_key = part in value
        else:
            is_key = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if is_key:
            value = value[part]
        if is_key or (error["type"] == "missing" and part == error["loc"][-1]):
            place.append(part)
    return tuple(place)


def _known(model: type[pydantic.BaseModel], location: Location) -> list[str]:
    """The keys that are allowed beside the unknown key at `location`."""
    models: list[type[pydantic.BaseModel]] = [model]
    for part in location[:-1]:
        fields = [model.model_fields[str(part)] for model in models if part in model.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models(field.annotation)]
        else:  # an index, a key of a dictionary, or the tag that picks one model out of several
            models = [model for model in models if _has_tag(model, part)] or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _has_tag(model: type[pydantic.BaseModel], tag: int | str) -> bool:
    return any(tag in typing.get_args(field.annotation) for field in model.model_fields.values())


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The models inside an annotation such as `dict[str, A] | tuple[B, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _dotted(place: Location, within: str) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return f"{within}{text}".removeprefix(".") or "(whole file)"


def _short(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."
