"""The content of an interactive report, and the page as a file; how it behaves in a browser is tested beside this."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import optuna
import pytest
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import NasError
from nas.latency import LatencyPredictor, LatencyTable
from nas.latency.prediction.breakdown import breakdown
from nas.quality import FunctionQuality
from nas.report.page.document import Table
from nas.report.page.front import study_front
from nas.report.page.importance import slot_importance
from nas.report.page.render import report_html, report_json
from nas.report.page.study import study_report
from nas.report.page.verdict import verdict
from nas.search import SearchConfig, run_search
from tests.report import reports

RECORD = reports.record()
PREDICTOR = reports.predictor()


def test_the_parts_of_a_clip_add_up_to_its_latency() -> None:
    parts = breakdown(PREDICTOR)
    assert [parts.parts[place] for place in parts.slots] == [None] * len(reports.SPACE.slots)
    for scored in RECORD.evaluations:
        layers = [
            each[name] for each, name in zip(parts.layers, scored.architecture.choices, strict=True) if name in each
        ]
        total = sum(part.ms * part.calls for part in [*filter(None, parts.parts), *layers])
        assert total == pytest.approx(scored.latency_ms, abs=1e-6)


def test_the_verdict_compares_with_simple_designs_part_by_part() -> None:
    scored = {one.architecture.id: one for one in RECORD.evaluations}
    chosen = RECORD.front[-1]
    made = verdict(RECORD, chosen.architecture.id, study_front(RECORD, space=reports.SPACE).slots)
    assert made is not None
    assert "no temporal layers" in {rival.design for rival in made.rivals}
    assert "self_attention_1d in the 5 slots that offer it" in {rival.design for rival in made.rivals}
    for rival in made.rivals:
        theirs = scored[rival.id]
        assert rival.chosen_better_by == pytest.approx(theirs.quality - chosen.quality)
        assert rival.beyond_noise == (ttest_rel(chosen.quality_parts, theirs.quality_parts).pvalue < 0.05)
        assert rival.slower_percent == pytest.approx(100 * (theirs.latency_ms / chosen.latency_ms - 1))
    assert made.sentences[-1].startswith("Against no temporal layers: the score of the chosen one is better by 0.2")


def test_shares_of_budgets_are_compared_in_points() -> None:
    shares = reports.record_of_shares()
    scored = {one.architecture.id: one for one in shares.evaluations}
    slots = study_front(shares, space=reports.SPACE).slots
    chosen = shares.front[-1]
    made = verdict(shares, chosen.architecture.id, slots)
    assert made is not None
    for rival in made.rivals:
        theirs = scored[rival.id].devices["phone"].latency_ms / 70
        assert rival.points_more == pytest.approx(100 * (theirs - chosen.devices["phone"].latency_ms / 70))
        assert rival.slower_percent is None
    (empty,) = [one for one in shares.evaluations if {*one.architecture.choices} == {"none"}]
    points = 100 * (chosen.latency_ms - empty.latency_ms) / 70
    assert made.sentences[-1].endswith(f"and it uses {points:.1f} points more of its tightest budget.")
    assert made.sentences[0].startswith(
        "Against the best uniform design that needs about as small a share of a budget, "
    )
    least = min(shares.front, key=lambda one: one.second)
    frugal = verdict(shares, least.architecture.id, slots)
    assert frugal is not None
    assert "needs as small a share of a budget. The nearest, " in " ".join(frugal.sentences)
    assert not {"longer", "fast"} & {*" ".join((*made.sentences, *frugal.sentences)).split()}
    assert "points of a budget</td>" in report_html(study_report(shares, space=reports.SPACE))


def test_a_share_has_the_interval_that_all_devices_leave_it() -> None:
    shares = reports.record_of_shares()
    front = study_front(shares)
    for scored, point in zip(shares.evaluations, front.points, strict=True):
        bench, phone = scored.devices["bench"].latency_ms / 40, scored.devices["phone"].latency_ms / 70
        assert point.second_low == pytest.approx(max(bench / 1.5, phone * 0.95))
        assert point.second_high == pytest.approx(max(bench * 1.5, phone * 1.05))
        assert point.second_high > 1.05 * phone
    assert front.intervals == "share within 80% and 90% intervals"
    unknown = replace(shares.evaluations[0].devices["phone"], low_ms=None, high_ms=None)
    one = replace(shares.evaluations[0], devices={**shares.evaluations[0].devices, "phone": unknown})
    alone = study_front(replace(shares, evaluations=(one,)))
    assert (alone.points[0].second_low, alone.intervals) == (None, "")


def test_a_chosen_one_that_is_a_simple_design_itself_is_called_so() -> None:
    slots = study_front(RECORD, space=reports.SPACE).slots
    uniform = [one for one in RECORD.evaluations if {*one.architecture.choices} - {"none"} == {"self_attention_1d"}]
    alone = replace(RECORD, evaluations=tuple(uniform[:1]))
    made = verdict(alone, uniform[0].architecture.id, slots)
    assert made is not None
    assert made.sentences == (
        "The chosen one is a simple design itself: self_attention_1d in the 5 slots that offer it.",
        "No other uniform design (one layer in every slot) was scored.",
    )
    twin = replace(RECORD.evaluations[0], quality_parts=())
    equal = replace(RECORD, evaluations=(replace(uniform[0], quality=twin.quality, quality_parts=()), twin))
    again = verdict(equal, uniform[0].architecture.id, slots)
    assert again is not None
    assert any("the score of the chosen one is equal" in sentence for sentence in again.sentences)


def test_the_slot_that_decides_the_score_is_the_most_important_one() -> None:
    slots = study_front(RECORD, space=reports.SPACE).slots
    found = slot_importance(RECORD, slots)
    assert found is not None
    assert max(zip(found.quality, found.slots, strict=True))[1] == "mid"
    assert (sum(found.quality), sum(found.latency)) == (pytest.approx(1), pytest.approx(1))
    assert slot_importance(reports.record(3), slots) is None


def test_a_study_alone_says_what_it_knows() -> None:
    made = study_report(RECORD)
    assert made.breakdown is None
    assert {slot.name for slot in made.front.slots} == {"down.0", "down.1", "mid", "up.0 · 1", "up.0 · 2", "up.1"}
    assert made.verdict is not None
    assert made.verdict.id == RECORD.best_within(19.0).architecture.id or "which is noise" in made.verdict.why
    assert [(line.value, line.label) for line in made.front.budgets] == [(19.0, "budget 19 ms")]
    assert sum(point.leads_search for point in made.front.points) == len(RECORD.front)
    assert {point.latency.source for point in made.front.points} == {"predicted from measured latencies of blocks"}
    assert "1 architecture could not be scored." in made.front.remarks


class _Page(HTMLParser):
    """The text of the element that holds the report, and the tags of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.data, self.tags, self._inside = "", list[str](), False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = ("id", "report-data") in attrs

    def handle_data(self, data: str) -> None:
        self.data += data if self._inside else ""
        self._inside = False


