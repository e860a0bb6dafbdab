"""The tars that a path names: a folder of tars, one tar, or a pattern with `*`, `?`, `[...]` and `{...}`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.videos.captions import looking, shortened
from nas.errors import DataError

_MAGIC = frozenset("*?[{")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_COMPRESSED = (".tar.bz2", ".tar.gz", ".tar.xz", ".tar.zst", ".tbz2", ".tgz", ".txz")
_MOST = 10**6


@dataclass(frozen=True)
class TarPaths:
    """The tars that a path names.

    Args:
        root: Folder that their names start from.
        paths: The tars, in order of their names.
        left_out: Files that look like tars but cannot be read, each with the reason.
    """

    root: Path
    paths: tuple[Path, ...]
    left_out: dict[str, str]


def find_tars(path: Path) -> TarPaths:
    """The tars in a folder, a single tar, or those that a pattern names.

    Besides `*`, `?` and `[...]`, a pattern may have any number of ranges such as `{000..009}` and choices such as
    `{a,b}`. Every file that these name must exist.

    Raises:
        DataError: There are no tars, or one of a range is missing.
    """
    with looking(path):
        root, pattern = _divided(path)
        if not root.is_dir():
            raise DataError("no such folder of tars", where=root)
        patterns = [pattern] if (root / pattern).is_file() else expanded(pattern, path)
        matches = {text: _matches(root, text) for text in patterns}
        missing = [text for text, paths in matches.items() if not paths]
        if missing and len(patterns) > 1:
            what = f"{len(missing)} of {len(patterns)} tars are missing: {shortened(missing)}"
            raise DataError(what, where=root, hint="add the missing tars, or name only those that exist")
        named = sorted(set(itertools.chain.from_iterable(matches.values())))
        tars = tuple(path for path in named if path.is_file())
        left_out = {path.relative_to(root).as_posix(): "is not a file" for path in named if path not in tars}
        if root == path:
            left_out |= {item.name: "is compressed: store it as .tar" for item in sorted(root.iterdir())
                         if item.name.lower().endswith(_COMPRESSED)}  # fmt: skip
    if not tars:
        reasons = shortened([f"{name} ({reason})" for name, reason in left_out.items()])
        raise DataError(f"no tar matches {pattern}{f': {reasons}' if reasons else ''}", where=root)
    return TarPaths(root, tars, left_out)


def _divided(path: Path) -> tuple[Path, str]:
    """The folder that a pattern starts from, and the pattern below it."""
    if path.is_dir():
        return path, "*.tar"
    if not _MAGIC & set(str(path)) and not path.is_file() and path.suffix.lower() != ".tar":
        return path, "*.tar"
    root = Path()
    for place, part in enumerate(path.parts[:-1]):
        if _MAGIC & set(part) and not (root / part).is_dir():
            return root, str(Path(*path.parts[place:]))
        root /= part
    return root, path.parts[-1]


def _matches(root: Path, pattern: str) -> Sequence[Path]:
    if not _MAGIC & set(pattern) or (root / pattern).is_file():
        return [root / pattern] if (root / pattern).exists() or (root / pattern).is_symlink() else []
    return list(root.glob(pattern))


def expanded(pattern: str, where: Path) -> list[str]:
    """All expansions of a pattern with `{first..last}` and `{one,other}`.

    If a number of a range begins with a zero, all numbers of the range are padded to the longer one.

    Raises:
        DataError: There are more than a million.
    """
    pieces = _BRACES.split(pattern)  # alternates between text and the content of braces
    choices = [[piece] if place % 2 == 0 else _choices(piece, where) for place, piece in enumerate(pieces)]
    if math.prod(map(len, choices)) > _MOST:
        raise _too_many(where)
    return list(dict.fromkeys("".join(parts) for parts in itertools.product(*choices)))


def _choices(inner: str, where: Path) -> list[str]:
    match = _RANGE.fullmatch(inner)
    if match is None:
        return inner.split(",") if "," in inner else [f"{{{inner}}}"]
    first, last = map(int, match.groups())
    if abs(last - first) >= _MOST:
        raise _too_many(where)
    digits = max(map(len, match.groups())) if any(text.startswith("0") for text in match.groups()) else 0
    step = 1 if first <= last else -1
    return [f"{number:0{digits}d}" for number in range(first, last + step, step)]


def _too_many(where: Path) -> DataError:
    return DataError(f"the pattern names more than {_MOST} files", where=where)
