"""`nas search`, `front`, `pick` and `plot`, from a real supernet and a real table to the files they write."""

from __future__ import annotations

import json
import sys

import pytest

from nas.cli import main
from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.files import write_yaml
from nas.latency import LatencyPredictor, LatencyTable, Protocol, profile
from nas.runtimes import get_runtime
from nas.search import SearchConfig, run_search
from nas.space import Architecture, SearchSpace
from nas.training import TrainingConfig, supernet_quality, train_supernet
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
    quick = Protocol(rounds=2, max_seconds=0, min_seconds=0)
    profile(space, get_runtime("torch", threads=1), folder / "table.csv", protocol=quick)
    video = space.file.video
    shape = ClipShape(video.frames, video.height, video.width, video.fps)
    clips = open_data(MovingShapesConfig(kind="moving_shapes"), shape, base=".")
    train_supernet(space, clips.train, TrainingConfig(steps=2, batch_size=2, image_batch_size=1), folder / "supernet")
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
    assert json.loads(nas("front", "--study", "s", "--storage", storage, "--json")[1])

    code, out, err = nas(*command, "--latency-budget-ms", 1e-6)
    assert code == 2
    assert latency.fastest().id in err
    code, out, err = nas(*command, "--sampler", "magic")
    assert code == 2
    assert "sampler" in err
    assert "magic" in err


def test_the_front_is_printed_for_people_and_for_scripts(study, nas):
    code, out, _ = nas("front", *study, "--json")
    members = json.loads(out)
    assert code == 0
    assert list(members[0]) == ["id", "layers", "quality", "latency_ms", "parameters", "provenance", "runtime"]

    code, out, _ = nas("front", *study)
    assert code == 0
    assert "lower is better" in out
    assert all(member["id"][:4] in out for member in members)


def test_pick_writes_the_best_within_the_budget_or_the_knee(study, nas, tmp_path):
    members = json.loads(nas("front", *study, "--json")[1])
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
    fastest = json.loads(nas("front", *study, "--json")[1])[0]

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
    assert nas("front", *options, "--json")[1].strip() == "[]"
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
