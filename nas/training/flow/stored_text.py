"""Which text encoder a run reads captions with: its own, or what a frozen one has read beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from nas.data import CaptionedClips
from nas.errors import DataError
from nas.models import StoredText, TextEncoder, text_identity
from nas.progress import is_first_process
from nas.space import SearchSpace

_LOOKED_AT = 20_000
"""Distinct captions of a data set that are looked at before a run."""


def reader_of(clips: CaptionedClips, space: SearchSpace, own: Callable[[], TextEncoder]) -> TextEncoder:
    """The encoder that reads the captions of a run.

    An encoder that is trained with the model reads them anew in every step. A frozen one does so once, where the clips
    were encoded beforehand.

    Args:
        clips: The run's clips.
        space: Names the encoder.
        own: Makes or gives that encoder; not called where it has nothing left to do.

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
    """Say what the encoder cannot read of the captions, the first time that a process meets them."""
    if is_first_process() and not _met(clips.fingerprint):
        encoder.warn_of_losses(list(itertools.islice(dict.fromkeys(clips.captions), _LOOKED_AT)))


_FINGERPRINTS: set[str] = set()


def _met(fingerprint: str) -> bool:
    """Whether this process has met a data set before; it has from now on."""
    known = fingerprint in _FINGERPRINTS
    _FINGERPRINTS.add(fingerprint)
    return known
