"""Figures: what they show, in which formats, and that their labels can be read."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from nas.errors import ConfigError, StorageError
from nas.latency import CheckReport, NetworkCheck
from nas.report import draw_front, latency_caption, layers_text, plot_front, plot_latency_check
from nas.search import Evaluation, StudyRecord
from tests.search.problem import FormulaLatency, formula_loss, small_space

SPACE = small_space()


def record(count, *, direction="minimize", budget_ms=None, provenance="measured"):
    latency, sign = FormulaLatency(SPACE), 1 if direction == "minimize" else -1
    architectures = random.Random(0).sample(list(SPACE.enumerate()), count)
    scored = []
    for trial, one in enumerate(architectures):
        latency_ms, unet_ms = latency.predict(one).pipeline_ms, latency.predict(one).unet_ms
        feasible = budget_ms is None or latency_ms <= budget_ms
        quality = sign * formula_loss(one)
        scored.append(Evaluation(one, quality, latency_ms, unet_ms, 10**6, provenance, trial, feasible))
    return StudyRecord("study", "study.db", "small", "loss", direction, 4, "test bench", "formula", budget_ms,
                       tuple(scored), 0)  # fmt: skip


@pytest.fixture
def checks():
    pairs = [(10.0, 10.5), (20.0, 19.0), (30.0, 24.0)]
    return CheckReport(tuple(NetworkCheck(SPACE.smallest(), *pair) for pair in pairs), 1.0)


def line(figure):
    return next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")


def numbers(figure):
    return [text for text in figure.axes[0].texts if text.get_text().isdigit()]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_line_is_the_front_and_axes_say_which_way_is_better(direction):
    study = record(24, direction=direction)

    figure = draw_front(study)

    assert line(figure).get_xydata().tolist() == [[one.latency_ms, one.quality] for one in study.front]
    axes = figure.axes[0]
    assert axes.get_xlabel() == "latency of one clip, ms (lower is better)"
    assert axes.get_ylabel() == f"loss ({'lower' if direction == 'minimize' else 'higher'} is better)"


def test_everything_scored_is_drawn_and_what_is_over_budget_is_marked():
    study = record(24)
    over = [one for one in study.evaluations if one.latency_ms > 30 and one not in study.front]

    figure = draw_front(study, latency_budget_ms=30, chosen=study.best_within(30).architecture)

    drawn = {each.get_label(): each.get_offsets() for each in figure.axes[0].collections}
    assert len(drawn["over budget"]) == len(over) > 0
    assert len(drawn["scored"]) + len(over) + len(study.front) == 24
    assert drawn["chosen"].tolist() == [[study.best_within(30).latency_ms, study.best_within(30).quality]]
    assert any("budget, 30 ms" in each.get_label() for each in figure.axes[0].lines)


def test_the_studys_own_budget_is_drawn_unless_another_is_given():
    figure = draw_front(record(24, budget_ms=40))

    assert any(each.get_label() == "budget, 40 ms" for each in figure.axes[0].lines)


@pytest.mark.parametrize("count", [1, 6, 24])
def test_numbers_and_lines_of_text_do_not_overlap(count):
    study = record(count)
    figure = draw_front(study, chosen=study.knee().architecture)
    figure.draw_without_rendering()

    for texts in (numbers(figure), figure.axes[1].texts):
        boxes = [text.get_window_extent() for text in texts]
        assert boxes
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
        inside = figure.bbox.padded(1)
        assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


def test_each_numbered_member_is_described_below():
    study = record(24)

    figure = draw_front(study)

    below = [text.get_text() for text in figure.axes[1].texts]
    for number in numbers(figure):
        entry = next(text for text in below if text.startswith(f"{number.get_text():>2} "))
        latency_ms, quality = number.xy
        assert f"{latency_ms:.2f}" in entry
        assert f"{quality:.4g}" in entry
    assert any(latency_caption(study)[:60] in text for text in below)


def test_the_caption_says_where_latencies_come_from():
    assert "predicted from measured block latencies on test bench, formula" in latency_caption(record(3))
    assert "predicted from estimated block latencies" in latency_caption(record(3, provenance="estimated"))
    assert "4 x denoising network" in latency_caption(record(3))


def test_empty_stages_are_left_out_of_the_description():
    assert layers_text(SPACE.architecture(["none", "conv1d", "none"])) == "down.1: conv1d"
    assert layers_text(SPACE.smallest()) == "no temporal layer"


def test_a_study_without_results_is_a_figure_that_says_so():
    assert "nothing scored yet" in draw_front(record(0)).axes[0].get_title(loc="left")


def test_each_format_is_what_its_suffix_says(tmp_path, checks):
    for suffix in ("png", "svg", "pdf", "PNG"):
        front = plot_front(record(9), tmp_path / "sub" / f"front.{suffix}")
        check = plot_latency_check(checks, tmp_path / f"check.{suffix}", measured_on="test bench")
        for path in (front, check):
            if suffix == "svg":
                assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own file
            elif suffix == "pdf":
                assert path.read_bytes().startswith(b"%PDF")
            else:
                assert np.asarray(Image.open(path).convert("L")).std() > 5


def test_an_unknown_format_is_refused(tmp_path, checks):
    for name in ("front.bmp", "front"):
        with pytest.raises(ConfigError, match=rf"{name}: cannot draw.*\.png, \.svg, \.pdf"):
            plot_front(record(3), tmp_path / name)
        with pytest.raises(ConfigError, match="cannot draw"):
            plot_latency_check(checks, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match=r"front\.png"):
        plot_front(record(3), tmp_path / "file" / "sub" / "front.png")


def test_the_check_counts_who_is_within_ten_percent(tmp_path, checks, monkeypatch):
    titles = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: titles.append(self.axes[0].get_title(loc="left")))

    plot_latency_check(checks, tmp_path / "check.png")

    assert titles == ["2 of 3 networks within 10%, mean error 11.7%"]


def test_a_check_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no checks"):
        plot_latency_check(CheckReport((), 1.0), tmp_path / "check.png")
