"""How long to wait for a phone."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from nas.files import StrictModel


class WaitSettings(StrictModel):
    """How long to wait for a phone, in seconds.

    Args:
        poll_s: Longest pause between two polls for an answer; the first pauses are shorter.
        send_s: Longest time for a request to reach the phone.
        answer_s: Longest time for an answer.
        load_s: Longest time for a model to load; the first time, the phone compiles it.
        lost_s: Longest time to wait for a phone that is disconnected or locked.
        look_s: Pause between two checks whether it is back.
        attempts: Number of faults, of a model or of the app that runs it, after which the model has failed.
    """

    poll_s: PositiveFloat = 0.5
    send_s: PositiveFloat = 15
    answer_s: PositiveFloat = 60
    load_s: PositiveFloat = 600
    lost_s: PositiveFloat = 900
    look_s: PositiveFloat = 2
    attempts: PositiveInt = 3
