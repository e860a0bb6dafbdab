"""Text of a user in figures: drawn as it was written, whatever it holds, and without a warning."""

from __future__ import annotations

import io
import random
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from nas.latency import CheckReport, LatencyTable, TableMetadata, space_blocks
from nas.latency.prediction.checking import NetworkCheck
from nas.models import Generation, VideoModel
from nas.report import (
    draw_contact_sheet,
    draw_error_contributions,
    draw_front,
    draw_latency_check,
    draw_latency_heat_map,
)
from nas.report.comparison import Sampled, Sampling
from nas.report.lettering import spelt_out
from nas.report.style import new_figure
from nas.search import StudyRecord
from nas.space import SearchSpace
from tests.latency.strategies import measured
from tests.report.test_figures import NOON
from tests.search.problem import small_space

HOSTILE = r"$\foo$ costs $5 and $10 <b> & x_1^2"
NAME = r"$\foo$ & <b>"
STRANGE = "\U0001f415 \u8d64\u3044 \udcff \x07"


def _texts(figure: Figure) -> str:
    """All text of a figure as an SVG has it, drawn with every warning an error."""
    with mpl.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg")
        figure.savefig(io.BytesIO(), format="png", dpi=20)
    root = ET.fromstring(drawn.getvalue())  # noqa: S314 - our own file
    return " ".join("".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text"))


def _sheet(*prompts: str) -> Figure:
    space = small_space()
    torch.manual_seed(0)
    model = VideoModel.build(space, space.smallest(), Generation())
    clips = tuple(torch.zeros(2, 3, 8, 8, dtype=torch.uint8) for _ in prompts)
    return draw_contact_sheet([Sampled(Sampling(NAME, model, 1, 1.0), clips, 0.5)], prompts)


def test_a_prompt_is_drawn_as_it_was_written() -> None:
    drawn = _texts(_sheet(HOSTILE, "two\nlines"))
    assert HOSTILE in drawn
    assert NAME in drawn
    assert "two lines" in drawn


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["a long prompt " * 60, "\u8d64" * 300, "unbroken" * 80, "", "\n\n", "a\n" * 50])
def test_long_and_empty_prompts_leave_room_for_the_clips(prompt: str) -> None:
    figure = _sheet(prompt, "short")
    assert "short" in _texts(figure)
    assert all(axes.get_window_extent().width > 50 for axes in figure.axes)


def test_letters_that_no_font_has_are_spelt_out_and_others_stay() -> None:
    drawn = _texts(_sheet(f"naïve Жar {STRANGE} end"))
    assert "naïve Жar" in drawn
    assert "end" in drawn
    assert "\udcff" not in drawn
    for letter, name in (("\U0001f415", "[dog]"), ("\u8d64", "[U+8D64]")):
        assert letter in drawn or name in drawn


def _check(space: SearchSpace) -> CheckReport:
    chosen = space.sample_distinct(random.Random(1), 3)
    return CheckReport(tuple(NetworkCheck(one, 10.0 + i, None, None, (10.0,)) for i, one in enumerate(chosen)))


@pytest.mark.slow
def test_names_of_metrics_and_devices_are_drawn_as_they_are() -> None:
    space = small_space()
    rows = [measured(block.key, 1.5**index, NOON) for index, block in enumerate(space_blocks(space))]
    table = LatencyTable(TableMetadata(device=NAME, runtime="formula", threads=1)).add(rows)
    record = StudyRecord(NAME, "a.db", "small", NAME, "minimize", 4, NAME, "formula", None, (), 0)
    figures = [
        draw_latency_heat_map(space, table),
        draw_error_contributions(space, _check(space), measured_on=NAME),
        draw_latency_check(_check(space), measured_on=NAME),
        draw_front(record),
    ]
    for figure in figures:
        assert NAME in _texts(figure)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.text(max_size=12))
def test_any_text_can_be_drawn_without_a_warning(text: str) -> None:
    figure = new_figure(8, 4)
    axes = figure.subplots()
    axes.set_title(text)
    axes.text(0, 0, text, family="monospace")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png", dpi=20)


def test_text_that_can_be_drawn_is_left_alone() -> None:
    assert spelt_out("a naïve £5\nЖ → 10 µs") == "a naïve £5\nЖ → 10 µs"
    assert spelt_out("a\tb\x00c") == "a b c"


def test_figures_of_every_format_take_it(tmp_path: Path) -> None:
    from nas.report.style import save_figure

    for suffix in ("png", "svg", "pdf"):
        assert save_figure(_sheet(HOSTILE + STRANGE), tmp_path / f"a.{suffix}").stat().st_size > 1000
