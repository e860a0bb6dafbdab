"""Scalars of every configuration are what they are written as, in YAML, JSON and Python alike."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, Field, ValidationError

from nas.errors import ConfigError
from nas.files import StrictModel, load_yaml, read_json
from nas.validation import load_json


class Inner(StrictModel):
    share: Annotated[float, Field(ge=0)] = 0.0


class Config(StrictModel):
    count: int = 0
    many: tuple[int, ...] | int = ()
    ratio: float | None = None
    flag: bool = False
    name: str = ""
    choice: Literal[0, 1] = 0
    when: AwareDatetime | None = None
    inner: Inner = Inner()
    named: dict[str, Inner] = {}


BAD: list[tuple[str, str]] = [
    ("count: true", "count: expected a whole number; got True"),
    ('count: "5"', "count: expected a whole number; got '5'"),
    ("count: 5.0", "count: expected a whole number; got 5.0"),
    ("count: .inf", "count: expected a whole number; got inf"),
    ("count: 9223372036854775808", "count: expected at most 9223372036854775807; got 9223372036854775808"),
    ("count: null", "count: expected a whole number; got None"),
    ("many: [1, true]", "many[1]: expected a whole number; got True"),
    ("ratio: true", "ratio: expected a number; got True"),
    ('ratio: "0.5"', "ratio: expected a number; got '0.5'"),
    ("ratio: .nan", "ratio: expected a finite number; got nan"),
    ("ratio: -.inf", "ratio: expected a finite number; got -inf"),
    ("flag: 1", "flag: expected true or false; got 1"),
    ('flag: "true"', "flag: expected true or false; got 'true'"),
    ("name: 5", "name: expected a text; got 5"),
    ("choice: true", "choice: expected a whole number; got True"),
    ("choice: 1.0", "choice: expected a whole number; got 1.0"),
    ("when: 5", "when: expected a time such as"),
    ("inner: {share: true}", "inner.share: expected a number; got True"),
    ("named: {a: {share: .inf}}", "named.a.share: expected a finite number; got inf"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text for text, _ in BAD])
def test_nothing_is_converted(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(file, Config)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_what_fits_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("count: 3\nmany: [1, 2]\nratio: 1\nflag: true\nchoice: 1\nwhen: '2030-01-31T12:00:00Z'\n")
    moment = dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)
    assert load_yaml(file, Config) == Config(count=3, many=(1, 2), ratio=1.0, flag=True, choice=1, when=moment)


@pytest.mark.parametrize("value", [{"count": True}, {"ratio": float("nan")}, {"many": ["1"]}])
def test_python_and_json_are_held_to_the_same(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**value)
    with pytest.raises(ValidationError):
        Config.model_validate_json(str(value).replace("'", '"').replace("True", "true").replace("nan", "NaN"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "NaN is not a number in JSON"),
        ("[-Infinity]", "-Infinity is not a number in JSON"),
        ("1e400", "1e400 is too large for a number"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" * 100_000, "it is nested too deeply"),
        (r'"\ud83d"', "U+D83D is half a character"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_json_is_what_the_standard_says(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        load_json(text)
    assert load_json(r'"\ud83d\ude42"') == "\N{SLIGHTLY SMILING FACE}"
    assert message in str(caught.value)
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="not JSON"):
        read_json(file)
