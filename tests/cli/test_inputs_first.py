"""What is missing or in another's place is said before any library is loaded that builds networks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SPACE, TABLE = "search_spaces/quickstart.yaml", "latency_tables/quickstart-amd_epyc-onnxruntime.csv"
SWAPPED = "are the two swapped?"
SHAPES = "--data moving_shapes"

# Relative to a folder with a search space, a table, and the files that `place` makes.
COMMANDS = {
    "run absent.yaml": "absent.yaml: no such file",
    "run space.yaml": "is a search space, not the file of a run",
    "run no_space.yaml": "spaec.yaml: no such file; `space` in no_space.yaml names it",
    "run no_videos.yaml": "absent: no such folder of videos",
    "run no_captions.yaml": "empty: the folder is empty",
    "run no_backbone.yaml": "absent: not a model folder: it does not exist",
    "run no_table.yaml": "absent.csv: no such latency table",
    "run run": "run: is a folder, where a file is needed",
    "space show absent.yaml": "absent.yaml: no such file",
    "space show table.csv": SWAPPED,
    "space show space.yaml --architecture absent.yaml": "absent.yaml: no such file",
    "profile table.csv --table space.yaml": SWAPPED,
    "latency fit table.csv --table space.yaml": SWAPPED,
    "latency fit space.yaml --table absent.csv": "no such latency table",
    "latency predict space.yaml --table space.yaml": SWAPPED,
    "train space.yaml --data absent --out new": "absent: no such folder of videos",
    "train space.yaml --data moving_shape --out new": "the procedural clips are `moving_shapes`",
    "train space.yaml --data no_videos.yaml --out new": "absent: no such folder of videos",
    f"train space.yaml {SHAPES} --config absent.yaml --out new": "absent.yaml: no such file",
    f"train space.yaml {SHAPES} --backbone run --out new": "name the model in it: run/distill/model",
    f"train run/distill/model {SHAPES} --out new": "name the search space in it: run/distill/model/space.yaml",
    f"distill space.yaml {SHAPES} --supernet empty --out new": "empty: holds no trained supernet",
    f"search space.yaml --table table.csv --study s --supernet run {SHAPES}": "name the training in it: run/train",
    "generate run --prompt x --out a.mp4": "name the model in it: run/distill/model",
    "compare run/distill/model --teacher absent --prompt x --out a.png": "absent: not a model folder",
    "score absent": "absent: not a model folder",
    "export absent --out new": "absent: not a model folder",
    "bundle show run/distill/model": "not a bundle: manifest.json is missing",
    "report absent --out a.html": "absent: no such run or study",
    "report empty --out a.html": "empty: is not the folder of a run",
    "attach empty --artifact-dir new": "empty: is not the folder of a run",
}

CODE = """
import json, sys
from typer.testing import CliRunner
from nas.cli import app
said = {}
for command in json.load(sys.stdin):
    result = CliRunner().invoke(app, command.split())
    said[command] = [str(result.exception), [name for name in ("torch", "diffusers", "optuna") if name in sys.modules]]
json.dump(said, sys.stdout)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[str]]]:
    """What each command says, and the libraries that were loaded by then; all in one process that has loaded none."""
    root = tmp_path_factory.mktemp("place")
    shutil.copy(SPACE, root / "space.yaml")
    for suffix in (".csv", ".json"):
        shutil.copy(Path(TABLE).with_suffix(suffix), root / f"table{suffix}")
    (root / "empty").mkdir()
    for name in ("distill/model/unet.safetensors", "train/supernet/supernet.safetensors"):
        (root / "run" / name).parent.mkdir(parents=True)
        (root / "run" / name).touch()
    shutil.copy(SPACE, root / "run" / "distill" / "model" / "space.yaml")
    runs = {
        "no_space": "space: spaec.yaml\ndata: {kind: moving_shapes}",
        "no_videos": "space: space.yaml\ndata: {kind: videos, path: absent}",
        "no_captions": "space: space.yaml\ndata: {kind: videos, path: empty}",
        "no_backbone": "space: space.yaml\ndata: {kind: moving_shapes}\nbackbone: {model: absent}",
        "no_table": "space: space.yaml\ndata: {kind: moving_shapes}\nsearch: {tables: [table.csv, absent.csv]}",
    }
    for name, text in runs.items():
        (root / f"{name}.yaml").write_text(f"out: new\n{text}\n")
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, input=json.dumps([*COMMANDS]), cwd=root, capture_output=True, text=True, check=True)
    assert not (root / "new").exists()
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("command", "part"), COMMANDS.items())
def test_a_missing_input_is_said_before_anything_is_loaded(
    said: dict[str, tuple[str, list[str]]], command: str, part: str
) -> None:
    message, loaded = said[command]
    assert part in message
    assert loaded == []
