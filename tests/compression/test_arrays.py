"""What compressing does to the values of one tensor."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from nas.compression import COMPRESSED_KINDS, WEIGHT_KINDS, CompressedKind, weight_format
from nas.compression.arrays import compressed, palette
from nas.errors import CheckpointError, ConfigError

WEIGHTS = np.random.default_rng(0).standard_t(5, (32, 16, 3, 3)).astype(np.float32) / 20


def error_db(values: np.ndarray, of: np.ndarray) -> float:
    """The ratio of the weights' power to the error's."""
    return float(10 * np.log10((of.astype(float) ** 2).mean() / ((values - of).astype(float) ** 2).mean()))


@pytest.mark.parametrize(("kind", "most"), [("palettized_8", 256), ("palettized_6", 64), ("palettized_4", 16)])
def test_a_palette_has_as_many_values_as_its_bits_allow(kind: str, most: int) -> None:
    form = weight_format(kind)
    values = compressed(WEIGHTS, form)
    groups = np.split(values, 1 if form.group_size is None else 2)
    assert [len(np.unique(group)) for group in groups] == [most] * len(groups)
    assert len(np.unique(values)) == most * len(groups)


def test_int8_has_a_scale_for_each_channel() -> None:
    values = compressed(WEIGHTS, weight_format("int8"))
    largest = np.abs(WEIGHTS).max(axis=(1, 2, 3))
    np.testing.assert_allclose(np.abs(values).max(axis=(1, 2, 3)), largest, rtol=2e-3)
    step = largest / 127
    assert (np.abs(values - WEIGHTS).max(axis=(1, 2, 3)) < 0.6 * step).all()


def test_a_channel_of_zeros_stays_zero_in_int8() -> None:
    weights = WEIGHTS.copy()
    weights[3] = 0
    values = compressed(weights, weight_format("int8"))
    assert not values[3].any()
    assert values[4].any()


def test_more_bits_are_more_precise() -> None:
    errors = {kind: error_db(compressed(WEIGHTS, weight_format(kind)), WEIGHTS) for kind in WEIGHT_KINDS}
    ordered = ("palettized_4", "palettized_6", "int8", "palettized_8", "fp16")
    assert [errors[kind] for kind in ordered] == sorted(errors[kind] for kind in ordered)


def test_the_palette_is_as_good_as_that_of_k_means_over_all_weights() -> None:
    centres = KMeans(16, n_init=3, random_state=0).fit(WEIGHTS.reshape(-1, 1))
    best = centres.cluster_centers_[centres.labels_].reshape(WEIGHTS.shape)
    colours, indices = palette(WEIGHTS, 4)
    assert error_db(colours[indices].reshape(WEIGHTS.shape), WEIGHTS) > error_db(best, WEIGHTS) - 0.3


def test_few_distinct_weights_are_kept_as_they_are() -> None:
    weights = np.array([-1.5, 0.0, 0.25, 3.0], dtype=np.float32)[np.arange(4096) % 4].reshape(64, 64)
    for kind in ("palettized_8", "palettized_6", "palettized_4"):
        assert np.array_equal(compressed(weights, weight_format(kind)), weights)
    assert palette(weights, 4)[0].tolist() == [-1.5, 0.0, 0.25, 3.0] + 12 * [0.0]


@pytest.mark.parametrize("shape", [(4096,), (64, 32), (40, 60)])
def test_small_tensors_and_vectors_are_rounded_to_fp16(shape: tuple[int, ...]) -> None:
    weights = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    kinds = ("palettized_4",) if shape == (40, 60) else COMPRESSED_KINDS  # 16 does not divide 40
    for kind in kinds:
        assert np.array_equal(compressed(weights, weight_format(kind)), weights.astype(np.float16)), kind


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        ("fp32", 32 * 4608),
        ("fp16", 16 * 4608),
        ("int8", 8 * 4608 + 16 * 32),
        ("palettized_8", 8 * 4608 + 16 * 256),
        ("palettized_6", 6 * 4608 + 16 * 64),
        ("palettized_4", 4 * 4608 + 2 * 16 * 16),
    ],
)
def test_stored_bits_count_scales_and_palettes(kind: str, bits: int) -> None:
    assert weight_format(kind).stored_bits(WEIGHTS.shape) == bits


def test_small_tensors_are_stored_in_fp16() -> None:
    assert weight_format("palettized_4").stored_bits((10, 10)) == 1600


@pytest.mark.parametrize("kind", COMPRESSED_KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 7e4])
def test_weights_that_fp16_cannot_hold_are_refused(kind: CompressedKind, value: float) -> None:
    weights = WEIGHTS.copy()
    weights[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match="a weight is not finite, or too large for fp16"):
        compressed(weights, weight_format(kind))


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no kind of weights 'int4' \(known: fp32, fp16, int8, palettized_8"):
        weight_format("int4")
