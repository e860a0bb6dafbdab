"""`nas search`, `front`, `pick` and `plot`, from a real supernet and a real table to the files they write."""

from __future__ import annotations

import json
import sys

import pytest

from nas.cli import main
from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.files import write_yaml
from nas.latency import LatencyPredictor, LatencyTable, MeasurementSettings, profile
from nas.runtimes import get_runtime
from nas.search import SearchConfig, hypervolume, load_study, run_search
from nas.space import Architecture, SearchSpace
from nas.training import SuperNetConfig, supernet_quality, train_supernet
from tests.search.problem import FormulaLatency, FormulaQuality, small_space


@pytest.fixture
def nas(monkeypatch, capsys):
    """Run the command line; the exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def study(tmp_path):
    """A finished study; its storage as options."""
    space = small_space()
    config = SearchConfig(sampler="exhaustive")
    run_search(space, FormulaLatency(space), FormulaQuality(), config, tmp_path / "s.db", "s")
    return "--study", "s", "--storage", str(tmp_path / "s.db")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A space, a measured table and a trained supernet."""
    folder = tmp_path_factory.mktemp("made")
    write_yaml(folder / "space.yaml", small_space().to_dict())
    space = SearchSpace.load(folder / "space.yaml")
    quick = MeasurementSettings(rounds=2, max_seconds=0, min_seconds=0)
    profile(space, get_runtime("torch", threads=1), folder / "table.csv", measurement=quick)
    video = space.file.video
    shape = ClipShape.of(video)
    clips = open_data(MovingShapesConfig(kind="moving_shapes"), shape, base=".")
    train_supernet(space, clips.train, SuperNetConfig(steps=2, batch_size=2, image_batch_size=1), folder / "supernet")
    return folder, space, clips.validation


def test_a_search_scores_with_the_supernet_and_the_table(made, nas, tmp_path):
    folder, space, clips = made
    storage = tmp_path / "study.db"
    command = ("search", folder / "space.yaml", "--table", folder / "table.csv", "--supernet", folder / "supernet",
               "--data", "moving_shapes", "--study", "s", "--storage", storage, "--batches", 1)  # fmt: skip

    code, out, err = nas(*command, "--evaluations", 6, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["scored"], found["reason"]) == (6, "6 architectures scored")

    quality = supernet_quality(space, folder / "supernet", clips, batches=1)
    latency = LatencyPredictor(space, LatencyTable.load(folder / "table.csv"))
    for member in found["front"]:
        one = next(one for one in space.enumerate() if one.id == member["id"])
        assert member["quality"] == pytest.approx(quality.score(one))
        assert member["latency_ms"] == latency.predict(one).pipeline_ms
        assert member["provenance"] == "measured"
        assert member["parameters"] > 0

    code, out, err = nas(*command, "--evaluations", 8)
    assert code == 0, err
    assert "8 architectures scored" in out
    assert json.loads(nas("front", "--study", "s", "--storage", storage, "--json")[1])["front"]

    code, out, err = nas(*command, "--latency-budget-ms", 1e-6)
    assert code == 2
    assert latency.fastest().id in err
    code, out, err = nas(*command, "--sampler", "magic")
    assert code == 2
    assert "sampler" in err
    assert "magic" in err


def test_the_front_is_printed_for_people_and_for_scripts(study, nas):
    code, out, _ = nas("front", *study, "--json")
    assert code == 0
    found = json.loads(out)
    members = found["front"]
    assert list(members[0]) == ["id", "layers", "quality", "standard_error", "latency_ms", "parameters", "provenance",
                                "runtime", "from_previous"]  # fmt: skip
    assert {(one["standard_error"], one["from_previous"]) for one in members} == {(None, None)}

    assert found["provenance"] == ["measured"]
    assert (found["quality"], found["direction"], found["device"]) == ("formula loss", "minimize", "test bench")
    worst = found["hypervolume"]["reference"]
    code, out, _ = nas("front", *study, "--reference", 20, 60, "--json")
    other = json.loads(out)["hypervolume"]
    assert other["reference"] == {"quality": 20, "latency_ms": 60}
    points = [(member["quality"], member["latency_ms"]) for member in members]
    assert other["value"] == pytest.approx(hypervolume(points, (20, 60), ("minimize", "minimize")))
    scored = load_study(study[3], "s").evaluations
    assert worst == {"quality": max(one.quality for one in scored), "latency_ms": 48}

    code, out, _ = nas("front", *study)
    assert code == 0
    assert "lower is better" in out
    assert all(member["id"][:4] in out for member in members)


