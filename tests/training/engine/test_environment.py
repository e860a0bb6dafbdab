"""What a run learns is decided by its settings, whatever accelerate's variables say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nas.data import MovingShapes
from nas.errors import ConfigError
from nas.space import SearchSpace
from nas.training import LoopConfig, SuperNetConfig, train_supernet
from nas.training.engine import trainer as loop
from nas.training.engine.processes import make_accelerator

HARMLESS = {
    "unset": {},
    "launch": {
        # What `accelerate launch` sets where nobody has configured anything.
        "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_DYNAMO_MODE": "default",
        "ACCELERATE_DYNAMO_USE_FULLGRAPH": "False", "ACCELERATE_USE_CPU": "False",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
    },
    "parts": {
        # What goes with something that is not configured.
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true",
        "MEGATRON_LM_TP_DEGREE": "2", "PARALLELISM_CONFIG_TP_SIZE": "2", "ACCELERATE_GRADIENT_CLIPPING": "0.01",
        "ACCELERATE_DYNAMO_USE_FULLGRAPH": "true",
    },
    "alone": {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "", "ACCELERATE_USE_FSDP": "", "FORK_LAUNCHED": ""},
    "mpi": {"PMI_SIZE": "2", "PMI_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
    "cpu": {"ACCELERATE_USE_CPU": "true"},
}  # fmt: skip


def _losses(folder: Path) -> list[tuple[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_no_variable_changes_the_losses(
    space: SearchSpace,
    clips: MovingShapes,
    config: SuperNetConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    short = config.model_copy(update={"steps": 2})
    curves = {}
    for name, variables in HARMLESS.items():
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            train_supernet(space, clips, short, tmp_path / name)
        curves[name] = _losses(tmp_path / name)
        warned = "ACCELERATE_GRADIENT_CLIPPING: without effect" in caplog.text
        assert warned == (name == "parts"), caplog.text
        caplog.clear()
    assert len(curves["unset"]) == 2
    assert all(curve == curves["unset"] for curve in curves.values())


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", r"STEPS is 4, but gradient_accumulation is 2 .*; set grad"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "x", r"STEPS is x, but gradient_accumulation is 2"),
        (
            "ACCELERATE_MIXED_PRECISION",
            "fp16",
            r"PRECISION is fp16, but mixed_precision is no in the training settings",
        ),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", r"configured to compile with INDUCTOR, .*; take it out"),
        ("ACCELERATE_USE_FSDP", "true", r"is configured for FSDP, .* set parallel: fsdp in the training"),
        ("ACCELERATE_USE_DEEPSPEED", "1", r"is configured for DEEPSPEED"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", r"is configured for MEGATRON_LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", r"is configured for its own parallelism"),
        ("ACCELERATE_USE_SAGEMAKER", "true", r"is configured for SageMaker"),
        ("ACCELERATE_TORCH_DEVICE", "cpu", r"ACCELERATE_TORCH_DEVICE is cpu, which no run follows; choose devices"),
        ("ACCELERATE_USE_CPU", "perhaps", r"ACCELERATE_USE_CPU is 'perhaps', expected true or false"),
        ("WORLD_SIZE", "2", r"WORLD_SIZE is 2, but RANK is not set"),
    ],
)
def test_what_asks_for_another_result_is_refused(
    variable: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=complaint):
        make_accelerator(LoopConfig(gradient_accumulation=2))
    monkeypatch.delenv(variable)
    assert make_accelerator(LoopConfig(gradient_accumulation=2)).gradient_accumulation_steps == 2


def test_what_agrees_with_the_settings_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    accelerator = make_accelerator(LoopConfig(mixed_precision="bf16", gradient_accumulation=3))
    assert (accelerator.mixed_precision, accelerator.gradient_accumulation_steps) == ("bf16", 3)
