"""What this machine is and what is installed on it, for the metadata of measurements and bundles."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

_PACKAGES = (
    "torch",
    "diffusers",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "coremltools",
    "coreai-torch",
    "coreai-core",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions of Python, the operating system and the libraries that convert and execute, if installed."""
    installed = {"python": platform.python_version(), "os": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def cpu_model() -> str:
    """The processor's name as the system gives it, e.g. `Apple M3`; its architecture if there is none."""
    name = _cpu_model_linux() if sys.platform.startswith("linux") else _cpu_model_other()
    return name or platform.processor() or platform.machine()


def affinity() -> tuple[int, ...] | None:
    """Numbers of the processors this process may run on, ascending; `None` if the system does not report it."""
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return None
    return tuple(sorted(os.sched_getaffinity(0)))


def load_average() -> float | None:
    """Processes that ran or waited to run, averaged over the last minute; `None` if the system does not report it."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _cpu_model_linux() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _cpu_model_other() -> str:
    if sys.platform != "darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
