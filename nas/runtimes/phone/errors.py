"""Errors of a phone, one class for each way to handle them.

If the user has to act, for example to sign the app, the error is a plain `RuntimeUnavailableError`.
"""

from __future__ import annotations

from nas.errors import RuntimeUnavailableError


class PhoneLostError(RuntimeUnavailableError):
    """The connection or the app is lost, or the phone is locked: wait for it, and send the request again."""


class NoAnswerError(PhoneLostError):
    """The app runs, but a request was not answered in time, or not readably: send it again."""


class ModelFailedError(RuntimeUnavailableError):
    """The phone has refused one model, or one call of it; other models may work."""
