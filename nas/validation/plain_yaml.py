"""Plain data from and to YAML: the core schema of YAML 1.2, without values that YAML 1.1 reads differently.

PyYAML reads YAML 1.1, where `1:30` is 90, `010` is 8 and `no` is false. Editors, other programs and most people read
1.2. A scalar that both read alike is accepted. Any other is refused, with a message that says what to write, so users
need not know which version this is. Numbers are decimal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import yaml

from nas.validation.numbers import decimal_float

_TAG = "tag:yaml.org,2002:"
_REFUSED = "nas:refused"
_ALLOWED_TAGS = frozenset({f"{_TAG}str", f"{_TAG}seq", f"{_TAG}map"})
_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks in YAML 1.1, ordinary characters in YAML 1.2."""

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which no path may contain, and halves of characters, which no file and no screen accepts."""

_LONGEST = 200
"""The longest unquoted text whose two readings are explained in the message."""

_MOST_REPEATED = 100_000
"""The largest total number of values that aliases may repeat."""

NodeT = TypeVar("NodeT", bound=yaml.Node)

_LITERALS = [
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")),
]
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)


def _octal(text: str) -> str:
    old = str(int(text.replace("_", ""), 8)) if set(text) <= set("+-01234567_") else "a text"
    new = str(int(text.replace("_", "")))
    reads = "begins with 0" if old == new else f"is {old} to YAML 1.1 and {new} to YAML 1.2"
    return f"{reads}: write it without the 0 in front"


def _spelt(base: int, old: bool, new: bool) -> Callable[[str], str]:
    def say(text: str) -> str:
        digits = text.replace("_", "").lower().replace("0o", "").replace("0x", "").replace("0b", "")
        value = int(digits, base)
        if old and new:
            return f"is not decimal: write {value}"
        reads = (str(value), "a text") if old else ("a text", str(value))
        return f"is {reads[0]} to YAML 1.1 and {reads[1]} to YAML 1.2: write {value}"

    return say


def _sixties(text: str) -> str:
    sign, parts = (-1 if text[0] == "-" else 1), text.lstrip("+-").replace("_", "").split(":")
    value = 0.0
    for part in parts:
        value = value * 60 + float(part)
    return f"is {sign * value:.15g} to YAML 1.1 and a text to YAML 1.2: write {sign * value:.15g}"


def _grouped(text: str) -> str:
    value = text.replace("_", "")
    return f"is {value} to YAML 1.1 and a text to YAML 1.2: write {value}"


def _word(text: str) -> str:
    value = "true" if text.lower() in {"y", "yes", "on"} else "false"
    return f"is {value} to YAML 1.1 and a text to YAML 1.2: write {value}"


_DISPUTED: list[tuple[re.Pattern[str], Callable[[str], str]]] = [
    (re.compile(r"[-+]?0_*[0-9][0-9_]*\Z"), _octal),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]*[0-9a-fA-F][0-9a-fA-F_]*\Z"), _spelt(16, old=True, new=True)),
    (re.compile(r"0o[0-7]+\Z"), _spelt(8, old=False, new=True)),
    (re.compile(r"[-+]?0b[01_]*[01][01_]*\Z"), _spelt(2, old=True, new=False)),
    (re.compile(r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+\Z"), _sixties),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*\Z"), _sixties),
    (re.compile(r"(?=.*_)[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?\Z"), _grouped),
    (re.compile(r"(?:y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF)\Z"), _word),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?\Z"),
        lambda _: "is a time to YAML 1.1 and a text to YAML 1.2",
    ),
    (re.compile(r"=\Z"), lambda _: "is a default value to YAML 1.1 and a text to YAML 1.2"),
    (re.compile(r"<<\Z"), lambda _: "merges keys in YAML 1.1 and is a text to YAML 1.2: write the keys out"),
]
"""Unquoted texts that YAML 1.1 and 1.2 read differently, or that are not decimal, with their explanations."""

_RESOLVERS = [(_REFUSED, pattern) for pattern, _ in _DISPUTED]
_RESOLVERS += [(f"{_TAG}{name}", pattern) for name, pattern in [*_LITERALS, ("float", _FLOAT)]]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the core schema, unique keys, and only the tags of the schema."""

    yaml_implicit_resolvers = {None: _RESOLVERS}

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            sizes: dict[int, int | None] = {}
            if _size(node, sizes) - len(sizes) > _MOST_REPEATED:
                _refuse(node, f"aliases repeat more than {_MOST_REPEATED:,} values; write out what is meant")
        return node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        tag: str | None = getattr(event, "tag", None)
        if tag is not None and tag not in _ALLOWED_TAGS:
            _refuse(event, f"the tag {tag.replace(_TAG, '!!')} is not read, only plain data; leave it out")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                _refuse(key, f"key {key.value!r} is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge nothing: `<<` is refused."""

    def construct_scalar(self, node: yaml.Node) -> Any:
        value: str = super().construct_scalar(node)  # type: ignore[arg-type]
        if match := _UNUSABLE.search(value):
            _refuse(node, f"character U+{ord(match.group()):04X} is not allowed in text or a path; leave it out")
        return value

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        try:
            return int(node.value)
        except ValueError:  # Python refuses thousands of digits
            _refuse(node, f"{len(node.value):,} digits are too many for a number")

    def construct_number(self, node: yaml.ScalarNode) -> float:
        text = node.value.lower()
        if text.endswith((".inf", ".nan")):
            return float(text.replace(".", ""))
        try:
            return decimal_float(text)
        except ValueError as problem:
            _refuse(node, f"{problem}; quote it for a text")

    def construct_refused(self, node: yaml.ScalarNode) -> NoReturn:
        if len(node.value) > _LONGEST:
            _refuse(node, f"{len(node.value):,} digits are too many for a number; quote it for a text")
        said = next(say for pattern, say in _DISPUTED if pattern.match(node.value))(node.value)
        joint = ", or" if ": write" in said else ": write"
        _refuse(node, f'{node.value[:60]} {said}{joint} "{node.value[:60]}" for a text')


_Loader.add_constructor(f"{_TAG}int", _Loader.construct_whole)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_number)
_Loader.add_constructor(_REFUSED, _Loader.construct_refused)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper. It quotes every text that some YAML reader would read as something else."""

    yaml_implicit_resolvers = {**yaml.SafeDumper.yaml_implicit_resolvers, None: _RESOLVERS}

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar(f"{_TAG}str", text, style='"' if _BREAKS.search(text) else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def load_plain(text: str) -> Any:
    """Plain data from YAML text.

    Raises:
        ValueError: It is not YAML, a key is given twice, or YAML 1.1 and 1.2 read a value differently; the message
            is one line, with line and column.
    """
    try:
        _check_breaks(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        context = f"{problem.context}: " if problem.context else ""
        raise ValueError(f"{place}{context}{problem.problem}") from problem
    except yaml.YAMLError as problem:
        raise ValueError(" ".join(str(problem).split())) from problem
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem


def dump_plain(*documents: Any) -> str:
    """Plain data as block-style YAML that YAML 1.1 and 1.2 read alike, keys in their own order.

    Args:
        documents: One, or several to be divided by `---`.
    """
    written: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return written


def _check_breaks(text: str) -> None:
    if match := _BREAKS.search(text):
        before = text[: match.start()].split("\n")
        escape = {"\x85": "\\N", "\u2028": "\\L", "\u2029": "\\P"}[match.group()]
        raise ValueError(
            f"line {len(before)}, column {len(before[-1]) + 1}: character U+{ord(match.group()):04X} ends a line in "
            f'YAML 1.1 and does not in YAML 1.2: write {escape} in a text in "double quotes"'
        )


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """The number of values in a node; values that aliases repeat are counted each time."""
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            _refuse(node, "it contains itself")
        return known
    sizes[id(node)] = None
    children = node.value if isinstance(node, yaml.CollectionNode) else ()
    parts = (part for child in children for part in (child if isinstance(child, tuple) else (child,)))
    size = 1 + sum(_size(part, sizes) for part in parts)
    sizes[id(node)] = size
    return size


def _refuse(at: Any, problem: str) -> NoReturn:
    """Refuse a node or an event, with its line and column."""
    raise yaml.constructor.ConstructorError(None, None, problem, at.start_mark)
