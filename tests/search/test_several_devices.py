"""One search over several devices: the second objective, budgets by device, and what a study keeps of each."""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import asdict, dataclass, replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli._budgets import latency_budget
from nas.errors import BudgetError, ConfigError, NasError
from nas.quality import FunctionQuality
from nas.report import study_report
from nas.report.front_figure import draw_front, latency_caption
from nas.report.page.render import report_html
from nas.search import ChoiceSpace, Objective, SearchConfig, SumLatency, load_study, pick, rescore, run_search
from nas.search.identity import identity
from nas.search.proposals import compromise
from nas.search.results.choosing import choose
from nas.search.results.intervals import with_intervals
from nas.space import Budgets
from tests.search.formulas import Figure, FormulaLatency, PlainSpace, formula_loss

SPACE = PlainSpace()
EVERYTHING = list(SPACE.enumerate())
PHONE, LAPTOP = "a phone", "a laptop"
LIMITS = {LAPTOP: 40.0, PHONE: 70.0}


class On(FormulaLatency):
    """A device on which the layers of each slot take their own time, so that devices differ in the order."""

    def __init__(self, device, weights, provenance="measured"):
        super().__init__(SPACE)
        self.device, self.weights, self.provenance = device, weights, provenance

    def predict(self, architecture):
        layers = super().predict(architecture).unet_ms - 2
        slots = sum(weight * (name != "none") for weight, name in zip(self.weights, architecture.choices, strict=True))
        return Figure(10 + layers + slots, 2 + layers, self.provenance, self.device, f"runtime of {self.device}")


MODELS = {PHONE: On(PHONE, (40, 1, 2), "estimated"), LAPTOP: On(LAPTOP, (1, 9, 17))}


def quality():
    return FunctionQuality(formula_loss, direction="minimize", name="loss")


def objective(limits=LIMITS, which="worst"):
    return Objective(SPACE, MODELS, quality(), Budgets(latency_ms=limits), None, which)


