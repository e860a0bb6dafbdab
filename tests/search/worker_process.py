"""One worker in a process of its own.

It prints each architecture when it begins to score it, and at the end how many it has scored, with the reason.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from nas.search import SearchConfig, Timing, run_search
from tests.search.formulas import FormulaLatency, PlainSpace, formula_loss

TIMING = Timing(heartbeat_s=1, grace_s=3, outage_s=60, poll_s=0.2)


class Announced:
    """The formula, after some time, and not before it is printed that it was asked for."""

    name, direction, fingerprint = "formula loss", "minimize", ""

    def __init__(self, seconds):
        self.seconds = seconds

    def score(self, architecture):
        tell(architecture.id)
        time.sleep(self.seconds)
        return formula_loss(architecture)


def main(storage, name, evaluations, seconds=0.0, slots=None, seed=0):
    space = PlainSpace(slots) if slots else PlainSpace()
    config = SearchConfig(evaluations=evaluations, sampler="random", seed=seed)
    result = run_search(space, FormulaLatency(space), Announced(seconds), config, storage, name, timing=TIMING)
    tell(json.dumps({"scored": result.scored, "reason": result.reason}))


def tell(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def work(lines, arguments):
    """What the process does; it prints to a connection."""
    os.dup2(lines.fileno(), sys.stdout.fileno())
    lines.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background hand down that it is ignored
    main(**arguments)
