"""What can go wrong with a phone, by what is to be done about it.

What the user has to do, such as to sign the app, is a `RuntimeUnavailableError` like any other.
"""

from __future__ import annotations

from nas.errors import RuntimeUnavailableError


class PhoneLostError(RuntimeUnavailableError):
    """The connection or the app is gone, or the phone is locked: wait for it, and ask again."""


class NoAnswerError(PhoneLostError):
    """The phone is there and the app runs, but a request was not answered in time, or not legibly: ask again."""


class ModelFailedError(RuntimeUnavailableError):
    """The phone has refused one model or one call of it, and says why; others may do."""
