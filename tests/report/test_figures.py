"""Figures: what they show, in which formats, and that their labels can be read."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

from nas.errors import ConfigError, StorageError, TableError
from nas.latency import CheckReport, LatencyRow, LatencyTable, TableMetadata, space_blocks
from nas.latency.prediction.checking import NetworkCheck
from nas.report import (
    draw_error_contributions,
    draw_front,
    draw_latency_check,
    draw_latency_heat_map,
    latency_caption,
    layers_text,
    plot_error_contributions,
    plot_front,
    plot_latency_check,
    plot_latency_heat_map,
)
from nas.search import StudyRecord, hypervolume_history
from nas.search.results.evaluation import Evaluation
from nas.search.storage.final_scores import FinalScores
from nas.space import SearchSpace
from tests.latency.strategies import measured
from tests.report.reports import record_of_shares
from tests.search.problem import FormulaLatency, formula_loss, small_space

SPACE = small_space()
QUICKSTART = SearchSpace.load(Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(count, *, direction="minimize", budget_ms=None, provenance="measured"):
    latency, sign = FormulaLatency(SPACE), 1 if direction == "minimize" else -1
    architectures = random.Random(0).sample(list(SPACE.enumerate()), count)
    scored = []
    for trial, one in enumerate(architectures):
        latency_ms, unet_ms = latency.predict(one).pipeline_ms, latency.predict(one).unet_ms
        feasible = budget_ms is None or latency_ms <= budget_ms
        quality = sign * formula_loss(one)
        scored.append(Evaluation(one, quality, latency_ms, unet_ms, 10**6, provenance, "onnxruntime", trial, feasible))
    return StudyRecord("study", "study.db", "small", "loss", direction, 4, "test bench", "formula", budget_ms,
                       tuple(scored), 0)  # fmt: skip


def report(space, errors, *, times=1, interval=None, noise=0.0, slowdown=None):
    """Networks of 10, 20, 30, ... ms, predicted with these errors; two measurements are `noise` apart."""
    chosen = space.sample_distinct(random.Random(1), len(errors))
    found = []
    for number, (one, error) in enumerate(zip(chosen, errors, strict=True), start=1):
        predicted = 10.0 * number * (1 + error)
        ends = (None, None) if interval is None else (predicted / interval, predicted * interval)
        measurements = (10.0 * number * (1 - noise / 2), 10.0 * number * (1 + noise / 2))
        found.append(NetworkCheck(one, predicted, *ends, measurements[:times] if times > 1 else (10.0 * number,)))
    return CheckReport(tuple(found), slowdown)


@pytest.fixture
def checks():
    return report(SPACE, [-0.05, 0.05, 0.25])


@pytest.fixture
def table():
    """Every block of the quickstart, all with latencies of their own."""
    rows = [measured(block.key, 0.0123 * 1.37**index, NOON) for index, block in enumerate(space_blocks(QUICKSTART))]
    return LatencyTable(TableMetadata(device="test bench", runtime="formula", threads=1)).add(rows)


def line(figure):
    return next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")


def part(figure, name):
    return next(axes for axes in figure.axes if axes.get_label() == name)


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
def test_the_text_below_can_be_read(count):
    study = record(count)
    figure = draw_front(study, chosen=study.knee().architecture)
    figure.draw_without_rendering()

    boxes = [text.get_window_extent() for text in part(figure, "caption").texts]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])
    inside = figure.bbox.padded(1)
    assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


def test_the_chosen_architecture_is_described_below():
    study = record(24)
    knee = study.knee()

    chosen, rest = (" ".join(text.get_text().split()) for text in part(draw_front(study, chosen=knee.architecture),
                                                                       "caption").texts)  # fmt: skip
    assert chosen == f"Chosen: {layers_text(knee.architecture)}; {knee.latency_ms:,.2f} ms, loss {knee.quality:.4g}"
    assert latency_caption(study) in rest
    assert len(part(draw_front(study), "caption").texts) == 1


def test_one_outlier_does_not_flatten_the_rest():
    study = record(24)
    worst = max(one.quality for one in study.evaluations)
    far = replace(study.evaluations[0], quality=100 * worst)
    slow = replace(study.evaluations[1], latency_ms=1e6, quality=worst)

    figure = draw_front(replace(study, evaluations=(far, slow, *study.evaluations[2:])))

    axes = part(figure, "front")
    assert axes.get_ylim()[1] < 2 * worst
    assert axes.get_xlim()[1] < 1000
    assert "Triangles: beyond the axes (2)." in " ".join(part(figure, "caption").texts[-1].get_text().split())
    ends = [each.get_offsets()[0].tolist() for each in axes.collections if not each.get_clip_on()]
    assert sorted(ends) == sorted([[far.latency_ms, axes.get_ylim()[1]], [axes.get_xlim()[1], slow.quality]])
    assert "Triangles" not in part(draw_front(study), "caption").texts[-1].get_text()


def test_the_ring_of_the_chosen_one_is_never_around_a_cross_of_another():
    study = rescored(record(12), changed=True)
    scored = {one.architecture for one in study.evaluations}
    other = next(one for one in SPACE.enumerate() if one not in scored)
    same = replace(study.fallen[0], architecture=other, trial=1000)
    study = replace(study, evaluations=(*study.evaluations, same))

    search = part(draw_front(study, chosen=same.architecture), "search")

    ring = next(each for each in search.collections if each.get_label() == "chosen")
    cross = next(each for each in search.collections if each.get_label() == "fell off the front")
    above = [each for each in search.collections if each.get_zorder() > max(ring.get_zorder(), cross.get_zorder())]
    assert ring.get_offsets()[-1].tolist() in [place for each in above for place in each.get_offsets().tolist()]


def test_the_caption_says_where_latencies_come_from():
    assert "predicted from measured block latencies on test bench, formula" in latency_caption(record(3))
    assert "predicted from estimated block latencies" in latency_caption(record(3, provenance="estimated"))
    assert "4 x denoising network" in latency_caption(record(3))


def test_the_caption_of_a_single_call_speaks_of_no_clip():
    study = record(3, provenance="published")
    scored = tuple(replace(one, unet_ms=one.latency_ms) for one in study.evaluations)
    study = replace(study, evaluations=scored)

    assert latency_caption(study) == "Latency of one call, published, on test bench, formula."
    assert part(draw_front(study), "front").get_xlabel() == "latency of one call, ms (lower is better)"


def with_interval(study, factor, provenance="estimated"):
    """The study with an 80% interval of each latency."""
    ends = {"provenance": provenance, "interval_percent": 80}
    return replace(study, evaluations=tuple(
        replace(one, low_ms=one.latency_ms / factor, high_ms=one.latency_ms * factor, **ends)
        for one in study.evaluations
    ))  # fmt: skip


def bars(axes):
    """The ends of the horizontal bars of the front, by the score of the member."""
    (drawn,) = [each for each in axes.containers if "interval" in each.get_label()]
    return {y: (left, right) for (left, y), (right, _) in drawn.lines[2][0].get_segments()}


def test_a_bar_spans_the_interval_of_each_member_and_the_legend_says_which_one():
    study = with_interval(record(24), 1.2)

    figure = draw_front(study, chosen=study.knee().architecture)

    axes = part(figure, "front")
    assert bars(axes) == {one.quality: pytest.approx((one.low_ms, one.high_ms)) for one in study.front}
    assert "80% interval of latency" in labels(axes)
    low, high = axes.get_xlim()
    assert all(low < one.low_ms and one.high_ms < high for one in study.front)
    text = " ".join(" ".join(each.get_text() for each in part(figure, "caption").texts).split())
    knee = study.knee()
    assert f"{knee.latency_ms:,.2f} ms (80%: {knee.low_ms:,.2f} to {knee.high_ms:,.2f})" in text
    assert "off in the same direction" in text
    again = part(draw_front(rescored(study, changed=True)), "front")
    assert bars(again).keys() == {one.quality for one in rescored(study, changed=True).final.front}


def test_a_bar_of_a_share_reaches_as_far_as_the_intervals_on_all_devices():
    study = record_of_shares(24)

    figure = draw_front(study)

    axes = part(figure, "front")
    expected = {
        one.quality: (max(one.devices["bench"].low_ms / 40, one.devices["phone"].low_ms / 70),
                      max(one.devices["bench"].high_ms / 40, one.devices["phone"].high_ms / 70))
        for one in study.front
    }  # fmt: skip
    assert bars(axes) == {quality: pytest.approx(ends) for quality, ends in expected.items()}
    assert "share within 80% and 90% intervals" in labels(axes)
    text = " ".join(" ".join(each.get_text() for each in part(figure, "caption").texts).split())
    assert "the largest share with the latencies on all devices at that end of their intervals" in text
    assert "off in the same direction" in text  # the bench is estimated, though the phone decides


def test_intervals_that_would_flatten_the_front_are_told_not_drawn():
    study = record(24)

    wide = draw_front(with_interval(study, 10))

    axes = part(wide, "front")
    assert axes.get_xlim() == part(draw_front(study), "front").get_xlim()
    assert not [label for label in labels(axes) if "interval" in label]
    assert "not drawn where they are much wider" in " ".join(part(wide, "caption").texts[-1].get_text().split())


def test_the_hypervolume_is_drawn_against_evaluations_with_its_reference_point():
    study = record(24)

    for reference in (None, (12.0, 60.0)):
        axes = part(draw_front(study, reference=reference), "history")
        history = hypervolume_history(study, reference)
        evaluations, values = axes.lines[0].get_data()
        assert list(evaluations) == list(range(1, 25))
        assert list(values) == pytest.approx([100 * value / history.values[-1] for value in history.values])
        quality, latency_ms = history.reference
        assert f"quality {quality:.4g}, {latency_ms:.5g} ms" in axes.get_title(loc="left")


def rescored(study, *, changed, left_out=0):
    """The study with its front scored again: 100 times the loss, and some members made so bad that they fall."""
    chosen = study.front[: len(study.front) - left_out]
    bad = {one.architecture.id for one in chosen[1::3]} if changed else set()
    scores = {one.architecture.id: 100 * one.quality + 5000 * (one.architecture.id in bad) for one in chosen}
    return replace(study, final_scores=FinalScores("dear loss (64 batches)", "minimize", scores, {}))


def test_both_stages_are_drawn_and_members_that_fell_are_marked():
    study = rescored(record(24), changed=True)
    fallen = [one for one in study.front if one.architecture.id not in {x.architecture.id for x in study.final.front}]

    figure = draw_front(study, chosen=study.final.knee().architecture)

    search, final = part(figure, "search"), part(figure, "front")
    assert (search.get_ylabel(), final.get_ylabel()) == (
        "loss (lower is better)",
        "dear loss (64 batches) (lower is better)",
    )
    for axes, front in ((search, study.front), (final, study.final.front)):
        steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
        assert steps.get_xydata().tolist() == [[one.latency_ms, one.quality] for one in front]
        marked = next(each for each in axes.collections if each.get_label() == "fell off the front")
        assert sorted(marked.get_offsets()[:, 0]) == sorted(one.latency_ms for one in fallen) != []
    text = " ".join(part(figure, "caption").texts[-1].get_text().split())
    assert f"Of the {len(study.front)} on the front of the search, {len(fallen)} left it" in text


def test_labels_of_two_stages_do_not_overlap():
    study = rescored(with_interval(record(24), 1.1), changed=True)
    figure = draw_front(study, latency_budget_ms=30, chosen=study.final.knee().architecture)
    figure.draw_without_rendering()

    parts = [part(figure, name) for name in ("search", "front", "history")]
    legends = [axes.get_legend().get_window_extent() for axes in parts[:2]]
    titles = [axes._left_title.get_window_extent() for axes in parts[:3]]
    labels = [text.get_window_extent() for axes in parts[:3] for text in (axes.xaxis.label, axes.yaxis.label)]
    boxes = [*legends, *titles, *labels]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(figure.bbox.padded(1).contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_members_that_wait_to_be_scored_again_are_counted():
    figure = draw_front(rescored(record(24), changed=False, left_out=2))

    assert "2 are not scored again yet." in " ".join(part(figure, "caption").texts[-1].get_text().split())


def test_empty_stages_are_left_out_of_the_description():
    assert layers_text(SPACE.architecture(["none", "conv1d", "none"])) == "down.1: conv1d"
    assert layers_text(SPACE.smallest()) == "no temporal layer"


def test_a_study_without_results_is_a_figure_that_says_so():
    assert "nothing scored yet" in draw_front(record(0)).axes[0].get_title(loc="left")


@pytest.mark.slow
def test_each_format_is_what_its_suffix_says(tmp_path, checks, table):
    for suffix in ("png", "svg", "pdf", "PNG"):
        paths = [
            plot_front(record(9), tmp_path / "sub" / f"front.{suffix}"),
            plot_latency_check(checks, tmp_path / f"check.{suffix}", measured_on="test bench"),
            plot_latency_heat_map(QUICKSTART, table, tmp_path / f"heat.{suffix}"),
            plot_error_contributions(SPACE, checks, tmp_path / f"errors.{suffix}"),
        ]
        for path in paths:
            if suffix == "svg":
                assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own file
            elif suffix == "pdf":
                assert path.read_bytes().startswith(b"%PDF")
            else:
                assert np.asarray(Image.open(path).convert("L")).std() > 5


def test_an_unknown_format_is_refused(tmp_path, checks, table):
    for name in ("front.bmp", "front"):
        with pytest.raises(ConfigError, match=rf"{name}: .*use \.png or \.svg or \.pdf"):
            plot_front(record(3), tmp_path / name)
        with pytest.raises(ConfigError, match="use "):
            plot_latency_check(checks, tmp_path / name)
        with pytest.raises(ConfigError, match="use "):
            plot_latency_heat_map(QUICKSTART, table, tmp_path / name)
        with pytest.raises(ConfigError, match="use "):
            plot_error_contributions(SPACE, checks, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match=r"front\.png"):
        plot_front(record(3), tmp_path / "file" / "sub" / "front.png")


def caption(figure):
    return " ".join(figure.get_supxlabel().split())


def labels(axes):
    return axes.get_legend_handles_labels()[1]


def drawn_ticks(axis):
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]


def drawn_texts(figure):
    """Every text that can be seen; tick labels beyond the ends of an axis exist and cannot."""
    figure.draw_without_rendering()
    found = [text for text in figure.texts if text.get_text()]
    for axes in figure.axes:
        found += [axes.xaxis.label, axes.yaxis.label, axes._left_title, *axes.texts]
        found += [text for axis in (axes.xaxis, axes.yaxis) for text in drawn_ticks(axis)]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
    return [text for text in found if text.get_text()]


def assert_readable(figure):
    texts = drawn_texts(figure)
    inside = figure.bbox.padded(1)
    for text in texts:
        box = text.get_window_extent()
        assert inside.contains(*box.min), text.get_text()
        assert inside.contains(*box.max), text.get_text()
    # The boxes of slanted texts overlap where the texts do not.
    upright = [text for text in texts if text.get_rotation() % 90 == 0]
    for first, second in combinations(upright, 2):
        boxes = [text.get_window_extent().padded(-1) for text in (first, second)]
        assert not boxes[0].overlaps(boxes[1]), (first.get_text(), second.get_text())


def test_the_check_says_how_good_predictions_are(checks):
    left, right = draw_latency_check(checks).axes

    assert left.get_title(loc="left") == "2 of 3 networks within 10%"
    assert right.get_title(loc="left") == "mean absolute error (MAPE) 11.7%, worst 25.0%"
    near, far = (each.get_offsets() for each in left.collections if isinstance(each, PathCollection))
    np.testing.assert_allclose(near, [[10, 9.5], [20, 21]])
    np.testing.assert_allclose(far, [[30, 37.5]])
    near, far = (each.get_offsets() for each in right.collections if isinstance(each, PathCollection))
    np.testing.assert_allclose(near, [[10, -0.05], [20, 0.05]])
    np.testing.assert_allclose(far, [[30, 0.25]])


@pytest.mark.parametrize(("worst", "band"), [(0.008, "1%"), (0.03, "5%"), (0.3, "10%")])
def test_the_band_of_a_check_is_as_wide_as_its_errors(worst, band):
    left, right = draw_latency_check(report(SPACE, [0.001, -worst])).axes
    assert labels(left)[0] == f"within {band}"
    assert f" within {band}" in left.get_title(loc="left")
    assert right.get_ylim()[1] < 2 * max(worst, 0.01)


def test_the_band_of_a_check_is_the_noise_of_measuring_where_that_is_known():
    figure = draw_latency_check(report(SPACE, [0.01, -0.02], times=2, noise=0.04), measured_on="test bench, formula")
    (band,) = (each for each in figure.axes[1].collections if each.get_label().startswith("noise"))
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == pytest.approx((-0.04 / 1.02, 0.04 / 1.02))
    assert labels(figure.axes[1]) == ["noise: 3.9% between two measurements"]
    assert "each measured twice on test bench, formula." in caption(figure)


def test_the_interval_of_the_fit_is_drawn_as_what_it_is():
    once = draw_latency_check(report(SPACE, [0.01, -0.2], interval=1.05))
    assert labels(once.axes[1]) == ["90% interval of the fit"]
    (lines,) = (each for each in once.axes[1].collections if each.get_label() == "90% interval of the fit")
    # A network that measures 5% above its prediction makes the prediction 1 / 1.05 of what was measured.
    assert sorted(path.vertices[0, 1] for path in lines.get_paths()) == pytest.approx([1 / 1.05 - 1, 0.05])
    assert "50% of the networks lie in the 90% interval of their prediction." in caption(once)
    assert "was not measured" in caption(once)
    twice = draw_latency_check(report(SPACE, [0.01, -0.2], interval=1.05, times=2, noise=0.01))
    assert len(labels(twice.axes[1])) == 2


def test_predictions_that_follow_the_speed_of_the_machine_are_said_to():
    assert "multiplied by 1.070" in caption(draw_latency_check(report(SPACE, [0.01], interval=1.05, slowdown=1.07)))
    assert "multiplied by" not in caption(draw_latency_check(report(SPACE, [0.01])))


def test_a_check_without_noise_and_fit_says_so():
    figure = draw_latency_check(report(SPACE, [0.01, -0.02]))
    assert labels(figure.axes[1]) == []
    assert "sums of block latencies, without a fit" in caption(figure)
    assert "was not measured" in caption(figure)


def test_a_check_of_nothing_is_refused(tmp_path):
    for plot in (plot_latency_check, lambda *arguments: plot_error_contributions(SPACE, *arguments)):
        with pytest.raises(ConfigError, match="no checks"):
            plot(CheckReport(()), tmp_path / "check.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("count", "times", "interval"), [(1, 1, None), (5, 2, 1.03), (20, 1, 1.2)])
def test_labels_of_a_check_can_be_read(count, times, interval):
    errors = np.random.default_rng(0).normal(0, 0.05, count)
    found = report(SPACE, errors, times=times, interval=interval, noise=0.01)
    where = "AMD EPYC 7B13 64-Core Processor, onnxruntime, fp32, cpu, 2 threads"
    assert_readable(draw_latency_check(found, measured_on=where))
    assert_readable(draw_error_contributions(SPACE, found, measured_on=where))


def cells(figure):
    """Text of the heat map's cells, by slot and layer."""
    axes = figure.axes[0]
    slots, layers = ([text.get_text() for text in each] for each in (axes.get_xticklabels(), axes.get_yticklabels()))
    inside = [text for text in axes.texts if text.get_transform() == axes.transData]
    return {(slots[int(x)], layers[int(y)]): text.get_text() for text in inside for x, y in [text.get_position()]}