def search(folder, name="s", models=MODELS, **changes):
    config = SearchConfig(**{"evaluations": 100, "sampler": "exhaustive", **changes})
    return run_search(SPACE, models, quality(), config, folder / "study.db", name).record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every architecture scored in two studies: `worst` with both budgets, and `phone` with that of the laptop."""
    made = tmp_path_factory.mktemp("devices")
    search(made, "worst", latency="worst", budgets=Budgets(latency_ms=LIMITS))
    search(made, "phone", latency=PHONE)
    return made


def milliseconds(device, architecture):
    return MODELS[device].predict(architecture).pipeline_ms


def front_of(points):
    """Ids of the points that no other one dominates, by comparing all pairs."""
    return {
        key
        for key, (loss, cost) in points.items()
        if not any(a <= loss and b <= cost and (a, b) != (loss, cost) for a, b in points.values())
    }


@given(
    limits=st.tuples(*[st.floats(1e-3, 1e6)] * 2),
    one=st.sampled_from(EVERYTHING),
)
def test_the_worst_share_is_the_largest_quotient_of_latency_and_budget(limits, one):
    budget = dict(zip(MODELS, limits, strict=True))
    shares = {device: milliseconds(device, one) / budget[device] for device in MODELS}
    asked = objective(budget)
    costs = asked.costs(one)

    assert asked.second(one) == max(shares.values())
    assert shares[costs.device] == max(shares.values())
    assert costs.latency_ms == milliseconds(costs.device, one)
    assert asked.feasible(one) == (max(shares.values()) <= 1)
    assert asked.constraints(one) == {
        f"latency_ms on {device}": pytest.approx(share - 1) for device, share in shares.items()
    }


@pytest.mark.parametrize("which", MODELS)
def test_a_named_device_is_minimised_and_the_budgets_of_all_hold(which):
    asked = objective({LAPTOP: 30}, which)
    for one in EVERYTHING:
        assert asked.second(one) == milliseconds(which, one)
        assert asked.feasible(one) == (milliseconds(LAPTOP, one) <= 30)
        assert {name: latency.latency_ms for name, latency in asked.costs(one).devices.items()} == {
            device: milliseconds(device, one) for device in MODELS
        }


def test_the_front_is_that_of_all_architectures_within_the_budgets(folder):
    record = load_study(folder / "study.db", "worst")
    shares = {
        one.id: (formula_loss(one), max(milliseconds(device, one) / limit for device, limit in LIMITS.items()))
        for one in EVERYTHING
    }
    within = {key: point for key, point in shares.items() if point[1] <= 1}
    assert 3 < len(within) < len(EVERYTHING)
    assert {member.architecture.id for member in record.front} == front_of(within)
    for member in record.front:
        assert member.second == member.share == shares[member.architecture.id][1]
        assert {name: latency.provenance for name, latency in member.devices.items()} == {
            LAPTOP: "measured", PHONE: "estimated",
        }  # fmt: skip

    other = load_study(folder / "study.db", "phone")
    points = {one.id: (formula_loss(one), milliseconds(PHONE, one)) for one in EVERYTHING}
    assert {member.architecture.id for member in other.front} == front_of(points)
    assert [member.latency_ms for member in other.front] == sorted(member.second for member in other.front)


def test_pick_takes_the_best_of_all_that_meet_the_budgets_of_both(folder):
    record = load_study(folder / "study.db", "phone")
    on_front = {member.architecture.id for member in record.front}
    beside = 0
    for limits in ({PHONE: 60, LAPTOP: 30}, {LAPTOP: 25}, {PHONE: 30}, {PHONE: 75, LAPTOP: 18}):
        able = [one for one in EVERYTHING if all(milliseconds(name, one) <= limit for name, limit in limits.items())]
        chosen = pick(record, limits).architecture
        assert chosen.id == min(able, key=formula_loss).id
        beside += chosen.id not in on_front
    assert beside  # fast on the laptop, but beaten on the phone: the front alone would miss it
    words = (
        r"budgets of 9 ms on a laptop and 11 ms on a phone; the closest is .* with 10 ms on a laptop and 10 ms on a ph"
    )
    with pytest.raises(BudgetError, match=words):
        pick(record, {PHONE: 11, LAPTOP: 9})
    with pytest.raises(ConfigError, match=r"50 ms without a device, .*a laptop, a phone.* --latency-budget-ms \"a lap"):
        pick(record, 50)
    with pytest.raises(ConfigError, match=r"unknown device 'phone' \(known: a laptop, a phone\)"):
        pick(record, {"phone": 50})


@pytest.mark.parametrize(
    ("given_settings", "words"),
    [
        ({}, r"there are 2 devices, a laptop, a phone, .*--latency \"a laptop\".* --latency worst"),
        ({"latency": "phone"}, r"unknown device 'phone' \(known: a laptop, a phone, or worst\)"),
        ({"latency": "worst"}, "a laptop has no latency budget; add --latency-budget-ms \"a laptop="),
        ({"latency": "worst", "budgets": Budgets(latency_ms={LAPTOP: 9})}, "a phone has no latency budget"),
        ({"latency": PHONE, "budgets": Budgets(latency_ms=100)}, r"100 ms without a device"),
        ({"latency": PHONE, "budgets": Budgets(latency_ms={"x": 9})}, r"unknown device 'x' \(known: a laptop, a phone"),
        ({"latency": PHONE, "budgets": Budgets(latency_ms={LAPTOP: 9})},
         r"no architecture meets the budget of 9 ms on a laptop; the fastest is .* with 10 ms"),
    ],
)  # fmt: skip
def test_what_is_not_said_or_not_possible_is_one_line_and_scores_nothing(tmp_path, given_settings, words):
    with pytest.raises(NasError, match=words) as caught:
        search(tmp_path, **given_settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study.db").exists()


def test_one_device_is_what_it_was(tmp_path):
    """A device by its name, and its budget by its name, make the study that a bare model and a number make."""
    few, bench = {"sampler": "random", "evaluations": 4}, FormulaLatency(SPACE)
    bare = search(tmp_path, "bare", bench, **few, budgets=Budgets(latency_ms=40))
    named = search(tmp_path, "named", {"bench": bench}, **few, budgets=Budgets(latency_ms={"bench": 40}))
    by_name = Budgets(latency_ms={"test bench": 40})
    asked = search(tmp_path, "asked", bench, **few, budgets=by_name, latency="test bench")
    for other in (named, asked):
        assert replace(other, name="bare") == bare
    studies = [optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path}/study.db")
               for name in ("bare", "named", "asked")]  # fmt: skip
    first, *others = [[(trial.params, trial.values, trial.user_attrs, trial.constraints) for trial in study.trials]
                      for study in studies]  # fmt: skip
    assert others == [first, first]
    assert "devices" not in studies[0].user_attrs["identity"]
    assert studies[0].user_attrs["identity"]["budgets"]["latency_ms"] == 40
    assert len({json.dumps(study.user_attrs["identity"], sort_keys=True) for study in studies}) == 1
    assert "latency" not in SearchConfig().model_dump()
    for wrong in ("worst", "another"):
        with pytest.raises(ConfigError, match="has one device, test bench; "):
            search(tmp_path, "wrong", FormulaLatency(SPACE), latency=wrong)


def test_a_study_of_several_devices_is_resumed_with_the_same_ones_only(tmp_path):
    kept = {"latency": PHONE, "sampler": "random"}
    search(tmp_path, evaluations=3, **kept)
    turned = dict(reversed(MODELS.items()))
    assert len(search(tmp_path, models=turned, evaluations=5, **kept).evaluations) == 5
    for changed, words in [
        ({"latency": LAPTOP}, "another second objective"),
        ({"budgets": Budgets(latency_ms={LAPTOP: 40})}, "other budgets"),
        ({"models": MODELS | {LAPTOP: On(LAPTOP, (1, 9, 18))}}, "another latency table"),
        (
            {"models": MODELS["a phone"], "latency": None},
            "another latency table and device a laptop and a phone instead of a phone",
        ),
    ]:
        with pytest.raises(ConfigError, match=words):
            search(tmp_path, **{"evaluations": 6, **kept, **changed})


@pytest.mark.parametrize("sampler", ["pareto", "nsga2", "random"])
def test_each_sampler_searches_shares(tmp_path, sampler):
    record = search(tmp_path, sampler=sampler, evaluations=9, latency="worst", budgets=Budgets(latency_ms=LIMITS))
    assert len(record.evaluations) == 9
    assert all(scored.feasible and scored.share <= 1 for scored in record.evaluations)


def test_the_second_stage_keeps_the_devices(folder, tmp_path):
    copy = tmp_path / "study.db"
    copy.write_bytes((folder / "study.db").read_bytes())
    again = FunctionQuality(lambda one: formula_loss(one) + random.Random(one.id).random(), direction="minimize",
                            name="again")  # fmt: skip
    record = rescore(copy, "worst", again, members=12).record
    assert len(record.final.evaluations) == 12
    for member in record.final.front:
        assert member.share == max(milliseconds(name, member.architecture) / limit for name, limit in LIMITS.items())
    assert choose(record).member in record.final.front


def test_the_page_names_every_device(folder):
    record = load_study(folder / "study.db", "worst")
    report = study_report(record)
    page = report_html(report)
    assert report.front.second == "largest share of a latency budget"
    assert [line.value for line in report.front.budgets] == [1.0]
    for scored, point in zip(record.evaluations, report.front.points, strict=True):
        assert point.second == scored.share
        assert {each.device: each.ms for each in point.on_devices} == {
            name: each.latency_ms for name, each in scored.devices.items()
        }
    assert all(device in page for device in MODELS)


def test_the_figure_and_its_caption_name_every_device(folder):
    record = load_study(folder / "study.db", "worst")
    caption = latency_caption(record)
    for words in ("estimated on a phone, runtime of a phone", "measured on a laptop", "40 ms on a laptop", "no unit"):
        assert words in caption
    parts = {axes.get_label(): axes for axes in draw_front(record, chosen=record.front[0].architecture).axes}
    assert "share" in parts["front"].get_xlabel()
    assert "no unit" in parts["front"].get_xlabel()
    listed = " ".join(text.get_text() for text in parts["caption"].texts)
    latencies = record.front[0].devices
    assert all(f"{latencies[device].latency_ms:,.2f} ms on {device}" in " ".join(listed.split()) for device in MODELS)
    lines = [line.get_xdata()[0] for line in parts["front"].lines if line.get_linestyle() == "--"]
    assert lines == [1.0]
    other = load_study(folder / "study.db", "phone")
    parts = {axes.get_label(): axes for axes in draw_front(other, latency_budget_ms={PHONE: 30, LAPTOP: 20}).axes}
    assert "on a phone, ms" in parts["front"].get_xlabel()
    assert [line.get_xdata()[0] for line in parts["front"].lines if line.get_linestyle() == "--"] == [30]


def damage(database, name, value):
    with sqlite3.connect(database) as connection:
        statement = "UPDATE {} SET value_json = ? WHERE key = ?"
        for table in ("study_user_attributes", "trial_user_attributes"):
            connection.execute(statement.format(table), (json.dumps(value), name))
    connection.close()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("devices", lambda _: {PHONE: {"latency_ms": 1}}, r"trial 0: key devices.a phone.unet_ms is missing"),
        ("devices", lambda _: {"x": {"latency_ms": 1, "unet_ms": 1, "provenance": "measured", "runtime": "r"}},
         r"trial 0: device: '.*' is not in devices"),
        ("devices", lambda _: {}, r"trial 0: devices: none, but those of the study are a laptop, a phone"),
        ("device", lambda _: "x", r"trial 0: device: 'x' is not in devices"),
        ("identity", lambda known: known | {"devices": {}}, "identity.*latency_ms names other devices"),
        ("identity", lambda known: known | {"second_objective": "x"}, "identity.*second_objective is 'x'"),
        ("identity", lambda known: known | {"budgets": {"latency_ms": {PHONE: 1}}}, "identity.*lacks a device"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named(folder, tmp_path, name, change, words):
    copy = tmp_path / "study.db"
    copy.write_bytes((folder / "study.db").read_bytes())
    known = optuna.load_study(study_name="worst", storage=f"sqlite:///{copy}").user_attrs["identity"]
    damage(copy, name, change(known))
    with pytest.raises(NasError, match=words):
        load_study(copy, "worst")


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).map(str.strip).filter(len)


@given(st.dictionaries(NAMES, st.floats(1e-6, 1e12), min_size=1))
def test_budgets_by_device_are_read_as_they_are_written(limits):
    assert latency_budget([f"{device}={limit!r}" for device, limit in limits.items()]) == limits


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["x"], "milliseconds above zero, got x"), (["a=0"], "got 0"), (["a=nan"], "got nan"), (["a=inf"], "got inf"),
        (["a="], "got 'a='"), (["=3"], "expected DEVICE=MS, got '=3'"), (["a=1", "a=1"], "given twice for a"),
        (["1", "2"], "given twice"), (["1", "a=2"], "one number, or one for each device"),
    ],
)  # fmt: skip
def test_budgets_that_are_none_are_refused(texts, words):
    with pytest.raises(ConfigError, match=words):
        latency_budget(texts)
    assert latency_budget([]) is None
    assert latency_budget([" 9e3 "]) == 9000


def test_budgets_of_a_file_and_of_a_space_are_merged_by_device():
    own, of_space = Budgets(latency_ms={"a": 1}), Budgets(latency_ms={"a": 5, "b": 6}, parameters=7)
    assert own.or_else(of_space) == Budgets(latency_ms={"a": 1, "b": 6}, parameters=7)
    assert Budgets(latency_ms=3).or_else(of_space).latency_ms == 3
    assert Budgets().or_else(of_space) == of_space
    assert Budgets.model_validate({"latency_ms": 9}).model_dump()["latency_ms"] == 9.0


@dataclass(frozen=True)
class FigureWithInterval(Figure):
    """A latency of which the error is known."""

    low_ms: float = 0.0
    high_ms: float = 0.0
    interval_percent: int = 80


class Surely(On):
    """A device with intervals of 10 percent."""

    def predict(self, architecture):
        known = super().predict(architecture)
        return FigureWithInterval(**asdict(known), low_ms=known.pipeline_ms / 1.1, high_ms=known.pipeline_ms * 1.1)


def test_each_latency_keeps_its_interval(tmp_path):
    models = MODELS | {PHONE: Surely(PHONE, (40, 1, 2), "estimated")}
    limits = {"budgets": {"latency_ms": LIMITS}, "latency": "worst"}
    record = search(tmp_path, models=models, **limits)

    for one in record.evaluations:
        phone, laptop = one.devices[PHONE], one.devices[LAPTOP]
        assert (phone.low_ms, phone.high_ms) == (phone.latency_ms / 1.1, phone.latency_ms * 1.1)
        assert laptop.interval_percent is None
        assert "low_ms" not in one.to_dict()["devices"][LAPTOP]
        assert one.interval_ms == ((phone.low_ms, phone.high_ms) if one.device == PHONE else None)


def test_a_study_without_intervals_gets_those_of_the_latencies_it_has_stored(tmp_path):
    search(tmp_path, models={PHONE: MODELS[PHONE]})
    stored = load_study(tmp_path / "study.db", "s")
    assert {one.interval_ms for one in stored.evaluations} == {None}

    known = with_intervals(stored, Surely(PHONE, (40, 1, 2)), SPACE)
    assert all(one.interval_ms == (one.latency_ms / 1.1, one.latency_ms * 1.1) for one in known.evaluations)
    assert [one.latency_ms for one in known.evaluations] == [one.latency_ms for one in stored.evaluations]
    other = with_intervals(stored, Surely(PHONE, (41, 2, 3)), SPACE)
    same = {one.interval_ms is None for one in other.evaluations if set(one.architecture.choices) != {"none"}}
    assert same == {True}


def test_the_identity_names_every_device():
    made = identity(objective(), SearchConfig(latency="worst"))
    assert made["device"] == "a laptop and a phone"
    assert made["devices"][PHONE] == {"device": PHONE, "runtime": f"runtime of {PHONE}"}
    assert (made["second_objective"], made["budgets"]["latency_ms"]) == ("worst", LIMITS)


def test_a_compromise_is_found_where_each_device_wants_another_architecture(tmp_path):
    """In 3^12 architectures, the fastest on a device takes 120 ms on the other, and 13 are within both budgets."""
    space = ChoiceSpace({f"slot {number}": ["a", "b", "c"] for number in range(12)}, name="large")
    times = {PHONE: (1, 10, 2.4), LAPTOP: (10, 1, 2.4)}
    models = {
        device: SumLatency(
            space,
            # What is fast where differs from slot to slot, so that no uniform architecture is within the budgets.
            {slot.id: {name: known[(place + number) % 3] for place, name in enumerate(slot.candidates)}
             for number, slot in enumerate(space.slots)},
            provenance="estimated", device=device, runtime="r",
        )
        for device, known in times.items()
    }  # fmt: skip
    score = FunctionQuality(lambda one: one.choices.count("b") + 0.5, direction="minimize", name="count")
    config = SearchConfig(evaluations=4, latency="worst", budgets=Budgets(latency_ms={PHONE: 32, LAPTOP: 37}))
    asked = Objective(space, models, score, config.budgets, None, "worst")
    assert not any(asked.feasible(model.fastest()) for model in models.values())
    assert asked.feasible(compromise(asked))
    found = run_search(space, models, score, config, tmp_path / "study.db", "large").record
    assert len(found.evaluations) == 4
    assert all(scored.feasible for scored in found.evaluations)


@given(
    st.lists(st.lists(st.tuples(*[st.floats(0.1, 10)] * 2), min_size=2, max_size=3), min_size=1, max_size=4),
    st.tuples(*[st.floats(1, 30)] * 2),
)
@settings(max_examples=30)
def test_a_compromise_is_nearly_the_best_worst_share(times, limits):
    space = ChoiceSpace({f"s{row}": [f"c{place}" for place in range(len(each))] for row, each in enumerate(times)},
                        name="x")  # fmt: skip
    models = {
        device: SumLatency(
            space,
            {f"s{row}": {f"c{place}": pair[index] for place, pair in enumerate(each)}
             for row, each in enumerate(times)},
            provenance="estimated", device=device, runtime="r",
        )
        for index, device in enumerate((LAPTOP, PHONE))
    }  # fmt: skip
    budget = dict(zip((LAPTOP, PHONE), limits, strict=True))
    asked = Objective(space, models, quality(), Budgets(latency_ms=budget), None, "worst")
    best = min(map(asked.second, space.enumerate()))
    largest = max(max(a / limits[0], b / limits[1]) for each in times for a, b in each)
    assert best <= asked.second(compromise(asked)) <= best + largest  # what rounding one slot of the relaxation costs
