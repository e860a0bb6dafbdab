"""The intervals that `benchmarks/coreml_estimate.py` makes of errors, on rows whose answer is known."""

from __future__ import annotations

import math

import pytest

from benchmarks import coreml_intervals


def row(measured_ms: float, estimated_ms: float = 1.0, **changes: str) -> dict[str, object]:
    names = {"family": "f", "chip": "A14", "device": "d", "model": "m", "variant": "fp16", "compute_unit": "cpu_and_ne"}
    return {**names, "measured_ms": measured_ms, "roofline_ms": estimated_ms, **changes}


def test_all_is_compared_with_the_neural_engine_on_the_same_network() -> None:
    rows = [row(2.0), row(3.0, compute_unit="all"), row(9.0, compute_unit="all", model="n"), row(5.0, model="o")]
    assert coreml_intervals.all_against_engine(rows) == [pytest.approx(math.log(1.5))]


def test_a_phones_gpu_and_all_have_wider_intervals() -> None:
    part = {"rows": [row(1.1), row(0.9, family="g", chip="A15")]}
    gpu = {"rows": [row(1.05, chip="M1", compute_unit="cpu_and_gpu"), row(1.0, chip="M2", compute_unit="cpu_and_gpu")]}
    toys = {"rows": [row(3.0, model=str(number), compute_unit="cpu_and_gpu") for number in range(4)]}
    both = [row(1.0), row(1.2, compute_unit="all")]
    known, other = coreml_intervals.intervals(both, part, part, gpu, toys, None)
    assert known["all"].factor > known["cpu_and_ne"].factor
    assert (other["cpu_and_gpu"].groups, other["cpu_and_gpu"].left_out) == (4, "networks")
    assert other["cpu_and_gpu"].factor > known["cpu_and_gpu"].factor
    chips = coreml_intervals.known_chips(part, gpu, None)
    assert chips["cpu_and_gpu"] == ["M1", "M2"]
    assert coreml_intervals.coverage(toys, known, other, chips) == (4, 4)
    assert coreml_intervals.coverage({"rows": [row(9.0), row(1.0)]}, known, other, chips) == (1, 2)


def test_noise_is_that_of_one_network_on_one_chip() -> None:
    rows = [row(1.0), row(1.1, device="other"), row(5.0, chip="A15"), row(7.0, variant="4bit pal")]
    found = coreml_intervals.noise(rows)
    assert (found["networks"], found["median_percent"]) == (1, pytest.approx(10))
    assert coreml_intervals.noise(rows[2:]) == {"networks": 0}