def test_no_word_is_broken_in_a_terminal(study, nas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members = [one.architecture for one in load_study(study[3], "s").front]
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        for verb in (("front", *study), ("pick", *study, "--knee", "--out", "chosen.yaml")):
            code, out, _ = nas(*verb)
            shown = members if verb[0] == "front" else [Architecture.load("chosen.yaml")]
            assert code == 0
            assert max(map(len, out.splitlines())) <= columns
            words = {word.rstrip(";") for word in out.split()}
            for one in shown:
                assert {one.id, *(layer for layer in one.choices if layer != "none")} <= words


@pytest.mark.parametrize("verb", ["pick", "plot"])
@pytest.mark.parametrize("budget", ["-5", "0"])
def test_a_budget_that_is_none_is_refused(study, nas, tmp_path, verb, budget):
    code, _, err = nas(verb, *study, f"--latency-budget-ms={budget}", "--out", tmp_path / "out.png")
    assert code == 2
    assert f"expected milliseconds above zero, got {budget}" in err
    assert not (tmp_path / "out.png").exists()


def test_pick_writes_the_best_within_the_budget_or_the_knee(study, nas, tmp_path):
    members = json.loads(nas("front", *study, "--json")[1])["front"]
    middle = members[len(members) // 2]

    for options, expected in [(("--latency-budget-ms", middle["latency_ms"]), middle), (("--knee",), None)]:
        code, out, err = nas("pick", *study, *options, "--out", tmp_path / "chosen.yaml", "--json")
        assert code == 0, err
        chosen = Architecture.load(tmp_path / "chosen.yaml")
        assert chosen.id == json.loads(out)["id"]
        assert chosen.id in {member["id"] for member in members}
        assert expected is None or chosen.id == expected["id"]
        assert small_space().check(chosen)


def test_pick_refuses_what_it_cannot_do(study, nas, tmp_path):
    fastest = json.loads(nas("front", *study, "--json")[1])["front"][0]

    code, _, err = nas("pick", *study, "--latency-budget-ms", 1, "--out", tmp_path / "chosen.yaml")
    assert code == 2
    assert fastest["id"] in err
    for options in [(), ("--knee", "--latency-budget-ms", 50)]:
        code, _, err = nas("pick", *study, *options, "--out", tmp_path / "chosen.yaml")
        assert code == 2
        assert "either --latency-budget-ms or --knee" in err
    assert not (tmp_path / "chosen.yaml").exists()


def test_plot_draws_with_a_budget_that_is_met_or_not(study, nas, tmp_path):
    for number, options in enumerate([(), ("--latency-budget-ms", 30), ("--latency-budget-ms", 1)]):
        code, _, err = nas("plot", *study, *options, "--out", tmp_path / f"{number}.png")
        assert code == 0, err
        assert (tmp_path / f"{number}.png").stat().st_size > 10_000

    code, _, err = nas("plot", *study, "--out", tmp_path / "front.doc")
    assert code == 2
    assert "front.doc" in err
    assert ".svg" in err


def test_an_unfinished_study_says_so(nas, tmp_path):
    space = small_space()
    config = SearchConfig(timeout_s=1e-9)
    run_search(space, FormulaLatency(space), FormulaQuality(), config, tmp_path / "s.db", "s")
    options = ("--study", "s", "--storage", tmp_path / "s.db")

    assert "no evaluations yet" in nas("front", *options)[1]
    found = json.loads(nas("front", *options, "--json")[1])
    assert (found["front"], found["hypervolume"]) == ([], None)
    assert nas("plot", *options, "--out", tmp_path / "front.png")[0] == 0
    code, _, err = nas("pick", *options, "--knee", "--out", tmp_path / "chosen.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert "no evaluations yet" in err


def test_a_study_that_is_not_there(nas, tmp_path):
    for verb in ("front", "plot", "pick"):
        extra = () if verb == "front" else ("--out", tmp_path / "out.png")
        knee = ("--knee",) if verb == "pick" else ()
        code, _, err = nas(verb, "--study", "s", "--storage", tmp_path / "absent.db", *extra, *knee)
        assert (code, err.count("\n")) == (2, 1)
        assert "absent.db: no such file" in err


METRICS = """
def gain(architecture):
    return sum(name != "none" for name in architecture.choices)

gain.direction = "maximize"

def weights(architecture, network):
    return sum(weight.numel() for weight in network.parameters())

def fails(architecture):
    raise RuntimeError("no display")
"""


@pytest.fixture
def metrics(tmp_path, monkeypatch):
    """A module of metrics in the current folder."""
    (tmp_path / "my_metrics.py").write_text(METRICS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_metrics", None)


def test_a_function_takes_the_place_of_the_supernet(made, metrics, nas):
    folder, space, _ = made
    search = ("search", folder / "space.yaml", "--table", folder / "table.csv", "--evaluations", 6, "--storage", "s.db")

    code, out, err = nas(*search, "--study", "one", "--quality", "my_metrics:gain", "--json")
    assert code == 0, err
    for member in json.loads(out)["front"]:
        assert member["quality"] == 3 - next(one for one in space.enumerate() if one.id == member["id"]).choices.count(
            "none"
        )
    shown = json.loads(nas("front", "--study", "one", "--storage", "s.db", "--json")[1])
    assert (shown["quality"], shown["direction"]) == ("my_metrics:gain", "maximize")

    named = ("--metric", "function", "--metric-option", "function=my_metrics:gain")
    code, out, err = nas(*search, "--study", "one", *named, "--json")
    assert (code, json.loads(out)["scored"]) == (0, 0), err  # the same metric by its registered name: the same study

    two = (*search, "--study", "two", "--quality", "my_metrics:weights", "--direction", "minimize", "--json")
    code, out, err = nas(*two, "--supernet", folder / "supernet")
    assert code == 0, err
    assert all(member["quality"] == member["parameters"] for member in json.loads(out)["front"])

    code, out, err = nas(*search, "--study", "three", "--quality", "my_metrics:fails", "--direction", "minimize")
    assert (code, "5 evaluations in a row failed, the last one with RuntimeError: no display" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "needs --supernet and --data"),
        (("--supernet", "FOLDER"), "needs --data"),
        (("--direction", "minimize"), "--direction is that of a function"),
        (("--quality", "my_metrics:gain", "--data", "moving_shapes"), "--data belongs to the held-out flow loss"),
        (("--quality", "my_metrics:gain", "--batches", "3"), "--batches belongs to the held-out flow loss"),
        (("--quality", "my_metrics:gain", "--supernet", "FOLDER"), "takes the architecture alone"),
        (("--quality", "my_metrics:gain", "--direction", "minimize"), "says it is to maximize"),
        (("--quality", "my_metrics:fails"), "it is not known whether lower or higher is better"),
        (("--quality", "my_metrics:weights", "--direction", "minimize"), "takes a network and needs --supernet"),
        (("--metric", "nonsense"), "unknown quality metric 'nonsense' (known: flow_loss, frechet_distance"),
        (("--metric", "flow_loss", "--metric-option", "batchs=3"), "unknown key batchs (did you mean batches?"),
        (("--metric", "flow_loss", "--quality", "my_metrics:gain"), "--quality belongs to another metric"),
        (("--metric", "function", "--batches", "3"), "unknown key batches (known: function, direction)"),
        (("--metric", "prompt_accuracy"), "needs the option classifier"),
        (("--batches", "3", "--metric-option", "batches=3"), "batches is given twice"),
        (("--quality", "my_metrics:absent"), "has no 'absent'"),
        (("--quality", "absent:gain"), "no module 'absent'"),
    ],
)
def test_metrics_that_cannot_serve_end_in_one_line(made, metrics, nas, options, words):
    folder, _, _ = made
    common = (folder / "space.yaml", "--study", "s", "--storage", "s.db")

    for command in (("search", *common, "--table", folder / "table.csv"), ("rescore", *common)):
        code, _, err = nas(*command, *(str(folder / "supernet") if each == "FOLDER" else each for each in options))
        assert (code, err.count("\n")) == (2, 1), err
        assert words in err
    assert not (metrics / "s.db").exists()


def test_a_front_is_scored_again_and_used_from_then_on(made, metrics, nas):
    folder, space, clips = made
    where = ("--study", "s", "--storage", "s.db")
    data = ("--supernet", folder / "supernet", "--data", "moving_shapes")
    search = ("search", folder / "space.yaml", "--table", folder / "table.csv", *data, *where, "--batches", 1)
    searched = json.loads(nas(*search, "--evaluations", 6, "--json")[1])["front"]

    code, out, err = nas("rescore", folder / "space.yaml", *where, *data, "--batches", 3, "--members", 5, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["scored"], found["known"], found["failed"], found["evaluations"]) == (5, 0, 0, 5)
    assert found["quality"] == "held-out flow loss (up to 3 batches of 8)"
    assert (found["parts"], list(found["parts_of_each"].values())) == (15, [3] * 5)
    dear = supernet_quality(space, folder / "supernet", clips, batches=3)
    for member in found["front"]:
        one = next(one for one in space.enumerate() if one.id == member["id"])
        assert member["quality"] == pytest.approx(dear.score(one))
        assert member["search_quality"] != member["quality"]

    assert json.loads(nas("front", *where, "--json")[1])["front"] == found["front"]
    assert json.loads(nas("front", *where, "--search-scores", "--json")[1])["front"] == searched
    for options, front in (((), found["front"]), (("--search-scores",), searched)):
        code, out, err = nas("pick", *where, *options, "--latency-budget-ms", 1e9, "--out", "c.yaml", "--json")
        assert code == 0, err
        picked = json.loads(out)
        assert picked["by_score"]["id"] == front[-1]["id"]
        # Noise may not tell it from a faster member, which is taken then.
        assert picked["id"] == Architecture.load("c.yaml").id in [member["id"] for member in front]
        assert nas("plot", *where, *options, "--knee", "--out", "front.png")[0] == 0

    code, out, err = nas("rescore", folder / "space.yaml", *where, *data, "--batches", 1, "--finetune-steps", 2)
    assert code == 0, err
    assert f"{len(searched)} scored, 0 known before, 0 failed" in out
    assert "held-out flow loss after 2 steps alone" in nas("front", *where, "--json")[1]
    code, out, err = nas("rescore", folder / "space.yaml", *where, "--quality", "my_metrics:gain")
    assert code == 0, err
    assert json.loads(nas("front", *where, "--json")[1])["quality"] == "my_metrics:gain"
