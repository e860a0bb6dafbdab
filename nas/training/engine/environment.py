"""Whether the environment of a training lets it do what its settings say."""

from __future__ import annotations

from nas.environment import check_settings
from nas.training.engine.settings import LoopConfig
from nas.training.engine.trackers import check_trackers


def check_environment(config: LoopConfig) -> None:
    """Refuse settings that this environment cannot follow, before clips are opened.

    Raises:
        ConfigError: Environment variables of accelerate contradict the settings, or a tracker is not installed.
    """
    check_trackers(config.trackers)
    check_settings(config.mixed_precision, config.gradient_accumulation)
