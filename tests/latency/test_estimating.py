"""Estimates without a device: what is counted, how it is placed and timed, and that nobody takes it for measured."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ConfigError, RuntimeUnavailableError
from nas.latency import Estimator, LatencyPredictor, LatencyTable, estimate_table, get_phone, space_blocks
from nas.latency.estimating.calibration import Observation, calibrate
from nas.latency.estimating.chips import PHONES, Chip
from nas.latency.estimating.constants import shipped_calibration
from nas.latency.estimating.estimator import block_operations
from nas.latency.estimating.intervals import interval_of
from nas.latency.estimating.operations import AttentionLowering, Operation, operations
from nas.latency.estimating.processor_rules import COMPUTE_UNITS, place
from nas.latency.estimating.roofline import Constants, Workload
from nas.models import block_cost
from nas.space import SearchSpace
from nas.space.implementations import block_implementations

SPACES = sorted(Path("search_spaces").glob("*.yaml"))
CONSTANTS = Constants(
    neural_engine_efficiency=0.5,
    neural_engine_attention_efficiency=0.1,
    gpu_efficiency=0.25,
    gpu_attention_efficiency=0.05,
    cpu_efficiency=0.5,
    memory_efficiency=0.8,
    on_chip_bytes_per_operation=0.01,
    dispatch_ms=0.1,
    gpu_operation_ms=0.02,
    cpu_operation_ms=0.01,
)
CHIP = Chip("T1", neural_engine_tops=10, gpu_tflops=2, cpu_ghz=4, memory_gb_s=50, system_cache_mb=10)


def operation(kind: str = "convolution", macs: int = 0, weights: int = 0, tensors: tuple[int, ...] = ()) -> Operation:
    return Operation("test", kind, macs, weights, tensors)


def milliseconds(*given: Operation, unit: str = "cpu_and_ne", bits: float = 16) -> float:
    return Workload(given, unit, bits).block_ms(CHIP, CONSTANTS)


@pytest.mark.slow
def test_the_arithmetic_of_every_kind_of_block_is_what_torch_counts() -> None:
    """One block of each kind in the shipped spaces, in all its implementations."""
    blocks = {block.kind: block for path in SPACES for block in space_blocks(SearchSpace.load(path))}
    written = [implementation for block in blocks.values() for implementation in block_implementations(block)]
    assert any("form=matmul" in block.key for block in written)
    for block in written:
        assert sum(operation.macs for operation in block_operations(block)) == block_cost(block).macs, block.key


def test_weights_are_read_once_and_views_and_fused_work_cost_nothing() -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    found = operations(module, [torch.zeros(1, 4, 4, 4)])
    assert [each.kind for each in found] == ["convolution", "elementwise", "matmul"]
    assert [each.weight_values for each in found] == [4 * 8 * 9 + 8, 0, 128 * 5 + 5]
    assert [each.tensor_values for each in found] == [(64, 128), (), (128, 5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (nn.Conv1d(4, 6, 3), [(1, 4, 9)]),
        (nn.Conv3d(4, 6, (3, 1, 1), groups=2), [(1, 4, 5, 6, 7)]),
        (nn.MultiheadAttention(8, 2, batch_first=True), None),
        (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), [(1, 6, 16)]),
    ],
    ids=["conv1d", "grouped conv3d", "attention", "transformer"],
)
def test_any_torch_module_can_be_counted(module: nn.Module, shapes: list[tuple[int, ...]] | None) -> None:
    inputs = [torch.zeros(3, 4, 8)] * 3 if shapes is None else [torch.zeros(shape) for shape in shapes]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.train()(*inputs)  # evaluation would take a fused path that the counter does not see into
    assert sum(each.macs for each in operations(module, inputs)) == counter.get_total_flops() // 2


def test_einsum_counts_every_combination_of_its_indices() -> None:
    class Product(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bchq,bkhc->bkhq", left, right)

    inputs = [torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 4, 3)]
    assert sum(each.macs for each in operations(Product(), inputs)) == 2 * 3 * 4 * 5 * 6


def test_einsum_may_leave_indices_unnamed() -> None:
    class Product(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return torch.einsum("...hq,k...h->k...q", left, right)

    inputs = [torch.zeros(2, 7, 4, 5), torch.zeros(6, 1, 7, 4)]
    assert sum(each.macs for each in operations(Product(), inputs)) == 2 * 7 * 4 * 5 * 6


def test_attention_in_pieces_is_the_same_arithmetic_with_smaller_tensors() -> None:
    class Attention(nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(query, key, value)

    inputs = [torch.zeros(1, 4, 64, 8)] * 3
    whole = operations(Attention(), inputs)
    apart = operations(Attention(), inputs, AttentionLowering(heads_apart=True, queries_at_once=16))
    assert sum(each.macs for each in whole) == sum(each.macs for each in apart) == 2 * 4 * 64 * 64 * 8
    assert max(map(max, (each.tensor_values for each in whole))) == 4 * 64 * 64
    assert max(map(max, (each.tensor_values for each in apart))) == 16 * 64


class Tail(nn.Module):
    """A layer with what follows it, written in either of two ways."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.layer, self.in_place = nn.Linear(8, 8), in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.layer(x)
        if self.in_place:
            made.relu_()
            made += x
            return made
        _ = self.layer(x) @ x  # nobody reads it
        return torch.relu(made) + x


