"""What `benchmarks/compressed_weights.py` makes of losses."""

from __future__ import annotations

import pytest

from benchmarks.compressed_weights import OTHER_CLIPS, network_bytes, report
from nas.models import extreme_architectures, network_cost
from nas.space import SearchSpace
from tests.tiny import TINY


def test_increases_are_relative_and_orders_are_compared_with_fp32() -> None:
    plain = {"a": 1.0, "b": 2.0, "c": 4.0}
    swapped = {"a": 1.1, "b": 4.4, "c": 4.0}
    rows = report({"fp32": plain, "int8": swapped}, {"a": 9.0, "b": 8.0, "c": 7.0}, {"fp32": 400, "int8": 100})
    assert [row["weights"] for row in rows] == ["fp32", "int8", OTHER_CLIPS]
    first, second, others = rows
    assert (first["increase_percent"], first["kendall_tau"]) == (0, 1)
    assert second["increase_percent"] == pytest.approx((10 + 120 + 0) / 3)
    assert second["largest_increase_percent"] == pytest.approx(120)
    assert second["kendall_tau"] == pytest.approx(1 / 3)  # one of three pairs changed places
    assert (others["kendall_tau"], others["increase_percent"], others["size_bytes"]) == (-1, None, None)


def test_the_size_is_that_of_the_largest_network() -> None:
    space = SearchSpace.from_dict(TINY)
    parameters = network_cost(space.lower(extreme_architectures(space)[1])).parameters
    assert network_bytes(space, "fp32") == 4 * parameters
    assert network_bytes(space, "palettized_4") < network_bytes(space, "int8") < network_bytes(space, "fp16")
