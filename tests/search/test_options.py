"""Numbers and names on the command line that are none: refused in one line, before anything is read or written."""

from __future__ import annotations

import json

import pytest

from nas.search import SearchConfig, run_search
from tests.search.problem import FormulaLatency, FormulaQuality, small_space
from tests.search.test_cli import nas  # noqa: F401 - a fixture

HUGE = "1" + "0" * 400
NUMBERS = ["nan", "1e400", "-1", HUGE, ""]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study; its storage as options."""
    space, folder = small_space(), tmp_path_factory.mktemp("study")
    config = SearchConfig(sampler="random", evaluations=4)
    run_search(space, FormulaLatency(space), FormulaQuality(), config, folder / "s.db", "s")
    (folder / "space.yaml").write_text(json.dumps(space.to_dict()))
    (folder / "none.csv").write_text("")  # that it is no table is not said either: numbers come first
    return folder


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "option",
    ["--evaluations", "--steps", "--batches", "--latency-budget-ms", "--max-parameters", "--max-memory-bytes",
     "--timeout-s", "--patience", "--max-failures"],
)  # fmt: skip
def test_a_search_takes_no_number_that_is_none(study, nas, tmp_path, option, number):  # noqa: F811
    where = ("--table", study / "none.csv", "--study", "s", "--storage", tmp_path / "new.db")
    metric = ("--quality", "json:dumps", "--direction", "minimize")

    code, _, err = nas("search", study / "space.yaml", *where, *metric, f"{option}={number}")

    assert code == 2
    assert "Traceback" not in err
    assert option.removeprefix("--").split("-")[-1] in err.replace("_", "-")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "arguments",
    [("front", "--reference", "1"), ("plot", "--out", "{}.png", "--reference", "1"),
     ("pick", "--out", "{}.yaml", "--latency-budget-ms"), ("plot", "--out", "{}.png", "--latency-budget-ms"),
     ("rescore", "{space}", "--quality", "json:dumps", "--direction", "minimize", "--members")],
)  # fmt: skip
def test_what_reads_a_study_takes_no_number_that_is_none(study, nas, tmp_path, arguments, number):  # noqa: F811
    out = tmp_path / "out"
    verb, *others = (each.format(out, space=study / "space.yaml") for each in arguments)

    code, printed, err = nas(verb, *others, number, "--study", "s", "--storage", study / "s.db")

    assert (code, printed) == (2, ""), err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_reference_beyond_all_numbers_is_refused(study, nas):  # noqa: F811
    options = ("--study", "s", "--storage", study / "s.db", "--json", "--reference")

    code, _, err = nas("front", *options, "1e308", "1e308")
    assert (code, err.count("\n")) == (2, 1)
    assert "reference: the hypervolume up to" in err
    assert json.loads(nas("front", *options, "1e200", "1e100")[1])["hypervolume"]["value"] > 1e299


@pytest.mark.parametrize("storage", ["", " ", ":memory:", "sqlite://", "sqlite:///"])
@pytest.mark.parametrize("verb", ["search", "front"])
def test_a_study_that_nothing_would_keep_is_refused(study, nas, storage, verb):  # noqa: F811
    more = (study / "space.yaml", "--table", study / "none.csv", "--quality", "json:dumps", "--direction", "minimize")

    code, printed, err = nas(verb, *(more if verb == "search" else ()), "--study", "s", "--storage", storage)

    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert "error: " in err


def test_a_password_is_in_no_line_of_the_command_line(study, nas, tmp_path):  # noqa: F811
    for url in ("postgresql://u:hun@ter#2@127.0.0.1:1/b", "postgresql://u@127.0.0.1:1/b?password=hun@ter#2"):
        code, printed, err = nas("front", "--study", "s", "--storage", url)
        assert (code, printed, err.count("\n")) == (2, "", 1)
        assert "ter#2" not in err
