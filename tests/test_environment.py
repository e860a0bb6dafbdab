"""What the process environment may decide, and what it may not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import nas.environment
from nas.cli import app
from nas.environment import Launcher, launcher, launcher_alone
from nas.errors import ConfigError
from nas.progress import is_first_process

PACKAGE = Path(nas.environment.__file__).parent
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
TOLD = dict(zip((*NAMES, "MASTER_ADDR"), ("5", "8", "1", "4", "1", "a.b"), strict=True))


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)


def test_the_environment_is_read_in_one_place() -> None:
    for path in PACKAGE.rglob("*.py"):
        names = {each.attr for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Attribute)}
        if path != PACKAGE / "environment.py":
            assert not names & {"environ", "environb", "getenv", "putenv", "unsetenv"}, path


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Launcher()),
        (dict.fromkeys(TOLD, ""), Launcher()),
        ({"RANK": "0"}, Launcher()),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "-1"}, Launcher()),
        (TOLD, Launcher(5, 8, 1, 4, "a.b", 1)),
        ({"WORLD_SIZE": "2", "RANK": "1"}, Launcher(1, 2)),
        # MPI starts processes for any purpose; they are one run where they are told where to meet.
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, Launcher()),
        ({"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "0", "MASTER_ADDR": "a"}, Launcher(1, 2, 0, None, "a")),
    ],
)
def test_what_a_launcher_says_is_understood(variables: dict[str, str], expected: Launcher) -> None:
    assert launcher(variables) == expected


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"RANK": "1"}, "RANK is 1, but WORLD_SIZE is not set; start the processes with torchrun"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK is 1, but WORLD_SIZE is not set"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK is not set"),
        ({"RANK": "abc"}, "RANK is 'abc', expected a whole number"),
        ({"WORLD_SIZE": "1.5"}, "WORLD_SIZE is '1.5'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0, expected 1 or more"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2, expected 0 to 1"),
        (TOLD | {"LOCAL_RANK": "4"}, "LOCAL_RANK is 4, expected 0 to 3"),
        (TOLD | {"LOCAL_WORLD_SIZE": "9"}, "LOCAL_WORLD_SIZE is 9, expected 1 to 8"),
        (TOLD | {"MASTER_PORT": "65536"}, "MASTER_PORT is 65536, expected 0 to 65535"),
    ],
)
def test_what_contradicts_itself_is_one_line(
    variables: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as said:
        is_first_process()
    assert str(said.value).startswith(complaint)
    ended = CliRunner().invoke(app, ["space", "show", "no/such/space.yaml"])  # before it looks for the file
    assert str(ended.exception) == str(said.value)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "-1", "0", "1", "2", "3", "70000", "x", "²", " 1"]))
)
def test_whatever_the_variables_say_it_makes_sense_or_is_refused(variables: dict[str, str]) -> None:
    try:
        found = launcher(variables)
    except ConfigError:
        assert any(variables.values())
    else:
        assert 0 <= found.rank < found.world_size
        assert 0 <= (found.local_rank or 0) < (found.local_world_size or found.world_size)


@pytest.mark.parametrize("missing", ["MASTER_ADDR", "LOCAL_RANK"])
def test_processes_that_cannot_find_each_other_are_refused_before_they_try(missing: str) -> None:
    found = launcher({name: value for name, value in TOLD.items() if name != missing})
    with pytest.raises(ConfigError, match=f"WORLD_SIZE is 8, but {missing} is not set"):
        found.variables()


def test_accelerate_sees_the_launcher_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given_variables = TOLD | {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "FSDP_VERSION": "2",
        "PMI_SIZE": "3",
        "FORK_LAUNCHED": "",
        "OMP_NUM_THREADS": "4,2",
    }
    for name, value in given_variables.items():
        monkeypatch.setenv(name, value)
    with launcher_alone():
        assert {name: os.environ[name] for name in given_variables if name in os.environ} == TOLD
        os.environ["ACCELERATE_USE_FSDP"] = "true"  # as accelerate does to itself
    assert "ACCELERATE_USE_FSDP" not in os.environ
    assert {name: value for name, value in given_variables.items() if value} == {
        name: os.environ[name] for name in given_variables if name in os.environ
    }


def test_one_process_of_a_launcher_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with launcher_alone():
        assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys()


@pytest.mark.parametrize(
    ("name", "value"), [("USE_TORCH", "0"), ("USE_TF", "1"), ("USE_TF", "x"), ("DIFFUSERS_ATTN_BACKEND", "flash")]
)
def test_what_libraries_cannot_be_used_with_is_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    ended = CliRunner().invoke(app, ["space", "show", "no/such/space.yaml"])
    assert str(ended.exception) == f"{name} is {value}, which diffusers cannot be used with here; unset the variable"
    monkeypatch.setenv(name, "")
    ended = CliRunner().invoke(app, ["space", "show", "no/such/space.yaml"])
    assert str(ended.exception) == "no/such/space.yaml: no such file", ended.output


def test_python_without_docstrings_is_one_line() -> None:
    command = [sys.executable, "-OO", "-m", "nas", "space", "show", "no/such/space.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: Python runs without docstrings, which libraries need; unset PYTHONOPTIMIZE\n"
