"""The process environment: the only place where its variables are read.

A launcher tells each process its rank and the number of processes through variables. They are read together, so that
contradictions are reported before any work. Results depend on the settings of a run only: accelerate, which would read
some settings from variables, sees only those of the launcher. An empty variable counts as not set.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.errors import ConfigError

logger = logging.getLogger(__name__)

_HINT = "start the processes with torchrun or accelerate launch, or unset the variable"
_JOINING = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
_MPI = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
)
"""The names that several MPI implementations give to the variables of `_JOINING`."""

_LAUNCHERS = frozenset({*_JOINING, *(name for names in _MPI for name in names), "MASTER_ADDR", "MASTER_PORT"})
_ACCELERATES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_", "FORK_LAUNCHED")

_WRAPPERS = {
    "ACCELERATE_USE_DEEPSPEED": "DEEPSPEED",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "its own parallelism",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker",
}
"""Ways to shard weights that accelerate can be configured for, by their variable."""

_WITHOUT_EFFECT = re.compile(
    r"ACCELERATE_(USE_CPU|LOG_LEVEL|ENABLE_RICH|DEBUG_MODE|CPU_AFFINITY|CONFIG_DS_FIELDS|BYPASS_DEVICE_MAP"
    r"|MIXED_PRECISION|GRADIENT_ACCUMULATION_STEPS|(DYNAMO|DEEPSPEED|FP8)_.*|USE_.*)"
)
"""Variables that are checked here, belong to one that is, or do not change results."""

_LIBRARIES = {
    "USE_TORCH": ("auto", "1", "on", "yes", "true"),
    "USE_TF": ("auto", "0", "off", "no", "false"),
    "DIFFUSERS_ATTN_BACKEND": ("native",),
}
"""Values with which diffusers works here; the first is used if the variable is not set."""


@dataclass(frozen=True)
class Launcher:
    """The processes that a launcher has started, or this one alone.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        local_rank: Number of this process on its machine, if the launcher says so.
        local_world_size: Number of processes on its machine, if the launcher says so.
        address: Address of the first process.
        port: Its port.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int | None = None
    local_world_size: int | None = None
    address: str | None = None
    port: int = 29500

    def variables(self) -> dict[str, str]:
        """The variables for accelerate and torch; none for a single process.

        Raises:
            ConfigError: The launcher leaves out what the processes need to find each other.
        """
        if self.world_size == 1:
            return {}
        for name, value in (("MASTER_ADDR", self.address), ("LOCAL_RANK", self.local_rank)):
            if value is None:
                raise ConfigError(f"WORLD_SIZE is {self.world_size}, but {name} is not set", hint=_HINT)
        values = (self.rank, self.world_size, self.local_rank, self.local_world_size, self.address, self.port)
        names = (*_JOINING, "MASTER_ADDR", "MASTER_PORT")
        return {name: str(value) for name, value in zip(names, values, strict=True) if value is not None}


def launcher(variables: Mapping[str, str] | None = None) -> Launcher:
    """Read the variables of the launcher.

    Args:
        variables: The process environment when left out.

    Raises:
        ConfigError: They contradict each other, or are not numbers.
    """
    given = {name: value for name, value in (os.environ if variables is None else variables).items() if value}
    names = _names(given)
    rank, size, local_rank, local_size = (_number(given, name) for name in names)
    if size is None:
        _refuse_without_size(names, rank, local_rank)
        return Launcher()
    _check_range(names[1], size, 1, None)
    if size > 1 and rank is None:
        raise ConfigError(f"{names[1]} is {size}, but {names[0]} is not set", hint=_HINT)
    _check_range(names[0], rank, 0, size)
    _check_range(names[3], local_size, 1, size + 1)
    _check_range(names[2], local_rank, 0, local_size or size)
    port = _number(given, "MASTER_PORT")
    _check_range("MASTER_PORT", port, 0, 2**16)
    address = given.get("MASTER_ADDR")
    return Launcher(rank or 0, size, local_rank, local_size, address, Launcher.port if port is None else port)


def wants_cpu() -> bool:
    """Whether `accelerate launch --cpu`, or its configuration, keeps the program off graphics cards.

    Raises:
        ConfigError: The variable is neither true nor false.
    """
    return _is_true("ACCELERATE_USE_CPU")


