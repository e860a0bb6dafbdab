"""YAML is read as 1.2 reads it; what 1.1 reads otherwise is refused with what to write, and nothing we write is."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nas.validation import dump_plain, load_plain

READ: list[tuple[str, Any]] = [
    ("10", 10),
    ("-0", 0),
    ("+5", 5),
    ("0.5", 0.5),
    (".5", 0.5),
    ("1e5", 1e5),
    ("1e-4", 1e-4),
    ("-2.5E+3", -2500.0),
    (".inf", math.inf),
    ("true", True),
    ("FALSE", False),
    ("~", None),
    ("", None),
    ("0:30", "0:30"),
    ("1.2.3", "1.2.3"),
    ('"010"', "010"),
    ("'yes'", "yes"),
    ("!!str 5", "5"),
    ("maybe", "maybe"),
    ("\uff11", "\uff11"),
]

REFUSED = [
    ("1:30", "1:30 is 90 to YAML 1.1 and a text to YAML 1.2: write 90, or \"1:30\" for a text"),
    ("1:30.5", "1:30.5 is 90.5 to YAML 1.1"),
    ("-1:30", "-1:30 is -90 to YAML 1.1"),
    ("010", '010 is 8 to YAML 1.1 and 10 to YAML 1.2: write it without the 0 in front, or "010" for a text'),
    ("08", "08 is a text to YAML 1.1 and 8 to YAML 1.2"),
    ("00", "00 begins with 0"),
    ("0o17", "0o17 is a text to YAML 1.1 and 15 to YAML 1.2: write 15"),
    ("0x1F", "0x1F is not decimal: write 31"),
    ("0b101", "0b101 is 5 to YAML 1.1 and a text to YAML 1.2: write 5"),
    ("1_000", "1_000 is 1000 to YAML 1.1 and a text to YAML 1.2: write 1000"),
    ("1_0.5", "1_0.5 is 10.5 to YAML 1.1"),
    ("yes", 'yes is true to YAML 1.1 and a text to YAML 1.2: write true, or "yes" for a text'),
    ("Off", "Off is false to YAML 1.1"),
    ("n", "n is false to YAML 1.1"),
    ("2026-01-31", '2026-01-31 is a time to YAML 1.1 and a text to YAML 1.2: write "2026-01-31" for a text'),
    ("1e400", "1e400 is too large for a number"),
    ("9" * 5000, "5,000 digits are too many for a number"),
    ("0" + "7" * 5000, "5,001 digits are too many for a number"),
    ("1" * 400 + ":30", "digits are too many for a number"),
    ("=", "= is a default value to YAML 1.1 and a text to YAML 1.2"),
    ("!!int '10'", "the tag !!int is not read"),
    ("!!binary aGk=", "the tag !!binary is not read"),
    ("!!python/name:os.system", "the tag !!python/name:os.system is not read"),
    ("!!timestamp 2026-01-31", "the tag !!timestamp is not read"),
    ("! 5", "the tag ! is not read"),
    ("{<<: {a: 1}}", "<< merges keys in YAML 1.1"),
    ("{a: 1, 'a': 2}", "key 'a' is given twice"),
    ("&a [*a]", "it contains itself"),
    (r'"a\0"', "character U+0000 is not allowed in text"),
    (r'"\ud83d"', "character U+D83D is not allowed in text"),
    ("a\u2028b", "character U+2028 ends a line in YAML 1.1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), READ)
def test_what_both_versions_read_alike_is_read(text: str, value: Any) -> None:
    found = load_plain(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:12] for text, _ in REFUSED])
def test_what_they_read_differently_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="line 2, column ") as caught:
        load_plain(f"first: 1\nkey: {text}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_small_text_that_aliases_make_huge_is_refused_at_once() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30)]
    began = time.process_time()
    with pytest.raises(ValueError, match="aliases repeat more than 100,000 values"):
        load_plain("\n".join(lines))
    assert time.process_time() - began < 3, "all the values would take longer than anyone waits"


def test_a_few_aliases_are_read() -> None:
    assert load_plain("a: &one [1, 2]\nb: *one") == {"a": [1, 2], "b": [1, 2]}


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
DISPUTED = st.sampled_from([text for text, _ in READ + REFUSED if len(text) < 100]) | st.from_regex(
    r"[-+]?[0-9._eE:xob-]{1,8}|[0-9]{3}e[0-9]{8}", fullmatch=True
)
PLAIN = st.recursive(
    SCALARS | DISPUTED,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | DISPUTED, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS | DISPUTED, PLAIN, max_size=4))
def test_what_is_written_is_read_back_equal(value: dict[str, Any]) -> None:
    text = dump_plain(value)
    assert load_plain(text) == value
    assert yaml.safe_load(text) == value  # by YAML 1.1
