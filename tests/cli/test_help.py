"""What `--help` says of defaults is what the settings have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.main import get_command

from nas.cli import app
from nas.training import DistillationSettings, LoopConfig, SuperNetConfig

DISTILLED = DistillationSettings()
OF_LOOP = {"batch_size": "batch_size", "learning_rate": "learning_rate", "seed": "seed"}
SETTINGS: list[tuple[str, LoopConfig, dict[str, str]]] = [
    ("train", SuperNetConfig(), OF_LOOP | {"steps": "steps", "strategy": "strategy"}),
    ("distill", DISTILLED.training, OF_LOOP | {"train_steps": "steps"}),
]


def _said(command: str, option: str) -> str:
    commands: Any = get_command(app)
    (helped,) = (param.help for param in commands.commands[command].params if param.name == option)
    found = re.search(r"\(default: ([^);]+)", helped)
    assert found is not None, f"{command} {option}: {helped}"
    return found[1]


@pytest.mark.parametrize(
    ("command", "settings", "option", "field"),
    [(command, settings, option, field) for command, settings, fields in SETTINGS for option, field in fields.items()],
)
def test_help_states_the_default_of_a_setting(command: str, settings: LoopConfig, option: str, field: str) -> None:
    assert _said(command, option) == str(getattr(settings, field))


def test_help_states_the_defaults_of_a_distillation() -> None:
    to = DISTILLED.distillation
    assert _said("distill", "steps") == str(to.steps)
    assert _said("distill", "teacher_substeps") == str(to.substeps)
    assert float(_said("distill", "guidance_scale")) == to.guidance
    assert SuperNetConfig().max_minutes is None
    assert _said("train", "max_minutes") == "no limit"
