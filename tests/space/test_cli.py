from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from nas.cli.space import app
from nas.errors import ArchitectureError, ConfigError
from nas.models import VideoUNet
from nas.space import Architecture, SearchSpace, json_schema
from tests.space.spaces import QUICKSTART


def _nas_space(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_show_as_json() -> None:
    result = _nas_space("show", QUICKSTART, "--json")
    assert result.exit_code == 0
    shown, space = json.loads(result.stdout), SearchSpace.load(QUICKSTART)
    assert shown["architectures"] == space.count() == 6400
    assert shown["latent_shape"] == [8, 48, 8, 16]
    assert [slot["slot"] for slot in shown["slots"]] == [slot.id for slot in space.slots]
    assert [tuple(slot["candidates"]) for slot in shown["slots"]] == [slot.candidates for slot in space.slots]
    assert {stage["stage"]: stage["positions"] for stage in shown["stages"]}["up.1"] == 2
    for which, parameters in zip(("smallest", "largest"), shown["parameters"], strict=True):
        value = {key: shown[which][key] for key in ("space", "id", "layers")}
        network = VideoUNet(space.lower(space.check(Architecture.from_dict(value))))
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters == shown[which]["parameters"]
        assert shown[which]["macs"] > parameters
        assert shown[which]["peak_activation_bytes"] == network.plan.peak_activation_bytes()


def test_show_as_a_table() -> None:
    result = _nas_space("show", QUICKSTART)
    assert result.exit_code == 0
    for part in ("6,400", "8x48x8x16", "mid/0", "cross_attention_3d", "peak activations"):
        assert part in result.stdout


def test_validate_reports_each_file_and_fails_if_any_is_wrong(tmp_path: Path) -> None:
    bad, absent = tmp_path / "bad.yaml", tmp_path / "absent.yaml"
    bad.write_text("name: x\nvideo: 3\n")
    assert _nas_space("validate", QUICKSTART).exit_code == 0
    result = _nas_space("validate", bad, QUICKSTART, absent)
    assert result.exit_code == 2
    assert result.stdout == f"{QUICKSTART}: ok, 6,400 architectures\n"
    errors = result.stderr.splitlines()
    assert errors[0].startswith(f"error: {bad}: video: expected a mapping of keys; got 3")
    assert errors[1] == f"error: {absent}: no such file"
    assert len(errors) == 2


def test_sample_prints_different_architectures_the_same_for_the_same_seed() -> None:
    space = SearchSpace.load(QUICKSTART)
    result = _nas_space("sample", QUICKSTART, "--count", 7, "--seed", 1)
    drawn = [space.check(Architecture.from_dict(value)) for value in yaml.safe_load_all(result.stdout)]
    assert len(set(drawn)) == 7
    assert _nas_space("sample", QUICKSTART, "--count", 7, "--seed", 1).stdout == result.stdout
    assert _nas_space("sample", QUICKSTART, "--count", 7, "--seed", 2).stdout != result.stdout


def test_sample_writes_files_named_by_id(tmp_path: Path) -> None:
    result = _nas_space("sample", QUICKSTART, "--count", 3, "--out", tmp_path / "new")
    assert result.exit_code == 0
    space, files = SearchSpace.load(QUICKSTART), [Path(line) for line in result.stdout.splitlines()]
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert [space.load_architecture(file).id for file in files] == [file.stem for file in files]


def test_sample_of_more_than_there_are() -> None:
    result = _nas_space("sample", QUICKSTART, "--count", 6401)
    assert isinstance(result.exception, ArchitectureError)
    assert "6401 different architectures asked for, 6400 exist" in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("verb", ["show", "sample"])
def test_a_missing_file_is_a_mistake_of_the_user(verb: str, tmp_path: Path) -> None:
    result = _nas_space(verb, tmp_path / "absent.yaml")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == f"{tmp_path / 'absent.yaml'}: no such file"


def test_schema(tmp_path: Path) -> None:
    assert json.loads(_nas_space("schema").stdout) == json_schema()
    assert _nas_space("schema", "--out", tmp_path / "schema.json").exit_code == 0
    assert json.loads((tmp_path / "schema.json").read_text()) == json_schema()
