"""Choosing a runtime by name, and what goes into metadata."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from nas.cli._runtime import chosen_runtime
from nas.errors import ConfigError
from nas.runtimes import Runtime, RuntimeSettings, compare, get_runtime
from nas.runtimes.environment import cpu_model, versions
from nas.runtimes.registry import RUNTIMES, runtime_options


def test_an_unknown_runtime_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown runtime 'tvm' \(known: onnxruntime, torch, coreml, coreai\)"):
        get_runtime("tvm")


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"coreml has no option 'threads' \(known: deployment_target"):
        get_runtime("coreml", threads=2)


@pytest.mark.parametrize(
    ("name", "option", "value", "known"),
    [
        ("coreml", "deployment_target", "iOS16", "iOS17"),
        ("coreml", "compute_unit", "ane", "cpu_and_ne"),
        ("coreml", "precision", "int8", "fp16"),
        ("coreml", "deployment_target", "iOS27", "iOS26"),
        ("coreai", "compute_unit", "cpu_and_ne", "prefer_ne"),
        ("torch", "compute_unit", "tpu", "gpu"),
        ("onnxruntime", "threads", 0, "1"),
        ("onnxruntime", "opset", "new", "whole number"),
    ],
)
def test_an_impossible_value_names_runtime_option_and_what_is_possible(
    name: str, option: str, value: object, known: str
) -> None:
    with pytest.raises(ConfigError, match=f"runtime {name}: {option}: .*{known}.*{value}"):
        get_runtime(name, **{option: value})


def test_options_that_are_none_keep_their_defaults() -> None:
    assert get_runtime("torch", threads=None).settings == get_runtime("torch").settings
    assert get_runtime("onnxruntime", threads=2).settings.threads == 2


def test_the_command_line_takes_each_option_once() -> None:
    assert chosen_runtime("onnxruntime", ["opset=21"], threads=2).settings == RuntimeSettings(
        "onnxruntime", "fp32", "cpu", 2, "21"
    )
    with pytest.raises(ConfigError, match="threads is given twice; leave out --threads or --runtime-option"):
        chosen_runtime("torch", ["threads=2"], threads=1, compute_unit=None)
    with pytest.raises(ConfigError, match="--runtime-option: expected key=value, got 'threads'"):
        chosen_runtime("torch", ["threads"])


class OldStyle(Runtime):
    """A runtime that takes its options as arguments of its constructor."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__()


def test_a_runtime_without_config_but_with_a_constructor_is_told_what_to_declare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RUNTIMES.builtin, "old", f"{__name__}:OldStyle")
    with pytest.raises(ConfigError, match="runtime old has a constructor of its own and no Config"):
        get_runtime("old", threads=1)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (RuntimeSettings("onnxruntime", "fp32", "cpu", 2, "21"), {"threads": 2, "opset": 21}),
        (RuntimeSettings("torch", "fp32", "cpu", 3, None), {"threads": 3, "compute_unit": "cpu"}),
        (
            RuntimeSettings("coreml", "fp16", "cpu_and_ne", None, "iOS17"),
            {"deployment_target": "iOS17", "compute_unit": "cpu_and_ne", "precision": "fp16"},
        ),
        (
            RuntimeSettings("coreai", "fp32", "prefer_ne", None, "iOS27"),
            {"compute_unit": "prefer_ne", "precision": "fp32"},
        ),
    ],
)
def test_recorded_settings_lead_back_to_options(settings: RuntimeSettings, options: dict[str, object]) -> None:
    assert runtime_options(settings) == options
    assert get_runtime(settings.runtime, **options).settings == settings


def test_options_are_read_without_torch_or_a_converter() -> None:
    """In a fresh process, because this one has imported them."""
    code = (
        "import sys; from nas.runtimes.registry import RUNTIMES\n"
        "print([RUNTIMES.get(name).Config().model_dump() for name in RUNTIMES.names()])\n"
        "from nas.runtimes import devices; devices()\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'coremltools', 'coreai', 'coreai_torch', 'diffusers'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("set()\n"), done.stdout + done.stderr


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
