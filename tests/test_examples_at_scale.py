"""The examples for many GPUs are read by what they are for, and dry-run as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from torch.distributed.run import get_args_parser

from nas.cli import main
from nas.space import SearchSpace

ROOT = Path(__file__).parents[1]
NODE, SLURM = ROOT / "examples" / "node8", ROOT / "examples" / "slurm"


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _dry_run(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict:  # type: ignore[type-arg]
    monkeypatch.setattr(sys, "argv", ["nas", *arguments, "--dry-run", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    assert not end.value.code, printed.err
    return json.loads(printed.out)  # type: ignore[no-any-return]


def _commands_of_the_readme(chosen: Path) -> list[list[str]]:
    """The indented lines, with the variables set that others of them set."""
    lines = re.findall(r"^    (\S.*)$", (NODE / "README.md").read_text(), re.MULTILINE)
    variables = dict(line.split("=") for line in lines if re.match(r"[A-Z]+=", line))
    commands = [re.sub(r"\$([A-Z]+)", lambda name: variables[name[1]], line) for line in lines]
    return [
        [str(chosen) if word == "chosen.yaml" else word for word in shlex.split(command)]
        for command in commands
        if "nas" in command.split()
    ]


def test_one_node_is_configured_as_accelerate_reads_it() -> None:
    config = load_config_from_file(str(NODE / "accelerate.yaml"))
    assert (config.num_machines, config.num_processes) == (1, 8)
    assert config.distributed_type.value == "MULTI_GPU"
    assert not config.fsdp_config


@pytest.mark.slow
def test_the_commands_for_one_node_fit_eight_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = tmp_path / "chosen.yaml"
    commands = _commands_of_the_readme(chosen)
    assert len(commands) == 3
    SearchSpace.load(commands[0][2]).smallest().save(chosen)
    for command in commands[1:]:
        start = command.index("nas") + 1
        assert (
            command[:start]
            == f"accelerate launch --config_file {NODE.relative_to(ROOT)}/accelerate.yaml -m nas".split()
        )
        found = _dry_run([*command[start:], "--processes", "8"], monkeypatch, capsys)
        assert found["processes"] == 8
    assert found["parallel"] == "fsdp"
    words = [word for word in commands[0][1:] if word != "--dry-run"]
    assert _dry_run(words, monkeypatch, capsys)["micro_batch"] == 16


def test_the_batch_script_starts_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stubs = {"srun": 'printf "%s\\n" "$@"', "scontrol": "printf 'first\\nsecond\\n'"}
    for name, line in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "n[1-4]", "SLURM_NNODES": "4", "SLURM_JOB_ID": "7"}
    environment = os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = ["bash", str(SLURM / "supernet.sbatch"), "--seed", "1"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    program, *words = done.stdout.split()
    assert program == "torchrun"
    launch = get_args_parser().parse_args(words)
    assert (launch.nnodes, launch.nproc_per_node, launch.rdzv_endpoint) == ("4", "8", "first:29500")
    assert (launch.module, launch.training_script) == (True, "nas")
    assert launch.training_script_args[-2:] == ["--seed", "1"]
    found = _dry_run([*launch.training_script_args, "--processes", "32"], monkeypatch, capsys)
    assert (found["batch"], found["micro_batch"], found["image_micro_batch"]) == (256, 4, 1)
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", (SLURM / "supernet.sbatch").read_text(), re.MULTILINE))
    assert (asked["nodes"], asked["ntasks-per-node"], asked["gpus-per-node"]) == ("4", "1", "8")
