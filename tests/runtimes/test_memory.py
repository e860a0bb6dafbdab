"""Running out of memory is an error of its own, and the limit that makes it one goes away again."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.errors import CheckpointError, OutOfMemoryError
from nas.runtimes import memory_errors, memory_guard
from nas.runtimes.available import available_memory_bytes
from nas.runtimes.conversion import conversion_errors
from tests.processes import run_script

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is one of Linux")

# Every way to need 100 MB or more, first within a guard that leaves 60 MB, then without.
SCRIPT = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy, onnx, torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from nas.runtimes import get_runtime, memory_guard
from nas.runtimes.available import available_memory_bytes

class Wide(nn.Module):
    def forward(self, x):
        return (x[:, None] * x[None, :]).sum(dim=1)

class Constant(nn.Module):
    def forward(self, x):
        return x + len(bytearray(100_000_000))

folder = Path(sys.argv[1])
onnxruntime, eager = get_runtime("onnxruntime"), get_runtime("torch")
weights = nn.Linear(5000, 5000)
expand = helper.make_graph(
    [helper.make_node("Expand", ["x", "shape"], ["y"]), helper.make_node("ReduceSum", ["y"], ["z"], keepdims=0)],
    "expand", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
    [helper.make_tensor_value_info("z", TensorProto.FLOAT, [])],
    [numpy_helper.from_array(numpy.array([30_000_000]), "shape")])
opset = [helper.make_opsetid("", 20)]
onnx.save(helper.make_model(expand, opset_imports=opset, ir_version=9), folder / "expand.onnx")
product = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "product",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5000])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5000])],
    [numpy_helper.from_array(numpy.ones((5000, 5000), "f"), "w")])
onnx.save(helper.make_model(product, opset_imports=opset, ir_version=9), folder / "weights.onnx")
small, bound = (onnxruntime.load(folder / "expand.onnx") for _ in range(2))
wide = eager.prepare(Wide(), (torch.zeros(6000),), ("x",), folder)
one, many = [numpy.ones(1, "f")], [numpy.ones(6000, "f")]
# Converters import most of what they need on first use: not within the guard, it is large values that are to fail.
onnxruntime.convert(nn.Linear(2, 2), (torch.zeros(1, 2),), ("x",), folder / "first.onnx")
(folder / "made").mkdir()

TASKS = {
    "python": lambda: bytearray(100_000_000),
    "numpy": lambda: numpy.empty(30_000_000, "f"),
    "torch": lambda: torch.empty(30_000_000),
    "torch prepare": lambda: eager.prepare(weights, (torch.zeros(1, 5000),), ("x",), folder),
    "torch run": lambda: wide.run(many),
    "torch bound": wide.bind(many),
    "torch peak memory": lambda: wide.peak_memory_bytes(many),
    "onnxruntime convert": lambda: onnxruntime.convert(
        weights, (torch.zeros(1, 5000),), ("x",), folder / "made" / "weights.onnx"),
    "onnxruntime trace": lambda: onnxruntime.convert(
        Constant(), (torch.zeros(1),), ("x",), folder / "made" / "constant.onnx"),
    "onnxruntime load": lambda: onnxruntime.load(folder / "weights.onnx"),
    "onnxruntime run": lambda: small.run(one),
    "onnxruntime bound": bound.bind(one),
    "onnxruntime peak memory": lambda: small.peak_memory_bytes(one),
    "enough": lambda: torch.empty(10_000_000),
}

def attempt(task, *guard):
    try:
        if guard:
            with memory_guard("try", limit_bytes=60_000_000):
                task()
        else:
            task()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"

def limits():
    return resource.getrlimit(resource.RLIMIT_DATA)

before, found = limits(), {}
for name, task in TASKS.items():
    guarded, after = attempt(task, "guard"), limits() == before
    found[name] = {"guarded": guarded, "restored": after, "left": [item.name for item in (folder / "made").iterdir()]}
    found[name]["unguarded"] = attempt(task)

mapped = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
outer = {"mapped": mapped, "available": available_memory_bytes()}
with memory_guard():
    outer["default"] = limits()[0]
with memory_guard(limit_bytes=10_000_000):
    tight = limits()[0]
    with memory_guard(limit_bytes=500_000_000):
        outer["inner_raises"] = limits()[0] > tight
    outer["inner_restores"] = limits()[0] == tight
print(json.dumps({"tasks": found, "limits": outer}))
"""