def test_the_heat_map_has_the_latency_of_each_candidate_and_no_other(table):
    found = cells(draw_latency_heat_map(QUICKSTART, table))

    candidates = {(slot.id, name) for slot in QUICKSTART.slots for name in slot.candidates if name != "none"}
    assert found.keys() == candidates
    for slot, name in candidates:
        index = [each.id for each in QUICKSTART.slots].index(slot)
        choices = list(QUICKSTART.smallest().choices)
        choices[index] = name
        (node,) = (each for each in QUICKSTART.lower(QUICKSTART.architecture(choices)).nodes if each.slot == slot)
        latency_ms = table.rows[node.block.key].latency_ms
        assert float(found[slot, name].replace(",", "")) == pytest.approx(latency_ms, rel=0.005)


def test_darker_is_slower(table):
    axes = draw_latency_heat_map(QUICKSTART, table).axes[0]
    shades = [(float(text.get_text()), sum(patch.get_facecolor()[:3]))
              for text, patch in zip(axes.texts, axes.patches, strict=False)]  # fmt: skip
    assert len(shades) == len(axes.patches)
    ordered = sorted(shades)
    assert [shade for _, shade in ordered] == sorted((shade for _, shade in ordered), reverse=True)


def test_the_heat_map_marks_what_cannot_run_and_says_where_figures_come_from(table):
    blocks = {block.kind: block.key for block in space_blocks(QUICKSTART)}
    rows = [
        LatencyRow(key=blocks[kind], kind=kind, status=status, memory_bytes=1, provenance="measured")
        for kind, status in (("self_attention_3d", "out_of_memory"), ("cross_attention_3d", "over_memory_budget"))
    ]
    figure = draw_latency_heat_map(QUICKSTART, table.add(rows))
    found = cells(figure)
    assert found["mid/0", "self_attention_3d"] == "out of\nmemory"
    assert found["mid/0", "cross_attention_3d"] == "over\nbudget"
    assert sum(patch.get_hatch() is not None for patch in figure.axes[0].patches) == list(found.values()).count(
        "out of\nmemory"
    ) + list(found.values()).count("over\nbudget")
    text = caption(figure)
    assert text.startswith("Measured latency at batch 1 on test bench, formula, fp32, cpu, 1 thread.")
    assert "25th percentile of the detrended calls" in text
    assert "Hatched: could not run there." in text
    assert "Hatched" not in caption(draw_latency_heat_map(QUICKSTART, table))


