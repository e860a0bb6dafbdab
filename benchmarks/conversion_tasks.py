"""What `conversion.py` converts: blocks and whole networks, for one system and precision at a time."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.conversion_calls import GOAL_DB, Limits, call
from nas.errors import NasError
from nas.models import extreme_architectures, network_cost
from nas.runtimes import Runtime, block_convertible, get_runtime
from nas.runtimes.core_ai.runtime import TARGET
from nas.runtimes.core_ml.program import read_program
from nas.runtimes.networks import Convertible, plan_convertible
from nas.space import Block, Plan, SearchSpace
from nas.space.implementations import block_implementations

TOLERANCE_DB = 3.0
"""What a block may lose in fp16 beyond what torch in fp16 loses, if that is more than the goal."""

MAX_RANK = 5
MAX_PARAMETERS = 50_000_000
"""Networks above this take minutes; `full_size.py` converts the largest."""


@dataclass(frozen=True)
class Target:
    """What is converted for.

    Args:
        system: Oldest system: a deployment target of Core ML, or that of Core AI.
        precision: `fp16` or `fp32`.
    """

    system: str
    precision: str

    @property
    def of_core_ai(self) -> bool:
        """Whether Core AI executes there."""
        return self.system == TARGET

    @property
    def runtime(self) -> Runtime:
        """What converts."""
        if self.of_core_ai:
            return get_runtime("coreai", precision=self.precision)
        return get_runtime("coreml", deployment_target=self.system, precision=self.precision)

    def __str__(self) -> str:
        return f"{self.system} ({'Core AI' if self.of_core_ai else 'Core ML'}), {self.precision}"


@dataclass(frozen=True)
class Task:
    """A block, or a whole network, to convert for a target; and the spaces that contain it."""

    key: str
    kind: str
    subject: Block | Plan
    target: Target
    spaces: tuple[str, ...]

    @classmethod
    def of_block(cls, block: Block, target: Target, spaces: Sequence[str]) -> Task:
        """The task of a block."""
        return cls(block.key, block.kind, block, target, tuple(spaces))

    def build(self) -> Convertible:
        """The module with random weights, and its inputs."""
        return block_convertible(self.subject) if isinstance(self.subject, Block) else plan_convertible(self.subject)


@dataclass
class Result:
    """The result of a task; without figures if it failed.

    `psnr_db` compares one call with torch in fp32; it is infinite if they agree to the last bit. If it is below the
    goal in fp16, `torch_db` and `summed_db` say how far torch in fp16 is from torch in fp32, see `Called`. `shrunk` is
    what height and width were divided by for that call. `unexecuted` says why there is none.
    """

    key: str
    kind: str
    system: str
    precision: str
    spaces: list[str]
    converted: bool
    seconds: float
    reason: str | None = None
    highest_rank: int | None = None
    operations: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    fp32_operations: dict[str, int] = field(default_factory=dict)
    size_bytes: int | None = None
    psnr_db: float | None = None
    torch_db: float | None = None
    summed_db: float | None = None
    shrunk: int = 1
    unexecuted: str | None = None

    @property
    def sound(self) -> bool:
        """Whether it was converted, with tensors that Core ML allows, and computes what torch does if it was called."""
        if not self.converted or (self.highest_rank or 0) > MAX_RANK:
            return False
        return self.psnr_db is None or self.psnr_db >= min(GOAL_DB[self.precision], self._torch_loses_db)

    @property
    def _torch_loses_db(self) -> float:
        return min((db for db in (self.torch_db, self.summed_db) if db is not None), default=math.inf) - TOLERANCE_DB


def tasks(spaces: Sequence[SearchSpace], targets: Sequence[Target]) -> list[Task]:
    """Every block for every target, then the largest network of each space; what spaces share is converted once."""
    owners: dict[Block, list[str]] = {}
    for space in spaces:
        for block in blocks_in_all_implementations(space):
            owners.setdefault(block, []).append(space.name)
    blocks = [Task.of_block(block, target, names) for block, names in owners.items() for target in targets]
    networks = [
        Task(f"network of {space.name}", "network", plan, target, (space.name,))
        for space, plan in zip(spaces, map(_largest, spaces), strict=True)
        if network_cost(plan).parameters <= MAX_PARAMETERS
        for target in targets
    ]
    return blocks + networks


def blocks_in_all_implementations(space: SearchSpace) -> list[Block]:
    """The distinct blocks of a space, its temporal layers in all their implementations."""
    blocks = [block for variant in space.covering() for block in space.lower_pipeline(variant).blocks]
    return list(dict.fromkeys(written for block in blocks for written in block_implementations(block)))


def _largest(space: SearchSpace) -> Plan:
    return space.lower(extreme_architectures(space)[1])


def convert(task: Task, limits: Limits | None = None) -> Result:
    """Convert, read what was written, and call it where it executes.

    Args:
        task: What to convert.
        limits: What a call may take; nothing is called if left out.
    """
    torch.set_num_threads(1)
    target = task.target
    result = Result(task.key, task.kind, target.system, target.precision, list(task.spaces), converted=False, seconds=0)
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        path = Path(folder) / f"module{target.runtime.suffix}"
        began = time.perf_counter()
        try:
            item = task.build()
            target.runtime.convert(item.module, item.inputs, item.names, path)
            _read(path, target, result)
        except NasError as error:
            result.reason = str(error)
        except Exception as error:  # noqa: BLE001 - a converter may raise anything; here, that is a result
            result.reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        else:
            result.converted = True
        result.seconds = time.perf_counter() - began
        if result.converted and limits is not None:
            result.unexecuted = target.runtime.unavailable_reason()
        if result.converted and limits is not None and result.unexecuted is None:
            called = call(task.subject, item, path, target.runtime, limits)
            result.psnr_db, result.torch_db, result.summed_db = called.psnr_db, called.torch_db, called.summed_db
            result.shrunk, result.unexecuted = called.shrunk, called.reason
    return result


def _read(path: Path, target: Target, result: Result) -> None:
    """Put what a file holds into the result."""
    if target.of_core_ai:
        result.size_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return
    program = read_program(path)
    result.highest_rank, result.size_bytes = program.highest_rank, program.size_bytes
    result.operations, result.fp32_operations = dict(program.operations), dict(program.fp32_operations)
    result.groups = program.groups
