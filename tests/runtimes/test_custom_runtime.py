"""A runtime that another package brings in one file, found through its entry point, keeps the contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nas.runtimes import block_convertible, compare, get_runtime, runtime_names, to_arrays
from nas.space import SearchSpace
from nas.testing import RuntimeConformance

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_runtime"
SPACES = Path(__file__).parents[2] / "search_spaces"


def install(site: Path) -> None:
    """What installing the example's package puts on the path: its module, and its entry point as metadata."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copy(EXAMPLE / "reference_runtime.py", site)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (group,) = project["entry-points"]
    ((name, target),) = project["entry-points"][group].items()
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path_factory.mktemp("site")
    install(site)
    monkeypatch.syspath_prepend(site)
    # Put in first, so that monkeypatch takes out what the test imports.
    monkeypatch.setitem(sys.modules, "reference_runtime", None)
    del sys.modules["reference_runtime"]
    return site


class TestReferenceRuntime(RuntimeConformance):
    name = "reference"
    options = {"opset": 21}


def test_it_comes_from_the_one_file(installed: Path) -> None:
    assert "reference" in runtime_names()
    module = sys.modules[type(get_runtime("reference")).__module__]
    assert module.__file__ == str(installed / "reference_runtime.py")


def test_a_new_process_finds_it(installed: Path) -> None:
    code = "from nas.runtimes import get_runtime; print(get_runtime('reference').settings.runtime)"
    environment = os.environ | {"PYTHONPATH": f"{installed}:{EXAMPLE.parents[1]}"}
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