def test_what_is_changed_in_place_counts_as_what_is_made_anew_and_what_nobody_reads_as_nothing() -> None:
    in_place, anew = (operations(Tail(in_place), [torch.zeros(8, 8)]) for in_place in (True, False))
    assert in_place == anew
    assert [(each.kind, each.macs) for each in anew] == [("matmul", 8**3), ("elementwise", 0), ("elementwise", 0)]


def test_an_unknown_operation_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x).real

    with pytest.raises(RuntimeUnavailableError, match=r"the cost of operation aten\.fft_fft"):
        operations(Odd(), [torch.zeros(8)])


def test_what_bounds_an_operation_bounds_its_time() -> None:
    gmacs_per_ms = 0.5 * 10 / 2
    assert milliseconds(operation(macs=10**9)) == pytest.approx(1 / gmacs_per_ms)
    assert milliseconds(operation(weights=10**6)) == pytest.approx(2 / (0.8 * 50))
    assert milliseconds(operation(weights=10**6), bits=4) == pytest.approx(0.5 / (0.8 * 50))
    small, large = 10**5, 4 * 10**7  # 0.2 MB and 80 MB, where the cache has 10 MB
    inside_ms, outside_ms = 0.2 / (0.01 * 10 * 1e3), 80 / (0.8 * 50)
    assert milliseconds(operation("layout", tensors=(small,))) == pytest.approx(inside_ms, rel=1e-4)
    assert milliseconds(operation("layout", tensors=(large,))) == pytest.approx(outside_ms, rel=1e-4)
    # Tensors that come from memory are waited for, but not by a convolution; arithmetic hides weights.
    work = {"macs": 10**9, "weights": 10**6}
    assert milliseconds(operation("matmul", **work, tensors=(small,))) == pytest.approx(1 / gmacs_per_ms + inside_ms)
    waiting = milliseconds(operation("matmul", **work, tensors=(large,)))
    assert waiting == pytest.approx(1 / gmacs_per_ms + outside_ms, rel=1e-3)
    streaming = operation("convolution", **work, tensors=(large,))
    assert milliseconds(streaming) == pytest.approx(max(1 / gmacs_per_ms, outside_ms), rel=1e-3)
    assert milliseconds(streaming, streaming) == pytest.approx(2 * milliseconds(streaming))


def test_half_of_a_tensor_of_the_cache_share_is_in_memory() -> None:
    values = round(0.35 * 10 * 1e6 / 2)
    halves_ms = 1.75 / (0.01 * 10 * 1e3) + 1.75 / (0.8 * 50)
    assert milliseconds(operation("layout", tensors=(values,))) == pytest.approx(halves_ms)


def test_attention_has_an_efficiency_of_its_own() -> None:
    product, attention = operation("matmul", macs=10**9), operation("attention", macs=10**9)
    assert milliseconds(attention) == pytest.approx(5 * milliseconds(product))
    on_gpu_ms = 1 / (0.05 * 2 / 2) + 0.02
    assert milliseconds(attention, unit="cpu_and_gpu") == pytest.approx(on_gpu_ms)


