"""Runs in a Python of their own: on a graphics card, kept from it, or with the weights laid out as FSDP does.

    python -m tests.training.card_runs FOLDER JOBS [shards]

JOBS is JSON: of each run its kind, its folder and its settings, as in `runs_at_scale`. One process of a launcher with
`shards` lays the weights out for itself alone, which a run of one process would not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from nas.training.engine import trainer as loop
from nas.training.engine.parallelism import FullySharded
from tests.training.runs_at_scale import train


def _alone_in_shards(task: Any, config: Any, accelerator: Accelerator) -> FullySharded[Any]:
    return FullySharded(task, accelerator)


def main() -> None:
    folder, jobs, *shards = sys.argv[1:]
    loop.LOG_EVERY = 1
    if shards:
        loop.make_parallelism = _alone_in_shards
    for kind, name, settings in json.loads(jobs):
        train(kind, Path(folder) / name, settings)
    if shards:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
