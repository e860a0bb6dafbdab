from __future__ import annotations

import math

import torch

from nas.models.flow import flow_loss, mix
from nas.training.flow.objective import add_noise
from nas.training.flow.rng import BatchRNG


def test_a_sample_lies_on_the_straight_line_between_data_and_noise() -> None:
    data, noise = torch.full((3, 1, 1, 1, 1), 2.0), torch.full((3, 1, 1, 1, 1), -1.0)
    batch = mix(data, noise, torch.tensor([0.0, 0.25, 1.0]))
    assert batch.sample_BTCHW.flatten().tolist() == [2.0, 1.25, -1.0]
    assert batch.timestep_B.tolist() == [0.0, 250.0, 1000.0]
    assert batch.target_BTCHW.flatten().tolist() == [-3.0] * 3


def test_integrating_the_target_velocity_from_noise_arrives_at_the_data() -> None:
    data = torch.randn(2, 3, 4, 5, 5)
    batch = add_noise(data, BatchRNG(range(2)))
    level = batch.timestep_B.reshape(-1, 1, 1, 1, 1) / 1000
    torch.testing.assert_close(batch.sample_BTCHW - level * batch.target_BTCHW, data, rtol=1e-4, atol=1e-5)


def test_noise_levels_are_logit_normal() -> None:
    level = add_noise(torch.zeros(20000, 1, 1, 1, 1), BatchRNG(range(20000)), mean=0.5, std=0.8).timestep_B / 1000
    logit = torch.logit(level.double())
    assert math.isclose(float(logit.mean()), 0.5, abs_tol=0.02)
    assert math.isclose(float(logit.std()), 0.8, abs_tol=0.02)


def test_shift_moves_the_median_as_in_stable_diffusion_3() -> None:
    level = add_noise(torch.zeros(20000, 1, 1, 1, 1), BatchRNG(range(20000)), shift=3.0).timestep_B / 1000
    assert math.isclose(float(level.median()), 3 * 0.5 / (1 + 2 * 0.5), abs_tol=0.01)


def test_the_true_velocity_has_no_loss() -> None:
    batch = add_noise(torch.randn(2, 1, 3, 4, 4), BatchRNG(range(2)))
    assert flow_loss(batch.target_BTCHW, batch) == 0
    assert math.isclose(float(flow_loss(batch.target_BTCHW + 2, batch)), 4.0, rel_tol=1e-5)