NAMES = (
    "python", "numpy", "torch", "torch prepare", "torch run", "torch bound", "torch peak memory",
    "onnxruntime convert", "onnxruntime trace", "onnxruntime load", "onnxruntime run", "onnxruntime bound",
    "onnxruntime peak memory",
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a process of its own met: a limit on memory in this one could fail whatever comes after."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "script.py").write_text(SCRIPT)
    done = run_script(folder, folder / "script.py", folder)
    assert done.code == 0, done.err
    assert done.err == "", "libraries wrote to the screen"
    return json.loads(done.out)


@LINUX
@pytest.mark.parametrize("name", NAMES)
def test_what_is_too_large_is_one_clear_error_under_the_guard(found: Any, name: str) -> None:
    task = found["tasks"][name]
    assert task["guarded"].startswith("OutOfMemoryError: not enough memory to "), task
    assert task["unguarded"] == "done", "the machine could not do it anyway"
    assert task["restored"]
    assert "\n" not in task["guarded"]


@LINUX
def test_what_fits_passes_under_the_guard(found: Any) -> None:
    assert found["tasks"]["enough"]["guarded"] == "done"


@LINUX
def test_the_error_says_what_was_tried_and_how_much_it_took(found: Any) -> None:
    said = {name: task["guarded"] for name, task in found["tasks"].items()}
    assert "to try: 120000000 bytes could not be allocated; use a smaller module" in said["torch"]
    assert "to try: 114. MiB could not be allocated" in said["numpy"]
    assert "to run the model: 120000000 bytes could not be allocated" in said["onnxruntime run"]
    assert "to convert Linear to ONNX" in said["onnxruntime convert"]
    assert "to convert Constant to ONNX" in said["onnxruntime trace"]
    assert "weights.onnx" in said["onnxruntime load"]


@LINUX
def test_a_conversion_without_memory_leaves_nothing(found: Any) -> None:
    assert found["tasks"]["onnxruntime convert"]["left"] == []
    assert found["tasks"]["onnxruntime trace"]["left"] == ["weights.onnx"], "from before, without the guard"


@LINUX
def test_the_limit_is_what_is_in_use_and_most_of_what_is_available(found: Any) -> None:
    limits = found["limits"]
    granted = limits["default"] - limits["mapped"]
    assert 0.9 * limits["available"] < granted < 0.99 * limits["available"]


@LINUX
def test_a_guard_within_a_guard_never_raises_the_limit(found: Any) -> None:
    assert not found["limits"]["inner_raises"]
    assert found["limits"]["inner_restores"]


@pytest.mark.parametrize("allocate", [torch.empty, np.empty, bytearray])
def test_failures_are_translated_on_every_system(allocate: Any) -> None:
    with pytest.raises(OutOfMemoryError, match="not enough memory to see"), memory_errors("see"):
        allocate(10**15)


def test_a_failure_that_a_library_wrapped_is_found() -> None:
    def wrapped() -> None:
        try:
            torch.empty(10**15)
        except RuntimeError as error:
            raise ValueError("the graph could not be built") from error

    with pytest.raises(OutOfMemoryError, match="4000000000000000 bytes"), memory_guard():
        wrapped()


def test_a_converter_without_memory_does_not_count_as_a_refusal() -> None:
    with pytest.raises(OutOfMemoryError, match="to convert Linear to Core ML"):  # noqa: SIM117 - not one statement
        with conversion_errors("Core ML", torch.nn.Linear(1, 1)):
            torch.empty(10**15)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not match"),
        ValueError("out of memory is only the name of a song here"),
        CheckpointError("damaged"),
        OutOfMemoryError("said already"),
        FileNotFoundError(2, "no such file"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, memory_guard():
        raise error
    assert caught.value is error


def system(folder: Path, available_kib: int, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Folders as the kernel shows them."""
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    (proc / "meminfo").write_text(f"MemTotal:  9000000 kB\nMemAvailable:  {available_kib} kB\nHugePages_Total: 0\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    return proc, groups


MB = 10**6


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        pytest.param("0::/\n", {}, 2048 * 1000, id="no limit"),
        pytest.param(
            "0::/job/step\n",
            {
                "job/memory.max": f"{MB}\n",
                "job/memory.current": "400000\n",
                "job/memory.stat": "anon 1\ninactive_file 20000\nactive_file 3000\n",
                "job/step/memory.max": "max\n",
                "job/step/memory.current": "400000\n",
            },
            623_000,
            id="version 2, a limit further up",
        ),
        pytest.param(
            "0::/docker/3f2a\n", {"memory.max": f"{MB}", "memory.current": "900000"}, 100_000, id="in a container"
        ),
        pytest.param(
            "5:cpu:/x\n4:memory:/job\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "5000000\n",
                "memory/job/memory.limit_in_bytes": f"{MB}\n",
                "memory/job/memory.usage_in_bytes": "700000\n",
                "memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 50000\ntotal_active_file 0\n",
            },
            350_000,
            id="version 1",
        ),
        pytest.param("0::/\n", {"memory.max": "100", "memory.current": "300"}, 0, id="over its limit"),
    ],
)
def test_the_limits_of_a_container_count(cgroup: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert available_memory_bytes(*system(tmp_path, 2000, cgroup, files)) == expected


def test_a_system_that_says_nothing_is_not_known(tmp_path: Path) -> None:
    assert available_memory_bytes(tmp_path, tmp_path) is None


@LINUX
def test_this_machine_has_memory_left() -> None:
    available = available_memory_bytes()
    assert available is not None
    assert 10**7 < available < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
