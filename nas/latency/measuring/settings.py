"""The settings of a measurement: how precise a latency must be, and how long measuring it may take.

The defaults are constants, so that the command line can state them without loading this module's libraries.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from nas.files import StrictModel
from nas.latency.measuring import defaults

MAX_SAMPLES = 1000

MAX_ROUNDS = 10**9

MIN_PAIRS = 6
"""Fewer samples have no 95% interval of their median."""


class MeasurementSettings(StrictModel):
    """How precisely to measure on this machine.

    Args:
        rounds: Timed calls of each block, at least.
        interval_percent: A block is done when half the width of its latency's 95% interval is at most this
            share of it, in percent.
        max_seconds: A block is also done when its own calls have taken this long, counted or not, or when there
            have been `MAX_SAMPLES` of them. Without that limit, the shortest blocks would need minutes.
        min_seconds: No block is done before its rounds have lasted this long. A machine is a few percent faster
            for some seconds and slower for the next, and the reference block does not show it. Blocks can be
            compared only if all of them were measured at both speeds.
        drift_percent: A window of rounds counts while the reference block takes at most this much longer than in
            its best window.
    """

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = defaults.ROUNDS
    interval_percent: PositiveFloat = defaults.INTERVAL_PERCENT
    max_seconds: NonNegativeFloat = defaults.MAX_SECONDS
    min_seconds: NonNegativeFloat = defaults.MIN_SECONDS
    drift_percent: NonNegativeFloat = defaults.DRIFT_PERCENT


class FitMeasurementSettings(MeasurementSettings):
    """How precisely to measure the networks of a fit: longer than others, because all predictions depend on it."""

    max_seconds: NonNegativeFloat = defaults.FIT_MAX_SECONDS
    min_seconds: NonNegativeFloat = defaults.FIT_MIN_SECONDS


class PhoneMeasurementSettings(StrictModel):
    """How precisely to measure on a phone, where each call is a round trip of seconds.

    Args:
        pairs: Pairs of calls of each block, at least.
        max_pairs: A block is also done after this many pairs, counted or not.
        interval_percent: A block is done when half the width of its latency's 95% interval is at most this share of
            it, in percent.
        pairs_between: Pairs between two calls of the reference.
        drift_percent: Pairs count while the reference before and after them takes at most this much longer than at
            its best.
        cool_down_s: How long to let the phone cool down when the reference takes longer; doubled each time.
        max_cool_down_s: Longest of these pauses.
        cool_downs: Pauses per block, at most; after that, the block is measured on the hot phone.
        difference_ms: A long chain takes at least this much longer than a short one, if `max_copies` allows it. Calls
            differ by about 0.1 ms however short they are.
        max_copies: Longest chain.
        max_chain_bytes: Largest package of a chain, estimated from the size of one copy.
    """

    pairs: Annotated[int, Field(ge=MIN_PAIRS)] = defaults.PAIRS
    max_pairs: Annotated[int, Field(ge=MIN_PAIRS)] = defaults.MAX_PAIRS
    interval_percent: PositiveFloat = defaults.INTERVAL_PERCENT
    pairs_between: PositiveInt = 3
    drift_percent: NonNegativeFloat = defaults.DRIFT_PERCENT
    cool_down_s: NonNegativeFloat = defaults.COOL_DOWN_S
    max_cool_down_s: NonNegativeFloat = 300.0
    cool_downs: PositiveInt = 6
    difference_ms: NonNegativeFloat = 3.0
    max_copies: Annotated[int, Field(ge=2)] = defaults.MAX_COPIES
    max_chain_bytes: PositiveInt = 2**30

    @model_validator(mode="after")
    def _enough_pairs_are_allowed(self) -> PhoneMeasurementSettings:
        if self.pairs > self.max_pairs:
            raise ValueError(f"pairs is {self.pairs}, more than max_pairs, {self.max_pairs}")
        return self
