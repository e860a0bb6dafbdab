"""Try odd values of every option of every command, and of every key of every file, for as long as is given.

    python benchmarks/fuzz.py --minutes 10 --seed 0

Each try is one command line in a process of its own, with files of its own. It may succeed or be refused in one line;
it may not end in a traceback or a crash, change what it reads, or leave anything outside its folder. What is tried is
found by looking at the commands and at the models of the files, so new options and keys are tried, too. Prints each
fault found with the try that shows it, and the tries of each command with their exit codes; ends with code 1 where
there is a fault. Two runs with one seed make the same tries, as far as they get.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzzing.cases import Case, Target, base_cases
from tests.fuzzing.targets import all_targets
from tests.fuzzing.tries import Outcome, Tries


def signature(outcome: Outcome) -> str:
    """What tells one fault from another: its kind, where the traceback ends, and its last line."""
    lines = outcome.detail.strip().splitlines() or [""]
    places = re.findall(r"nas/([a-z_/]+\.py)\W+(?:line )?(\d+)", outcome.detail)
    return " | ".join([str(outcome.problem), *(":".join(place) for place in places[-1:]), lines[-1][:80]])


def endless(targets: list[Target], seed: int) -> Iterator[Case]:
    """Tries of all targets, in turn, over and over; each once."""
    seen: set[str] = set()
    for round_seed in itertools.count(seed):
        for target in random.Random(round_seed).sample(targets, len(targets)):
            for case in target.draw(round_seed, 2):
                if str(case) not in seen:
                    seen.add(str(case))
                    yield case


class Findings:
    """What came out: exit codes by command, and faults, each with the first try that shows it."""

    def __init__(self) -> None:
        self.codes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.faults: dict[str, tuple[Case, Outcome]] = {}
        self.times: Counter[str] = Counter()

    def add(self, case: Case, outcome: Outcome) -> None:
        """Count a try."""
        self.codes[case.command]["time is up" if outcome.code is None else str(outcome.code)] += 1
        if outcome.problem:
            name = signature(outcome)
            self.times[name] += 1
            if name not in self.faults:
                self.faults[name] = (case, outcome)
                print(f"=== {name}\n{case.target}: {case}\n{outcome.detail[-2500:]}\n", flush=True)

    def report(self, targets: int) -> None:
        """Print the tries of each command, and how often each fault came."""
        for command, counts in sorted(self.codes.items()):
            ends = ", ".join(f"{code}: {count}" for code, count in sorted(counts.items()))
            print(f"{command:18} {counts.total():6} tries; by exit code {ends}")
        for name, (case, _) in self.faults.items():
            print(f"{self.times[name]:4} x {name}: first of {case.target}")
        total = sum(counts.total() for counts in self.codes.values())
        print(f"\n{total} tries of {targets} options, keys and files; {len(self.faults)} faults")


def main() -> None:
    """Try, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long to go on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="tries at a time")
    parser.add_argument("--limit", type=float, default=20, help="seconds after which a try is ended; that is no fault")
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--files", type=Path, help="folder that keeps what commands read, for another run")
    options = parser.parse_args()
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="nas-fuzz-") as root:
        tries = Tries(Path(root), options.limit, options.files)
        targets = [each for each in all_targets(tries.world) if options.only in each.name]
        for case in base_cases():
            outcome = tries.run(case)
            findings.add(case, outcome if outcome.code in {0, None} else replace(outcome, problem="does not work"))
        cases, ends = endless(targets, options.seed), time.monotonic() + 60 * options.minutes
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            while time.monotonic() < ends:
                some = list(itertools.islice(cases, options.jobs))
                for case, outcome in zip(some, pool.map(tries.run, some), strict=True):
                    findings.add(case, outcome)
    findings.report(len(targets))
    sys.exit(1 if findings.faults else 0)


if __name__ == "__main__":
    main()
