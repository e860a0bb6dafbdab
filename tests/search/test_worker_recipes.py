"""The commands and manifests of docs/workers.md: what a cluster and the command line would make of them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import typer.main
import yaml

from nas.cli import app
from nas.search.storage.address import study_file

PAGE = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
NAS = typer.main.get_command(app)

SBATCH = {
    "job-name": r"[\w-]+",
    "array": r"\d+-\d+",
    "gres": r"gpu:\d+",
    "cpus-per-task": r"\d+",
    "time": r"\d\d:\d\d:\d\d",
    "signal": r"B:INT@\d+",
    "output": r"\S*%a\S*",
}


def block(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return code


def parsed(words):
    """The values that the real command line reads from the words of a command."""
    verb, *arguments = words
    return NAS.commands[verb].make_context(verb, list(arguments)).params


def check_worker(values):
    """Several processes with this command can share a study."""
    assert study_file(values["storage"]) is None
    assert (values["study"], values["evaluations"]) == ("first", 500)
    assert values["supernet"] == Path("runs/supernet")


def test_the_array_job_of_slurm(tmp_path):
    script = tmp_path / "search.sh"
    script.write_text(block("bash"))

    subprocess.run(["bash", "-n", script], check=True)

    first, *settings = [line for line in script.read_text().splitlines() if line.startswith("#")]
    assert first == "#!/bin/bash"
    given = dict(re.fullmatch(r"#SBATCH --([\w-]+)=(\S+)", line).groups() for line in settings)
    assert given.keys() == SBATCH.keys()
    for name, value in given.items():
        assert re.fullmatch(SBATCH[name], value), name
    # SLURM reads no settings after the first command, and signals the process that `exec` has replaced.
    command = script.read_text().split(settings[-1])[1]
    execute, nas, *words = shlex.split(command.replace("\\\n", " "))
    assert (execute, nas) == ("exec", "nas")
    check_worker(parsed(words))


def test_the_job_of_kubernetes():
    (job,) = yaml.safe_load_all(block("yaml"))

    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", spec["parallelism"])
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["command"] == ["nas"]
    check_worker(parsed(container["args"]))
    (secret,) = [one for one in container["env"] if one["name"] == "PGPASSWORD"]
    reference = secret["valueFrom"]["secretKeyRef"]
    made = re.search(r"kubectl create secret generic (\S+) --from-literal=(\w+)=", PAGE)
    assert made is not None
    assert (reference["name"], reference["key"]) == made.groups()
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_each_command_of_the_page_is_one_of_the_command_line():
    lines = PAGE.replace("\\\n", " ")
    words = [shlex.split(line) for line in re.findall(r"\bnas ((?:search|rescore|front) [^\n>`]*--[^\n>`]*)", lines)]
    assert len(words) >= 5
    for one in words:
        assert parsed(one)["study"] == "first", one