def check_settings(mixed_precision: str, gradient_accumulation: int) -> None:
    """Refuse variables of accelerate that contradict the settings of a run; warn about those without effect.

    Args:
        mixed_precision: The setting of the run.
        gradient_accumulation: The setting of the run.

    Raises:
        ConfigError: A variable contradicts the settings.
    """
    for name, kind in _WRAPPERS.items():
        if _is_true(name):
            raise ConfigError(
                f"accelerate is configured for {kind}, which would wrap the model without knowing its blocks ({name})",
                hint="take it out of accelerate's configuration, and set parallel: fsdp in the training settings",
            )
    # The values that `accelerate launch` sets without any configuration do not contradict the settings.
    _check_value("ACCELERATE_MIXED_PRECISION", "mixed_precision", "no", mixed_precision)
    _check_value("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "gradient_accumulation", "1", str(gradient_accumulation))
    if (backend := os.environ.get("ACCELERATE_DYNAMO_BACKEND") or "no").lower() != "no":
        raise ConfigError(
            f"accelerate is configured to compile with {backend}, and no run compiles (ACCELERATE_DYNAMO_BACKEND)",
            hint="take it out of accelerate's configuration, or unset the variable",
        )
    if device := os.environ.get("ACCELERATE_TORCH_DEVICE"):
        hint = "choose devices with CUDA_VISIBLE_DEVICES or accelerate launch --cpu, and unset the variable"
        raise ConfigError(f"ACCELERATE_TORCH_DEVICE is {device}, which no run follows", hint=hint)
    mine = (name for name, value in os.environ.items() if name.startswith("ACCELERATE_") and value)
    if without := sorted(name for name in mine if not _WITHOUT_EFFECT.fullmatch(name)):
        _warn_of(", ".join(without))


def check_libraries() -> None:
    """Refuse an environment in which the libraries cannot be imported, and hide empty variables from them.

    Raises:
        ConfigError: Python runs without docstrings, or a variable makes diffusers use no torch or another attention.
    """
    if sys.flags.optimize > 1:
        raise ConfigError("Python runs without docstrings, which libraries need", hint="unset PYTHONOPTIMIZE")
    for name, allowed in _LIBRARIES.items():
        value = os.environ.get(name) or os.environ.pop(name, "") or allowed[0]
        if value.lower() not in allowed:
            raise ConfigError(f"{name} is {value}, which diffusers cannot be used with here", hint="unset the variable")


@contextlib.contextmanager
def launcher_alone() -> Iterator[None]:
    """Show accelerate, while it starts, only the variables of the launcher.

    Raises:
        ConfigError: As `launcher` and `Launcher.variables`.
    """
    shown = launcher().variables()
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if _is_read(name) or _is_list_of_threads(name)}
    os.environ.update(shown)
    try:
        yield
    finally:
        for name in [name for name in os.environ if _is_read(name)]:  # accelerate sets some itself
            del os.environ[name]
        os.environ.update({name: value for name, value in hidden.items() if value})


def worker_variables(threads: int) -> dict[str, str]:
    """The environment of a worker process that this one starts.

    Args:
        threads: Threads for OpenMP, and so for torch and NumPy, unless the user has set OMP_NUM_THREADS.
    """
    given = {name: value for name, value in os.environ.items() if value or name != "OMP_NUM_THREADS"}
    # Lines of the log are not wrapped, because they are shown in the terminal of this process.
    return {"OMP_NUM_THREADS": str(threads), **given, "COLUMNS": "1000"}


def use_graphics_card(worker: int, count: int) -> None:
    """Give this process one of the graphics cards, before torch uses any.

    Args:
        worker: Number of the worker, from 1. Workers take the cards in turn.
        count: Cards that torch sees; with one or none, nothing is changed.
    """
    if count > 1:
        cards = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        cards = cards if len(cards) >= count else [str(number) for number in range(count)]
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[(worker - 1) % count].strip()


def set_default(name: str, value: str) -> None:
    """Set a variable that a library reads, unless the user has set it."""
    os.environ.setdefault(name, value)


def cache_folder() -> Path:
    """The cache folder of this user on this machine.

    Raises:
        RuntimeError: The user has no home folder.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if given.is_absolute():  # By the specification, a relative path counts as not set.
        return given
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()


def drop_empty_size() -> None:
    """Unset an impossible terminal size, which some environments without a terminal set."""
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "").strip().lstrip("+-0") == "" or os.environ[name].startswith("-"):
            os.environ.pop(name, None)


def _names(given: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the variables to use: those of MPI if it has started the processes and set an address."""
    if "MASTER_ADDR" in given and not {"RANK", "WORLD_SIZE"} & given.keys():
        for names in _MPI:
            if names[1] in given:
                return names
    return _JOINING


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None or (name == "LOCAL_RANK" and text == "-1"):  # how some say that there is none
        return None
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ConfigError(f"{name} is {text!r}, expected a whole number", hint=_HINT)
    return int(text)


def _refuse_without_size(names: tuple[str, ...], rank: int | None, local_rank: int | None) -> None:
    for name, number in ((names[0], rank), (names[2], local_rank)):
        if number:
            raise ConfigError(f"{name} is {number}, but {names[1]} is not set", hint=_HINT)


def _check_range(name: str, number: int | None, first: int, end: int | None) -> None:
    if number is not None and (number < first or (end is not None and number >= end)):
        expected = f"{first} or more" if end is None else f"{first} to {end - 1}"
        raise ConfigError(f"{name} is {number}, expected {expected}", hint=_HINT)


def _check_value(name: str, setting: str, unsaid: str, expected: str) -> None:
    value = (os.environ.get(name) or unsaid).lower()
    if value not in {unsaid, expected}:
        raise ConfigError(
            f"{name} is {value}, but {setting} is {expected} in the training settings",
            hint=f"set {setting} there, and take it out of accelerate's configuration or unset the variable",
        )


@functools.cache
def _warn_of(names: str) -> None:
    """Warn once, even if settings are checked several times."""
    logger.warning("%s: without effect; what decides a result is set in the training settings", names)


def _is_true(name: str) -> bool:
    value = (os.environ.get(name) or "false").lower()
    if value in {"y", "yes", "t", "true", "on", "1"}:
        return True
    if value in {"n", "no", "f", "false", "off", "0"}:
        return False
    raise ConfigError(f"{name} is {value!r}, expected true or false", hint="set it to one of them, or unset it")


def _is_read(name: str) -> bool:
    return name in _LAUNCHERS or name.startswith(_ACCELERATES)


def _is_list_of_threads(name: str) -> bool:
    """Whether it is a list of threads per level, e.g. `4,2`, which OpenMP accepts and accelerate does not."""
    return name == "OMP_NUM_THREADS" and not os.environ[name].isdigit()
