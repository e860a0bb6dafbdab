"""Settings every test runs under: no display, no network for model hubs, one thread per worker."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import libraries, processes, quick

assert processes  # before anything else, it says what the processes of tests are forks of

# The collector would pass over millions of objects of imports, none of them garbage: three seconds in each worker.
gc.disable()

# Set before the first heavy import, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))

# A busy machine is no reason for a property to fail, and a failure must come back on the next run.
settings.register_profile("nas", deadline=None, derandomize=True)
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=10)
settings.load_profile("nas")

# What libraries take seconds for, in millions of lines of theirs: by module, the functions.
CONVERTERS = {
    "torch.onnx": ("export",),
    "torch.export": ("export",),
    "torch.export.exported_program": ("ExportedProgram.run_decompositions",),
    "coremltools": ("convert",),
}

# Files that take more than half a minute: begun late, one of them would run alone at the end.
LONGEST = frozenset(
    {"test_scale.py", "test_training_benchmarks.py", "test_postgres.py", "test_benchmarks.py", "test_run.py",
     "test_phone_profiling.py", "test_worker_processes.py", "test_dry_run.py", "test_processes.py", "test_guides.py"}
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="skip tests that train, search, measure or start a process")


def pytest_configure(config: pytest.Config) -> None:
    """With `--quick`, properties are tried on few examples; without, workers get a server of processes to share."""
    if config.getoption("quick"):
        settings.load_profile("quick")
    elif config.getoption("numprocesses", 0) and config.args_source is config.ArgsSource.TESTPATHS:
        processes.share()


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files go first, then those with slow tests, and quick ones fill up the end.

    What needs a graphics card is skipped.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in slow))
    of_card = [item for item in items if item.get_closest_marker("gpu")]
    if of_card:
        import torch

        if not torch.cuda.is_available():
            for item in of_card:
                item.add_marker(pytest.mark.skip(reason="PyTorch sees no graphics card"))


@pytest.fixture(scope="module", autouse=True)
def _quick_libraries() -> None:
    libraries.speed_up()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Under coverage, keep it out of the converters: to see that no line there is ours doubles their time."""
    if item.config.getoption("quick"):
        quick.skip_heavy()
    if type(sys.gettrace()).__module__.partition(".")[0] == "coverage":
        for module, names in CONVERTERS.items():
            for name in names:
                libraries.replace(module, name, untraced)


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, out of the sight of coverage; our modules' `forward` is, too, but runs elsewhere."""

    def call(*arguments: Any, **options: Any) -> Any:
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*arguments, **options)
        finally:
            sys.settrace(tracer)
            _nothing()  # the tracer goes back to its quick way at the next call, and before this one returns

    return call


def _nothing() -> None:
    pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB, mounted as a volume of a container is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