def test_a_product_of_two_activations_is_attention_however_it_is_written() -> None:
    class Scores(nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            return torch.einsum("bhnd,bhmd->bhnm", query, key) + query @ key.transpose(-1, -2)

    shape = (1, 2, 8, 4)
    counted = operations(Scores(), (torch.zeros(shape), torch.zeros(shape)))
    assert [each.kind for each in counted if each.macs] == ["attention", "attention"]
    assert [each.kind for each in operations(nn.Linear(4, 8), (torch.zeros(1, 4),))] == ["matmul"]


def test_a_transposed_convolution_multiplies_each_input_with_every_weight_of_its_channel() -> None:
    layer, image = nn.ConvTranspose2d(3, 5, kernel_size=4, stride=4), torch.zeros(1, 3, 6, 6)
    with FlopCounterMode(display=False) as counter:
        layer(image)
    assert sum(each.macs for each in operations(layer, (image,))) == counter.get_total_flops() // 2 == 3 * 36 * 5 * 16


def test_what_the_neural_engine_refuses_costs_two_changes_of_processor() -> None:
    home, foreign = operation(macs=10**9), operation("convolution_3d", macs=10**9)
    on_cpu_ms = 1 / (0.5 * 4 * 256 / 1e3) + 0.01
    on_gpu_ms = 1 / (0.25 * 2 / 2) + 0.02
    alone_ms = milliseconds(home)
    assert milliseconds(home, foreign, home) == pytest.approx(2 * alone_ms + on_cpu_ms + 0.1)
    assert milliseconds(home, foreign, home, unit="all") == pytest.approx(2 * alone_ms + on_gpu_ms + 0.2)
    assert milliseconds(foreign, unit="cpu_and_gpu") == pytest.approx(on_gpu_ms)


def test_all_stays_on_the_neural_engine_even_where_the_gpu_is_faster_and_refused_work_goes_to_the_gpu() -> None:
    attention = operation("attention", macs=10**9)
    slow_engine = replace(CHIP, neural_engine_tops=0.1)
    times = {
        unit: Workload((attention,), unit).call_ms(slow_engine, CONSTANTS)
        for unit in ("all", "cpu_and_ne", "cpu_and_gpu")
    }
    assert times["all"] == times["cpu_and_ne"] > 9 * times["cpu_and_gpu"]
    refused = {kind: (place(kind, "cpu_and_ne"), place(kind, "all")) for kind in ("convolution_3d", "lookup")}
    assert refused == {"convolution_3d": ("cpu", "gpu"), "lookup": ("cpu", "cpu")}


def test_the_interval_counts_each_group_once_and_is_wide_for_few_groups() -> None:
    """The deviation of two groups is estimated on two degrees of freedom: t is 1.8856 for 80%."""
    errors = [("one", 0.1), ("one", -0.1), ("one", 0.1), ("other", 0.3)]
    found = interval_of(errors, "families")
    assert found.factor == pytest.approx(math.exp(1.8856 * math.sqrt((0.01 + 0.09) / 2)), rel=1e-4)
    assert (found.groups, found.latencies, found.coverage_percent) == (2, 4, 80)
    assert interval_of(errors, "families", [0.2]).factor > found.factor
    with pytest.raises(ConfigError, match="there are none"):
        interval_of([], "chips")


def test_four_of_five_further_groups_lie_within_the_interval() -> None:
    draws = np.random.default_rng(0).normal(0, 0.2, (500, 7))
    inside = [
        abs(row[-1]) <= math.log(interval_of([(str(i), e) for i, e in enumerate(row[:-1])], "chips").factor)
        for row in draws
    ]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.05)


def test_every_compute_unit_has_an_interval_that_is_no_narrower_for_other_chips() -> None:
    for unit in COMPUTE_UNITS:
        known, other = (Estimator(get_phone(name), unit).basis.interval for name in ("iphone-15-pro", "iphone-17-pro"))
        assert known is not None
        assert other is not None
        assert 1 < known.factor <= other.factor
    assert Estimator(get_phone("iphone-12"), "all").basis.interval.factor > (
        Estimator(get_phone("iphone-12"), "cpu_and_ne").basis.interval.factor
    )


