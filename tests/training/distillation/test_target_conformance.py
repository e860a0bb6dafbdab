"""The targets of this project keep the contract of targets."""

from __future__ import annotations

from nas.testing import DistillationTargetConformance


class TestData(DistillationTargetConformance):
    target = "data"


class TestTrajectory(DistillationTargetConformance):
    target = "trajectory"


class TestConsistency(DistillationTargetConformance):
    target = "consistency"
    options = {"huber_scale": 0.5}


class TestDistributionMatching(DistillationTargetConformance):
    target = "distribution_matching"
    options = {"fake_updates": 2}


class TestTrajectoryFromOwnSamples(DistillationTargetConformance):
    target = "trajectory"
    options = {"own_samples": True}
