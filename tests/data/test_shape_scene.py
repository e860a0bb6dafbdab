from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import parse_caption, prompts
from nas.data.moving_shapes.scene import BEHAVIOURS, COLOURS, DIRECTIONS, SHAPES, SPEEDS, ShapeScene
from nas.errors import DataError

scenes = st.builds(
    ShapeScene,
    st.sampled_from(SHAPES),
    st.sampled_from(list(COLOURS)),
    st.sampled_from(list(DIRECTIONS)),
    st.sampled_from(SPEEDS),
    st.sampled_from(list(BEHAVIOURS)),
)


def test_sentences_read_as_documented() -> None:
    assert ShapeScene("circle", "red", "right").caption == "a red circle moves right quickly"
    assert ShapeScene("square", "blue", "up", "slowly", "bounce").caption == "a blue square moves up slowly and bounces"
    bar = ShapeScene("triangle", "green", "left", "quickly", "hide")
    assert bar.caption == "a green triangle moves left quickly behind a grey bar"


def test_every_sentence_is_read_back() -> None:
    everything = itertools.product(SHAPES, COLOURS, DIRECTIONS, SPEEDS, BEHAVIOURS)
    captions = {}
    for scene in itertools.starmap(ShapeScene, everything):
        assert parse_caption(scene.caption) == scene
        captions[scene.caption] = scene
    assert len(captions) == 3 * 6 * 4 * 2 * 3


@given(scenes, st.text(min_size=1, max_size=5))
def test_text_around_a_sentence_is_foreign(scene: ShapeScene, extra: str) -> None:
    with pytest.raises(DataError, match="not a moving-shapes caption"):
        parse_caption(extra + scene.caption)


@pytest.mark.parametrize("text", ["", "a rabbit stretches", "a pink circle moves right quickly", "a red circle moves"])
def test_foreign_text_is_named_with_an_example(text: str) -> None:
    with pytest.raises(DataError, match="write it like 'a red circle moves right quickly'") as caught:
        parse_caption(text)
    assert repr(text) in str(caught.value)


def test_unknown_attribute_is_named() -> None:
    with pytest.raises(DataError, match=r"direction 'sideways'.*left, right, up, down"):
        ShapeScene("circle", "red", "sideways")


@pytest.mark.parametrize("count", [24, 48, 72])
def test_prompts_are_balanced(count: int) -> None:
    parsed = [parse_caption(prompt) for prompt in prompts(count, seed=3)]
    pairs = Counter((scene.colour, scene.direction) for scene in parsed)
    assert len(pairs) == 24
    assert set(pairs.values()) == {count // 24}
    shapes = Counter(scene.shape for scene in parsed)
    assert set(shapes.values()) == {count // 3}


def test_72_prompts_hold_every_triple_once() -> None:
    parsed = [parse_caption(prompt) for prompt in prompts(72)]
    assert len({(scene.colour, scene.direction, scene.shape) for scene in parsed}) == 72


def test_prompts_follow_seed_and_count_and_behaviours() -> None:
    assert prompts(30, seed=1) == prompts(60, seed=1)[:30]
    assert prompts(30, seed=1) != prompts(30, seed=2)
    assert prompts(0) == ()
    assert {parse_caption(prompt).behaviour for prompt in prompts(48, behaviours=("move",))} == {"move"}
    assert {parse_caption(prompt).behaviour for prompt in prompts(48)} == set(BEHAVIOURS)