class _Vision(nn.Module):
    """What segmentation and depth networks use beside convolutions and attention."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.adaptive_max_pool2d(x, 2) + nn.functional.adaptive_avg_pool2d(x, 2)
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        finer = nn.functional.interpolate(padded, size=(4, 4), mode="nearest-exact")
        grid = torch.zeros(1, 4, 4, 2, device=x.device)
        seen = nn.functional.grid_sample(finer, grid + pooled.mean(), align_corners=False)
        return torch.where((x > 0) & (x < 1), seen, x.max(dim=1, keepdim=True).values)


class _Text(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = x.logsumexp(-1, keepdim=True).masked_fill(x[..., :1] < 0, -1.0)
        return x.topk(2, dim=-1).values.std(-1, keepdim=True) + scores.prod(1, keepdim=True) + x.cumsum(1)


@pytest.mark.parametrize("module", [_Vision(), _Text()], ids=["vision", "text"])
def test_operations_of_vision_and_text_networks_are_known(module: nn.Module) -> None:
    shape = (1, 3, 4, 4) if isinstance(module, _Vision) else (1, 5, 8)
    assert operations(module, (torch.zeros(shape),))


@pytest.mark.parametrize("unit", COMPUTE_UNITS)
def test_every_kind_has_a_place_that_the_compute_unit_allows(unit: str) -> None:
    places = {
        place(kind, unit) for kind in ("convolution", "convolution_3d", "sinusoid", "lookup", "matmul", "attention")
    }
    assert places <= {"neural_engine", "gpu", "cpu"}
    assert ("neural_engine" in places) == (unit in ("all", "cpu_and_ne"))
    assert ("gpu" in places) == (unit in ("all", "cpu_and_gpu"))


def test_calibration_finds_the_constants_that_made_the_latencies() -> None:
    true = CONSTANTS.model_copy(update={"neural_engine_efficiency": 0.8, "memory_efficiency": 0.7, "dispatch_ms": 0.2})
    chips = [replace(CHIP, name=f"T{scale}", neural_engine_tops=10 * scale) for scale in (1, 2, 3)]
    jobs = [operation(macs=10**number) for number in (8, 9, 10)]
    jobs += [operation(weights=10**number) for number in (6, 7, 8)] + [
        operation(tensors=(10**number,)) for number in (7, 8)
    ]
    seen = [
        Observation(load, chip, load.call_ms(chip, true))
        for load in (Workload((job,), "cpu_and_ne") for job in jobs)
        for chip in chips
    ]
    found = calibrate(seen)
    for name in ("neural_engine_efficiency", "memory_efficiency", "dispatch_ms"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=0.05)
    # One latency that nobody can explain does not move them.
    odd = [*seen, Observation(Workload((jobs[1],), "cpu_and_ne"), CHIP, 100.0)]
    assert calibrate(odd).neural_engine_efficiency == pytest.approx(found.neural_engine_efficiency, rel=0.02)


def test_an_estimated_table_says_so_in_every_row(tmp_path: Path) -> None:
    space = SearchSpace.load("search_spaces/three_levels.yaml")
    table = estimate_table(space, Estimator(get_phone("iPhone 15 Pro"), "cpu_and_ne")).save(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        assert {row["provenance"] for row in csv.DictReader(file)} == {"estimated"}
    again = LatencyTable.load(tmp_path / "table.csv")
    assert (again.metadata, again.rows) == (table.metadata, table.rows)
    assert len(again) == len(space_blocks(space))
    found = LatencyPredictor(space, again).predict(space.smallest())
    assert (found.provenance, found.device) == ("estimated", "iPhone 15 Pro")


def test_a_chip_without_published_latencies_is_extrapolated() -> None:
    known = shipped_calibration().chips
    for phone in PHONES.values():
        basis = Estimator(phone, "all").basis
        assert basis.extrapolated == (phone.chip.name not in known) == (basis.chip_latencies == 0)
    space = SearchSpace.load("search_spaces/three_levels.yaml")
    metadata = Estimator(get_phone("iphone-16-pro-max"), "all").metadata(space)
    assert metadata.device_text == "iPhone 16 Pro Max (extrapolated)"


def test_every_phone_from_the_12_to_the_17_pro_max_is_there_and_every_mac() -> None:
    for series in (12, 13, 14, 15, 16, 17):
        assert {f"iphone-{series}", f"iphone-{series}-pro", f"iphone-{series}-pro-max"} <= PHONES.keys()
    assert {f"mac-m{number}{kind}" for number in (1, 2, 3, 4) for kind in ("", "-pro", "-max")} <= PHONES.keys()
    assert {
        *(f"mac-m{number}-ultra" for number in (1, 2, 3)),
        "iphone-se-3rd-generation",
        "iphone-16e",
    } <= PHONES.keys()


def test_faster_chips_are_not_slower() -> None:
    space = SearchSpace.load("search_spaces/three_levels.yaml")
    blocks = [block for block in space_blocks(space) if block.kind == "resnet"]
    names = ("iphone-12", "iphone-14-pro", "iphone-15-pro", "iphone-16-pro")
    totals = [sum(Estimator(get_phone(name), "cpu_and_ne").block_ms(one) for one in blocks) for name in names]
    assert totals == sorted(totals, reverse=True)
    assert all(math.isfinite(total) and total > 0 for total in totals)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no chip is known of device 'nokia' \(known: .*, and [0-9]+ more, see `nas devices`"
    ):
        get_phone("nokia")
    with pytest.raises(ConfigError, match=r"no compute unit 'npu' \(known: all, cpu_and_ne, cpu_and_gpu, cpu_only\)"):
        Estimator(get_phone("iphone-12"), "npu")


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_upsampling_moves_values_and_multiplies_none(mode: str) -> None:
    (made,) = operations(nn.Upsample(scale_factor=2, mode=mode), (torch.randn(1, 2, 3, 4),))
    assert (made.kind, made.macs, made.tensor_values) == ("layout", 0, (24, 96))
