"""What an unknown name may have been meant to be: all known names if they are few, otherwise the nearest ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

MOST, NEAREST = 8, 5
"""So many names are all listed; of more, so many are."""


def known_text(name: str, known: Sequence[str], listed_by: str | None = None) -> str:
    """The text in brackets behind an unknown name, such as `did you mean steps? known: steps, seed`.

    Args:
        name: The unknown name.
        known: The known ones.
        listed_by: The command that lists all of them.
    """
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    if len(known) <= MOST:
        return f"{guess}known: {', '.join(known)}"
    nearest = sorted(known, key=lambda one: -difflib.SequenceMatcher(None, one, name).ratio())[:NEAREST]
    rest = f"and {len(known) - NEAREST} more" + (f", see `{listed_by}`" if listed_by else "")
    return f"{guess}known: {', '.join(nearest)}, {rest}"
