"""How long to wait for a phone."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from nas.files import StrictModel


class WaitSettings(StrictModel):
    """How long to wait for a phone, in seconds.

    Args:
        poll_s: Between two looks whether there is an answer, at most; the first ones follow faster.
        send_s: For a request to reach the phone.
        answer_s: For an answer.
        load_s: For a model to load: the first time, the phone compiles it.
        lost_s: For a phone that is gone, or locked, to come back.
        look_s: Between two looks whether it has.
        attempts: How often a model may fail, or take the app with it, before it counts as failed.
    """

    poll_s: PositiveFloat = 0.5
    send_s: PositiveFloat = 15
    answer_s: PositiveFloat = 60
    load_s: PositiveFloat = 600
    lost_s: PositiveFloat = 900
    look_s: PositiveFloat = 2
    attempts: PositiveInt = 3
