"""A runtime that another package brings in one file, found through its entry point, keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.runtimes import block_convertible, compare, get_runtime, runtime_names, to_arrays
from nas.space import SearchSpace
from nas.testing import RuntimeConformance
from tests.extensions import install

ROOT = Path(__file__).parents[2]
SPACES = ROOT / "search_spaces"


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install("custom_runtime", tmp_path_factory.mktemp("site"), monkeypatch)


class TestReferenceRuntime(RuntimeConformance):
    name = "reference"
    options = {"opset": 21}


def test_it_comes_from_the_one_file(installed: Path) -> None:
    assert "reference" in runtime_names()
    module = sys.modules[type(get_runtime("reference")).__module__]
    assert module.__file__ == str(installed / "reference_runtime.py")


def test_a_new_process_finds_it(installed: Path) -> None:
    code = "from nas.runtimes import get_runtime; print(get_runtime('reference').settings.runtime)"
    environment = os.environ | {"PYTHONPATH": f"{installed}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("reference\n", 0), done.stderr


@pytest.mark.parametrize("kind", ["resnet", "spatial_transformer", "conv3d"])
def test_blocks_compute_the_same_in_numpy_and_in_onnx_runtime(kind: str, tmp_path: Path) -> None:
    """Two executors that share no code."""
    space = SearchSpace.load(SPACES / "quickstart.yaml")
    plans = (space.lower(architecture) for architecture in space.covering())
    item = block_convertible(next(block for plan in plans for block in plan.blocks if block.kind == kind))
    path, arrays = tmp_path / "block.onnx", to_arrays(item.inputs)
    get_runtime("reference").convert(item.module, item.inputs, item.names, path)
    outputs = [get_runtime(name).load(path).run(arrays) for name in ("reference", "onnxruntime")]
    assert compare(*outputs).psnr_db > 100
