"""What is tried: odd texts, numbers, paths and pieces of YAML and JSON.

Nothing here may harm the machine when it is taken seriously: no absolute path that a user root could write to, and no
counts of processes or threads beyond a few.
"""

from __future__ import annotations

TEXTS = (
    "", " ", "\t", "a" * 256, "a" * 5000, "a\nb", "e\u0301", "\U0001f642", "\u202eabc\u202c", "\udcff", "-", "--",
    "-x", "~", "~/x", "~nobody/x", "$HOME/x", "%s", "{x}", "[bold]x[/bold]", "[/x]", "..", ".", "*", "a/b/c", "a:b",
    "none", "null", "true", "$\\foo$", "a,b", ",", "=1+1",
)  # fmt: skip

_LIKELY = ("1", "2", "4", "0.5") * 3
"""Values that often work, so that some tries get far."""

NUMBERS = (
    "0", "-1", "1", "2", "3", "-0", "0.5", "1.0", "1e3", "1e-300", "1e300", "1e400", "nan", "inf", "-inf",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "4294967296", "2147483648", "100000000",
    "1_0", "0x1", "\u0663", "", " ", "abc", "1" * 5000, *_LIKELY,
)  # fmt: skip

PATHS = (
    "w/space.yaml", "w/architecture.yaml", "w/training.yaml", "w/distillation.yaml", "w/data.yaml", "w/run.yaml",
    "w/table.csv", "w/table.json", "w/table.tiny.fit.json", "w/estimate.csv", "w/study.db", "w/run", "w/run/supernet",
    "w/alone", "w/alone/model", "w/distilled/model", "w/classifier", "w/classifier/classifier", "w/bundle", "w/videos",
    "w/videos/0.mp4", "w/videos/captions.csv", "w/tars", "w/tars/000.tar", "w/tars/*.tar", "w/latents", "w",
    "w/odd/folder", "w/odd/empty", "w/odd/empty.yaml", "w/odd/empty.csv", "w/odd/empty.db", "w/odd/junk",
    "w/odd/junk.yaml", "w/odd/junk.csv", "w/odd/junk.db", "w/odd/loop", "w/odd/loop.yaml", "w/odd/loop.csv",
    "w/odd/loop.db", "w/odd/dangling", "w/odd/dangling.yaml", "w/odd/folder.yaml", "w/odd/folder.csv",
    "w/odd/secret.yaml", "w/odd/other.db", "w/space.yaml/below", "w/odd/missing", "w/odd/missing.yaml", "o/new",
    "o/new.csv", "o/new.yaml", "o/new.db", "o/new.png", "o/new.svg", "o/new.mp4", "o/new.gif", "o/new.json",
    "o/deep/er/new.csv", "o/" + "x" * 300, "o/" + "x" * 252 + ".csv", "o/" + "x/" * 2500,
)  # fmt: skip

STORAGES = (
    "w/study.db", "sqlite:///w/study.db", "o/new.db", "sqlite://", "sqlite:///", "sqlite:///o/new.db?mode=ro",
    "postgresql://u:secret@127.0.0.1:1/x", "postgresql://u@127.0.0.1:x/y", "postgresql://", "mysql://u@h/x",
    "redis://localhost", "http://x", "://", "journal.log", "what?.db", "a%20b.db", ":memory:", "file:x",
    "sqlite:///w/odd/junk.db", "postgresql+nothing://x/y",
)  # fmt: skip

FUNCTIONS = (
    ":", "a:", ":b", "math", "math:sqrt", "math:pi", "math:nothing", "no.such:f", "json:dumps", "os.path:join",
    "tests.fuzzing.world:score", "tests.fuzzing.world:broken", "tests.fuzzing.world:strange", "tests.fuzzing.world:",
    "..:x", "a b:c",
)  # fmt: skip

_LONG = "a" * 300
_PLAIN = (
    "null", "true", "0", "-1", "1", "2", "3", "5", "0.5", "-0.0", "1.0", "1e-300", "1e300", "1e400",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "4294967296", "100000000", "1" * 5000,
    "[]", "{}", "[1]", "[null]", "[[]]", '["a", "a"]', '{"a": 1}', '{"": {}}', '{"a": {"a": {}}}', '""', '" "',
    r'"a\u0000b"', r'"a\nb"', r'"\ud800"', r'"e\u0301"', '"\U0001f642"', r'"\u202eabc"', f'"{_LONG}"',
    '"' + "a" * 5000 + '"',
    '"~/x"', '".."', '"."', '"none"', '"5"', '"[bold]x[/]"', '"odd/loop"', '"odd/junk"', '"odd/folder"', '"videos"',
    '"space.yaml"', '"run"', '"alone/model"', '"odd/missing"', *_LIKELY, "true", "false",
)  # fmt: skip

YAML = (
    *_PLAIN, "", "yes", ".inf", "-.inf", ".nan", "1:30", "010", "1_000", "0x10", "{1: 2}", "{null: 1}", "{[1]: 2}",
    "!!binary aGk=", "!!python/name:os.system", "!x 1", "&a [*a]", "*a", "2026-01-31", "<<", "- a", "'", '"', "@", "`",
    "a\u2028b", "a: b", "# a",
)  # fmt: skip

JSON = (*_PLAIN, "", "NaN", "Infinity", "-Infinity", "1e400", "01", "'a'", "{", '"', '{"a": 1, "a": 2}', "[" * 5000)

BYTES = (
    b"", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\t", b" ", b"\x1b[31m", b"#", b",", b'"', b"{",
    b"[" * 3000, b"\xc3", b"\xed\xa0\x80", b"- ", b"---\n", b"%YAML 9.9\n---\n", b"a" * 200_000,
)  # fmt: skip

FEW_AT_MOST = 3
FEW = frozenset({"workers", "threads"})
"""Options and keys of which only small numbers are tried: large ones start as many processes or threads."""


def harmless(name: str, text: str) -> bool:
    """Whether a number may be tried for an option or key of this name: few, or more than any machine is for."""
    try:
        return name not in FEW or not FEW_AT_MOST < float(text) < 1e6
    except ValueError:
        return True
