"""The scene of a moving-shapes clip, and the fixed grammar of the sentence that describes it.

The grammar: a <colour> <shape> moves <direction> <speed> [and bounces | behind a grey bar].
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import DataError
from nas.files import derive_seed

SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "purple": (1, 0, 1),
    "cyan": (0, 1, 1),
}
"""Colour names and which of red, green and blue they light: six hues, 60 degrees apart."""
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Direction names as unit steps (x to the right, y down)."""
SPEEDS = ("slowly", "quickly")
BEHAVIOURS = {"move": "", "bounce": " and bounces", "hide": " behind a grey bar"}
"""Behaviours and the endings of their sentences: a plain move, a turn at the wall, a pass behind an occluder."""


@dataclass(frozen=True)
class ShapeScene:
    """The captioned attributes of one moving-shapes clip.

    Args:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        direction: One of `DIRECTIONS`; with a bounce, the direction before it.
        speed: One of `SPEEDS`.
        behaviour: One of `BEHAVIOURS`.

    Raises:
        DataError: An attribute is not one of its choices.
    """

    shape: str
    colour: str
    direction: str
    speed: str = "quickly"
    behaviour: str = "move"

    def __post_init__(self) -> None:
        choices = {
            "shape": SHAPES,
            "colour": COLOURS,
            "direction": DIRECTIONS,
            "speed": SPEEDS,
            "behaviour": BEHAVIOURS,
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise DataError(f"{name} {value!r} of a moving shape is not one of {', '.join(known)}")

    @property
    def caption(self) -> str:
        """The sentence that describes the scene; `parse_caption` is its inverse."""
        ending = BEHAVIOURS[self.behaviour]
        return f"a {self.colour} {self.shape} moves {self.direction} {self.speed}{ending}"


_SENTENCE = re.compile(
    rf"a (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)}) moves (?P<direction>{'|'.join(DIRECTIONS)})"
    rf" (?P<speed>{'|'.join(SPEEDS)})(?P<ending>{'|'.join(BEHAVIOURS.values())})"
)


def parse_caption(caption: str) -> ShapeScene:
    """Read a moving-shapes sentence back into its attributes.

    Raises:
        DataError: The text is not a sentence of the grammar.
    """
    match = _SENTENCE.fullmatch(caption)
    if match is None:
        hint = f"write it like {ShapeScene('circle', 'red', 'right').caption!r}"
        raise DataError(f"not a moving-shapes caption: {caption!r}", hint=hint)
    fields = match.groupdict()
    ending = fields.pop("ending")
    behaviour = next(name for name, text in BEHAVIOURS.items() if text == ending)
    return ShapeScene(behaviour=behaviour, **fields)


def prompts(count: int, seed: int = 0, behaviours: Sequence[str] = tuple(BEHAVIOURS)) -> tuple[str, ...]:
    """Captions for an evaluation, balanced over colour and direction.

    Each run of 24 holds every pair of colour and direction once, in a random order. Each run of 72 also combines
    every pair with every shape once. Speeds and behaviours are drawn evenly.

    Args:
        count: Number of prompts.
        seed: Seed for order, speeds and behaviours.
        behaviours: The behaviours to draw from.
    """
    rng = np.random.default_rng(derive_seed(seed, "prompts"))
    pairs = tuple(itertools.product(enumerate(COLOURS), enumerate(DIRECTIONS)))
    chosen: list[str] = []
    for block in range(-(-count // len(pairs))):
        for pair in rng.permutation(len(pairs)):
            (c, colour), (d, direction) = pairs[pair]
            shape = SHAPES[(c + d + block) % len(SHAPES)]
            speed = SPEEDS[rng.integers(len(SPEEDS))]
            behaviour = behaviours[int(rng.integers(len(behaviours)))]
            chosen.append(ShapeScene(shape, colour, direction, speed, behaviour).caption)
    return tuple(chosen[:count])