def test_the_page_is_one_file_with_all_of_the_report_in_it(tmp_path: Path) -> None:
    made = reports.whole_report(tmp_path)
    text = report_html(made)
    page = _Page(text)
    assert json.loads(page.data) == json.loads(json.dumps(report_json(made)))
    assert page.tags.count("script") == 4  # the report, plotly.js and two of the page: none of a user's text
    assert "<b>bold" not in text
    assert page.tags.count("video") == 6
    assert not {"link", "iframe", "object"} & set(page.tags)


def test_a_study_without_results_has_a_page() -> None:
    text = report_html(study_report(reports.record(0, budget_ms=0.001).within(0.001)))
    assert "Nothing has been scored yet." in text


def test_a_table_leaves_out_what_no_row_knows() -> None:
    table = Table("bundle", rows=[{"file": "a", "PSNR": None, "kind": None}, {"file": "b", "PSNR": 1.5, "kind": None}])
    assert (table.columns, table.numeric) == (("file", "PSNR"), {"PSNR"})


def _nas(*arguments: str | Path) -> str:
    """What a command prints; raises what it raises."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.slow
def test_wrong_input_is_one_error(tmp_path: Path) -> None:
    out, storage = tmp_path / "report.html", tmp_path / "study.db"
    with pytest.raises(NasError, match="not the folder of a run"):
        _nas("report", tmp_path, "--out", out)
    with pytest.raises(NasError, match="no such run or study"):
        _nas("report", storage, "--out", out)
    optuna.storages.RDBStorage(f"sqlite:///{storage}")
    with pytest.raises(NasError, match="holds no study"):
        _nas("report", storage, "--out", out)
    for name in ("a", "b"):
        optuna.create_study(storage=f"sqlite:///{storage}", study_name=name)
    with pytest.raises(NasError, match="holds the studies a, b; name one with --study"):
        _nas("report", storage, "--out", out)
    with pytest.raises(NasError, match="was not made by"):
        _nas("report", storage, "--out", out, "--study", "a")
    with pytest.raises(NasError, match=r"cannot write \.txt"):
        _nas("report", storage, "--out", tmp_path / "report.txt", "--study", "a")
    assert not out.exists()


@pytest.mark.slow
def test_a_study_with_its_table_shows_where_the_time_goes_and_no_other_table(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2]
    space, tables = folder / "search_spaces" / "quickstart.yaml", folder / "latency_tables"
    here, phone = tables / "quickstart-amd_epyc-onnxruntime.csv", tables / "quickstart-iphone-15-pro-cpu_and_ne.csv"
    latency = LatencyPredictor.open(reports.SPACE, here, 4)
    quality = FunctionQuality(lambda one: len(str(one)), name="letters", direction="minimize")
    config = SearchConfig(evaluations=3, sampler="random", steps=4)
    run_search(reports.SPACE, latency, quality, config, tmp_path / "study.db", "a")
    ends = ("--space", space, "--out", tmp_path / "report.html")
    assert "report.html" in _nas("report", tmp_path / "study.db", "--table", here, *ends)
    data = json.loads(_Page((tmp_path / "report.html").read_text()).data)
    assert data["breakdown"]["device"] == latency.table.metadata.device_text
    for point in data["front"]["points"]:
        assert point["latency"]["low_ms"] < point["latency"]["ms"] < point["latency"]["high_ms"]
        assert point["latency"]["interval_percent"] == 90
    assert " ms (90%: " in (tmp_path / "report.html").read_text()
    with pytest.raises(NasError, match=r"iPhone 15 Pro.*the study is for AMD EPYC"):
        _nas("report", tmp_path / "study.db", "--table", phone, *ends)


def test_a_part_names_the_processor_with_most_of_its_cost() -> None:
    shares = {"cost_on_neural_engine": 0.7, "cost_on_gpu": 0.3, "cost_on_cpu": 0.0}
    rows = [
        row.model_copy(update=shares if row.key.startswith("conv1d(") else {"ops_on_cpu": 1.0})
        for row in PREDICTOR.table.rows.values()
    ]
    table = LatencyTable(PREDICTOR.table.metadata).add(rows)
    parts = breakdown(LatencyPredictor(reports.SPACE, table, 4))
    assert {each["conv1d"].processor for each in parts.layers if "conv1d" in each} == {"Neural Engine"}
    assert {part.processor for part in parts.parts if part is not None} == {"CPU"}
    assert {part.processor for part in breakdown(PREDICTOR).parts if part is not None} == {""}
