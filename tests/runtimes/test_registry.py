"""Choosing a runtime by name, and what goes into metadata."""

from __future__ import annotations

import math
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from nas.errors import ConfigError
from nas.runtimes import compare, cpu_model, get_runtime, registry, runtime_names, versions


def test_an_unknown_runtime_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown runtime 'tvm' \(known: onnxruntime, torch, coreml\)"):
        get_runtime("tvm")


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"coreml has no option 'threads' \(known: deployment_target"):
        get_runtime("coreml", threads=2)


@pytest.mark.parametrize(
    ("option", "value"), [("deployment_target", "iOS16"), ("compute_unit", "ane"), ("precision", "int8")]
)
def test_an_unknown_value_of_a_core_ml_option_is_named(option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} '{value}' is unknown"):
        get_runtime("coreml", **{option: value})


def test_options_that_are_none_keep_their_defaults() -> None:
    assert get_runtime("torch", threads=None).settings == get_runtime("torch").settings
    assert get_runtime("onnxruntime", threads=2).settings.threads == 2


def test_a_package_can_bring_its_own_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("twin", "nas.runtimes.torch_runtime:TorchRuntime", "nas.runtimes")
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints([point]).select(group=group))
    assert "twin" in runtime_names()
    assert get_runtime("twin", threads=3).settings.threads == 3


def test_metadata_name_machine_and_libraries() -> None:
    assert cpu_model()
    assert {"python", "os", "torch", "onnxruntime"} <= versions().keys()


def test_parity_of_known_arrays() -> None:
    reference = np.array([0.0, 2.0, -4.0], dtype=np.float32)
    found = compare(reference + np.float32(0.5), reference)
    assert found.max_abs_error == 0.5
    assert found.psnr_db == pytest.approx(20 * math.log10(4 / 0.5))
    assert compare(reference, reference).psnr_db == math.inf
    with pytest.raises(ValueError, match="shape"):
        compare(reference[:2], reference)
