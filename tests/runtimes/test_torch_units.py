"""Where the torch runtime computes: on the processor, or on a graphics card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nas.errors import ConfigError, RuntimeUnavailableError
from nas.runtimes import get_runtime
from nas.runtimes.environment import cpu_model
from nas.runtimes.registry import runtime_options


def test_the_processor_is_the_default_and_names_itself() -> None:
    runtime = get_runtime("torch")
    assert (runtime.settings.compute_unit, runtime.settings.threads, runtime.device) == ("cpu", 1, cpu_model())
    assert runtime_options(get_runtime("torch", threads=3).settings) == {"threads": 3, "compute_unit": "cpu"}


def test_a_card_has_no_threads() -> None:
    settings = get_runtime("torch", compute_unit="gpu").settings
    assert (settings.compute_unit, settings.threads) == ("gpu", None)
    assert get_runtime("torch", **runtime_options(settings)).settings == settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_unit": "gpu", "threads": 2}, "runtime torch: .*threads have no meaning on a GPU"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_runtime("torch", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so(tmp_path: Path) -> None:
    runtime = get_runtime("torch", compute_unit="gpu")
    assert runtime.device == cpu_model()
    with pytest.raises(RuntimeUnavailableError, match="PyTorch sees no CUDA GPU"):
        runtime.prepare(torch.nn.Identity(), (torch.zeros(1),), ("x",), tmp_path)
