"""Odd values of options and of keys end in success or in one line; `benchmarks/fuzz.py` tries far more of them."""

from __future__ import annotations

import pytest

from tests.fuzzing.bases import BASES, EXPENSIVE
from tests.fuzzing.cases import Target, base_cases, commands
from tests.fuzzing.targets import all_targets
from tests.fuzzing.tries import TriesHere

TRIES = 50
LIMIT_S = 3

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a try whose time is up


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> TriesHere:
    return TriesHere(tmp_path_factory.mktemp("fuzzing"), LIMIT_S)


def test_every_command_has_arguments_to_begin_with() -> None:
    assert BASES.keys() == commands().keys(), "tests/fuzzing/bases.py: name arguments with which the command works"


def test_commands_work_as_long_as_nothing_is_odd(tries: TriesHere) -> None:
    for case in base_cases():
        if case.command not in EXPENSIVE:
            outcome = tries.run(case)
            assert (outcome.code, outcome.problem) == (0, None), f"{case}\n{outcome.detail}"


def chosen(targets: list[Target]) -> list[Target]:
    """Some of those that take little, spread over all."""
    cheap = [each for each in targets if each.command not in EXPENSIVE]
    return cheap[:: max(len(cheap) // TRIES, 1)][:TRIES]


def test_no_value_ends_in_a_traceback(tries: TriesHere, record_property: pytest.RecordProperty) -> None:
    faults, codes = [], []
    for number, target in enumerate(chosen(all_targets(tries.world))):
        (case,) = target.draw(number, 1)
        if case.command in EXPENSIVE:  # one of several that read this file
            continue
        outcome = tries.run(case)
        codes.append(outcome.code)
        if outcome.problem:
            faults.append(f"{outcome.problem}\n{case.target}: {case}\n{outcome.detail[-1500:]}")
    record_property("tries", tries.count)
    assert not faults, "\n\n".join(faults)
    assert min(codes.count(0), codes.count(2)) > 4  # some reach deep, some are refused