def test_estimated_cells_are_not_passed_off_as_measured(table):
    rows = [
        LatencyRow(key=row.key, kind=row.kind, latency_ms=row.latency_ms, provenance="estimated")
        for row in table.rows.values()
    ]
    estimated = draw_latency_heat_map(QUICKSTART, LatencyTable(table.metadata).add(rows))
    assert caption(estimated).startswith("Estimated latency")
    assert "measured" not in caption(estimated)
    key = next(block.key for block in space_blocks(QUICKSTART) if block.kind == "cross_attention_1d")
    mixed = draw_latency_heat_map(QUICKSTART, table.add(row for row in rows if row.key == key))
    assert caption(mixed).startswith("Measured and estimated latency")
    marked = {place for place, text in cells(mixed).items() if text.endswith("estimated")}
    assert marked == {("mid/0", "cross_attention_1d")}


def test_a_layer_that_is_not_in_the_table_is_named_with_the_command(table):
    key = next(block.key for block in space_blocks(QUICKSTART) if block.kind == "conv3d")
    rows = {name: row for name, row in table.rows.items() if name != key}
    with pytest.raises(TableError, match=r"no latency for block conv3d.*nas profile"):
        draw_latency_heat_map(QUICKSTART, LatencyTable(table.metadata, rows))


def test_labels_of_the_heat_map_can_be_read(table):
    assert_readable(draw_latency_heat_map(QUICKSTART, table))


def test_errors_by_layer_are_drawn_where_they_are_and_those_unknown_are_not():
    found = report(QUICKSTART, [0.02, -0.01, 0.03])
    figure = draw_error_contributions(QUICKSTART, found, measured_on="test bench, formula")
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [f"{slot.id}  {name}" for slot in QUICKSTART.slots for name in slot.candidates]
    drawn = {
        names[list(axes.get_yticks()).index(y)]: x for x, y in zip(*axes.containers[0].lines[0].get_data(), strict=True)
    }
    expected = {}
    for check in found.checks:
        for slot, name in zip(QUICKSTART.slots, check.architecture.choices, strict=True):
            expected.setdefault(f"{slot.id}  {name}", []).append(100 * check.error)
    assert drawn == pytest.approx({name: np.mean(errors) for name, errors in expected.items()})
    counts = [int(text.get_text()) for text in axes.texts if text.get_text().isdigit()]
    assert counts == [len(expected.get(name, ())) for name in names]
    assert "mean over all 3 networks, +1.3%" in labels(axes)
    assert "Measured on test bench, formula." in caption(figure)
    assert_readable(figure)
