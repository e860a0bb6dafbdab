"""Parts of `gpu_rehearsal.py`. Each runs in its own process, and reports results as soon as it has them."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import torch

from benchmarks import gpu_rehearsal_rows as rows
from benchmarks import gpu_rehearsal_shapes as shapes
from nas.files import write_json
from nas.runtimes.environment import versions

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/training/test_card.py", "tests/runtimes/test_torch_on_card.py", "tests/models/test_temporal.py")


@dataclass(frozen=True)
class Job:
    """What a part has to know.

    Args:
        name: The part.
        device: `cuda` or `cpu`; on the latter everything is in miniature.
        seconds: It is ended so many seconds after it was started, its imports included.
        ends: When that is, on the clock of `time.monotonic`, which all processes of a machine share.
        work: Folder for files that parts exchange.
        out: Folder of what stays.
    """

    name: str
    device: str
    seconds: float
    ends: float
    work: Path
    out: Path

    @property
    def left_s(self) -> float:
        """Remaining seconds."""
        return self.ends - time.monotonic()

    @property
    def small(self) -> bool:
        """Whether to run in miniature, because there is no card."""
        return self.device == "cpu"

    @property
    def found_file(self) -> Path:
        """File of the results so far."""
        return self.work / f"{self.name}.json"

    @property
    def log_file(self) -> Path:
        """File of its output."""
        return self.work / f"{self.name}.txt"

    def tell(self, found: Mapping[str, Any]) -> None:
        """Report all results so far."""
        write_json(self.found_file, found)


def run_part(job: Job) -> None:
    """Run a part as the first process of a group, and log its output."""
    os.setsid()
    with job.log_file.open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ["MPLBACKEND"] = "Agg"
    if job.small:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        torch.set_num_threads(1)
    try:
        PARTS[job.name](job)
    except BaseException:  # noqa: BLE001 - whatever it was, the process ends below, and says so
        sys.stderr.write(traceback.format_exc())
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that libraries have left are of no use any more


def machine(job: Job) -> None:
    """The card's name, memory and speed; shares refer to the latter."""
    found: dict[str, Any] = {"versions": versions(), "processors": os.cpu_count(), "device": job.device}
    if not job.small:
        properties = torch.cuda.get_device_properties(0)
        found |= {"card": properties.name, "memory_bytes": properties.total_memory}
        found |= {"nominal_bf16_tflops": rows.nominal_tflops(properties.name)}
        found |= {"multiprocessors": properties.multi_processor_count, "cuda": torch.version.cuda}
    job.tell(found)
    size = 256 if job.small else 8192
    one, other = (torch.randn(size, size, device=job.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = rows.median_seconds(lambda: one @ other, job.device, rounds=3 if job.small else 20)
    found |= {"bf16_product_tflops": 2 * size**3 / seconds / 1e12, "product_size": size}
    source = torch.empty((2**20 if job.small else 2**32), dtype=torch.uint8, device=job.device)
    target = torch.empty_like(source)
    seconds = rows.median_seconds(lambda: target.copy_(source), job.device, rounds=3 if job.small else 10)
    job.tell(found | {"copy_bytes_per_s": 2 * source.numel() / seconds})


def tests(job: Job) -> None:
    """The tests marked `gpu`. Failed tests are a result, and no failure of the part."""
    import pytest

    os.chdir(ROOT)
    file = job.work / "tests.xml"
    code = pytest.main(["-m", "gpu", "-q", "--durations=15", "-p", "no:cacheprovider", f"--junitxml={file}", *TESTS])
    cases = ET.parse(file).getroot().iter("testcase")  # noqa: S314 - pytest has just written it
    found: dict[str, Any] = {"passed": 0, "skipped": 0, "failed": {}, "exit_code": int(code), "seconds": {}}
    for case in cases:
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        bad = [each for each in case if each.tag in {"failure", "error"}]
        found["seconds"][name] = float(case.get("time", 0))
        if bad:
            found["failed"][name] = (bad[0].text or bad[0].get("message", ""))[-2500:]
        else:
            found["skipped" if case.find("skipped") is not None else "passed"] += 1
    job.tell(found)


PARTS: Mapping[str, Callable[[Job], None]] = {
    "machine": machine,
    "tests": tests,
    "classifier": shapes.classifier,
    "clips": shapes.clips,
    "step": rows.measure,
    "teacher": shapes.teacher,
    "student": shapes.student,
    "quality": shapes.quality,
}
