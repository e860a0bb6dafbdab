"""Batches made ahead are the batches that would have been made."""

from __future__ import annotations

import threading

import pytest
import torch

from nas.data import MovingShapes
from nas.models import make_codec, make_text_encoder
from nas.space import SearchSpace
from nas.training.engine.prefetch import AHEAD, prefetched
from nas.training.flow.batches import BatchSource

CARD = torch.device("cuda")  # named, not used


def test_they_are_the_same_in_any_order_of_asking(space: SearchSpace, clips: MovingShapes) -> None:
    source = BatchSource(clips.latents(make_codec(space)), make_text_encoder(space), 2, 2, 0.5, seed=1)
    with prefetched(source, CARD) as batches:
        for number in (5, 5, 6, 7, 9, 2):
            made, expected = batches(number), source(number)
            assert torch.equal(made.video_BTCHW, expected.video_BTCHW)
            assert torch.equal(made.image_BTCHW, expected.image_BTCHW)
            assert torch.equal(made.video_tokens_BL, expected.video_tokens_BL)


def test_the_next_are_made_by_another_thread_before_they_are_asked_for() -> None:
    made: list[tuple[int, int]] = []
    enough = threading.Event()

    def make(number: int) -> torch.Tensor:
        made.append((number, threading.get_ident()))
        if number == AHEAD:
            enough.set()
        return torch.tensor(number)

    with prefetched(make, CARD) as batches:
        assert int(batches(0)) == 0
        assert enough.wait(10)
    assert [number for number, _ in made] == list(range(AHEAD + 1))
    assert threading.get_ident() not in {thread for _, thread in made}


def test_the_phases_of_a_step_share_its_batches() -> None:
    made: list[int] = []
    with prefetched(lambda number: made.append(number) or torch.tensor(number), CARD, repeated=3) as batches:
        asked = (0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5)
        assert [int(batches(number)) for number in asked] == list(asked)
    assert made == sorted(set(made))


def test_what_a_batch_raises_comes_when_it_is_asked_for() -> None:
    def make(number: int) -> torch.Tensor:
        if number == 1:
            raise ValueError("no such clip")
        return torch.tensor(number)

    with prefetched(make, CARD) as batches:
        batches(0)
        with pytest.raises(ValueError, match="no such clip"):
            batches(1)


def test_the_thread_frees_them() -> None:
    freed: dict[int, int] = {}
    enough = threading.Event()

    class Batch:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            freed[self.number] = threading.get_ident()
            if self.number == 7:
                enough.set()

    with prefetched(Batch, CARD) as batches:
        for number in range(10):
            batch = batches(number)  # as a loop holds it until it has the next one
            assert batch.number == number
        assert enough.wait(10)
        assert [*freed] == [*range(8)]
    assert threading.get_ident() not in [freed[number] for number in range(8)]


def test_a_processor_makes_them_itself_when_they_are_asked_for() -> None:
    asked: list[int] = []
    with prefetched(lambda number: asked.append(number) or torch.tensor(number), torch.device("cpu")) as batches:
        batches(3)
    assert asked == [3]
