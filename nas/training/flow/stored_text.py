"""The text encoder of a run: its own, or stored contexts of a frozen one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from nas.data import CaptionedClips
from nas.errors import DataError
from nas.models import TextEncoder
from nas.models.parts import text_identity
from nas.models.text.encoder import StoredText
from nas.progress import is_first_process
from nas.space import SearchSpace

_LOOKED_AT = 20_000
"""Distinct captions of a data set that are checked before a run."""


def reader_of(clips: CaptionedClips, space: SearchSpace, own: Callable[[], TextEncoder]) -> TextEncoder:
    """The encoder that reads the captions of a run.

    An encoder that is trained encodes captions in every step. If a frozen one has encoded them in advance, together
    with the clips, its stored contexts are read.

    Args:
        clips: Clips of the run.
        space: Search space, which names the encoder.
        own: Returns that encoder; not called if contexts are stored.

    Raises:
        DataError: The captions were encoded with another encoder.
    """
    identity = text_identity(space)
    if clips.contexts is None or identity is None:
        encoder = own()
        _warn_once(encoder, clips)
        return encoder
    if clips.contexts.identity != identity:
        raise DataError(
            f"captions were encoded with {clips.contexts.identity}, but {space.name} has {identity}",
            where=space.where,
            hint="encode the clips again for this space, with `nas data encode`",
        )
    return StoredText(clips.contexts)


def _warn_once(encoder: TextEncoder, clips: CaptionedClips) -> None:
    """Warn of captions that the encoder cannot read in full, once for each data set."""
    if is_first_process() and not _is_known(clips.fingerprint):
        encoder.warn_of_losses(list(itertools.islice(dict.fromkeys(clips.captions), _LOOKED_AT)))


_FINGERPRINTS: set[str] = set()


def _is_known(fingerprint: str) -> bool:
    """Whether this process has read a data set before. From now on it has."""
    known = fingerprint in _FINGERPRINTS
    _FINGERPRINTS.add(fingerprint)
    return known
