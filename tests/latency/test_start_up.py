"""Commands that read tables answer quickly, because they load no library that builds networks."""

from __future__ import annotations

import subprocess
import sys

import pytest

TABLE = "latency_tables/quickstart-amd_epyc-onnxruntime.csv"
ESTIMATES = "latency_tables/quickstart-iphone-15-pro-cpu_and_ne.csv"
HEAVY = ("torch", "diffusers", "onnx", "coremltools", "optuna", "pandas", "matplotlib", "scipy")
CODE = """
import sys
from nas.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write(",".join(sys.modules))
"""


@pytest.mark.parametrize(
    "command",
    [
        ("show", TABLE, "--space", "search_spaces/quickstart.yaml"),
        ("diff", TABLE, ESTIMATES),
        ("job", "search_spaces/quickstart.yaml", "--table", "no_such_table.csv"),
    ],
    ids=lambda command: command[0],
)
def test_what_reads_tables_loads_nothing_heavy(command: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, "latency", *command], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stderr.splitlines()[-1].split(","))


def test_a_mistyped_space_is_said_at_once() -> None:
    code = CODE.replace("assert not end.code, end.code", "assert end.code == 2")
    command = [sys.executable, "-c", code, "search", "no_such_space.yaml", "--table", TABLE, "--study", "first"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    error, modules = done.stderr.splitlines()
    assert error == "error: no_such_space.yaml: no such file"
    assert not set(HEAVY) & set(modules.split(","))
