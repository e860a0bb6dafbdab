"""Settings of a training: what is accepted works, and what is not is refused in one line."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nas.errors import ConfigError, NasError
from nas.files import load_yaml
from nas.training import DistillationSettings, LoopConfig, SuperNetConfig
from nas.training.engine.processes import make_accelerator
from nas.training.engine.task import MODEL, Losses, Movable, TrainingTask
from nas.training.engine.trainer import Trainer
from nas.training.flow.objective import add_noise
from nas.training.flow.rng import RNGKeys

EXTREME = st.one_of(
    st.sampled_from([0, -1, 1, 10**6, 10**12, 10**13, 10**400, 2**63, -(2**63)]),
    st.sampled_from([5e-324, 1e-300, 1e-9, 0.5, 1 - 1e-16, 1e9, 1e18, 1e19, 1e300, 1.7e308, -1e308, -5e-324]),
    st.sampled_from([math.inf, -math.inf, math.nan, "1e400", "", None, True, [], {}]),
    st.floats(),
    st.integers(),
)
LOOP_KEYS = sorted(set(LoopConfig.model_fields) - {"parallel", "mixed_precision", "gradient_checkpointing"})
TIMESTEPS = ("timestep_mean", "timestep_std", "timestep_shift")


class Nothing(Movable):
    def to(self, device: torch.device) -> Nothing:
        return self


class Point(TrainingTask[Nothing]):
    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.ones(2))

    def forward(self, batch: Nothing, step: int, phase: str = MODEL) -> Losses:
        return {"loss": (self.point - 0.5).square().sum()}


class Enough(Exception):
    pass


def _draw(step: int) -> Nothing:
    if step > 2:
        raise Enough
    return Nothing()


def _loaded(folder: Any, model: type, value: Any) -> Any:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(value))
    try:
        return load_yaml(path, model)
    except ConfigError as refused:
        assert str(path) in str(refused)  # noqa: PT017
        return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(values=st.dictionaries(st.sampled_from(LOOP_KEYS), EXTREME, min_size=1, max_size=2))
def test_whatever_the_loop_is_set_to_it_runs_or_is_refused(tmp_path_factory: Any, values: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("run")
    config = _loaded(folder, LoopConfig, values)
    if config is None:
        return
    accelerator = make_accelerator(config)
    trainer = Trainer(Point(), _draw, config, folder, fingerprint="", accelerator=accelerator, label="")
    with contextlib.suppress(Enough, NasError):
        assert math.isfinite(trainer.run().final_loss)


@given(values=st.dictionaries(st.sampled_from(TIMESTEPS), EXTREME, min_size=1))
def test_whatever_noise_levels_are_set_to_they_are_levels_or_refused(
    tmp_path_factory: Any, values: dict[str, Any]
) -> None:
    config = _loaded(tmp_path_factory.mktemp("run"), SuperNetConfig, values)
    if config is None:
        return
    mean, std, shift = (getattr(config, name) for name in TIMESTEPS)
    rng = RNGKeys(0, tuple(range(50))).rng("noise")
    noisy = add_noise(torch.ones(50, 1, 1, 1, 1), rng, mean=mean, std=std, shift=shift)
    assert ((noisy.timestep_B >= 0) & (noisy.timestep_B <= 1000.5)).all()
    assert torch.isfinite(noisy.sample_BTCHW).all()


@pytest.mark.parametrize(
    ("model", "text", "complaint"),
    [
        (SuperNetConfig, "max_minutes: .nan", "max_minutes: expected a finite number; got nan"),
        (SuperNetConfig, "timestep_std: 0", "timestep_std: expected more than 0.0; got 0"),
        (SuperNetConfig, "timestep_shift: 1.0e+9", "timestep_shift: expected at most 1000"),
        (SuperNetConfig, "timestep_mean: -.inf", "timestep_mean: expected a finite number; got -inf"),
        (SuperNetConfig, f"steps: {10**20}", "steps: expected at most 1000000000000"),
        (SuperNetConfig, "strategy: sandwich\nrandom_paths: 1000000", "random_paths: expected at most 1000"),
        (DistillationSettings, "training: {batch_size: 10000000}", "training.batch_size: expected at most 1000000"),
        (DistillationSettings, "distillation: {guidance_scale: 1.0e+300}", "guidance_scale: expected at most 1000"),
        (DistillationSettings, "distillation: {steps: 1000000}", "distillation.steps: expected at most 1000"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Any, model: type, text: str, complaint: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_yaml(tmp_path / "settings.yaml", model)
    assert complaint in str(refused.value)
