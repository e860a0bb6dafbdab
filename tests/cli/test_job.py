"""The commands of the README, one after the other, on a space that trains in seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from nas.cli import main
from tests.tiny import TINY

pytestmark = pytest.mark.slow


def test_the_commands_of_the_readme_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(yaml.safe_dump(TINY))
    Path("training.yaml").write_text(yaml.safe_dump({"steps": 3, "batch_size": 2, "image_batch_size": 2}))

    def nas(line: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", *line.split()])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        assert not end.value.code, captured.err
        return captured.out

    assert json.loads(nas("space show space.yaml --json"))["architectures"] == 6
    nas("profile space.yaml --runtime torch --table table.csv --rounds 2 --max-seconds 0 --min-seconds 0")
    assert "measured" in nas("latency predict space.yaml --table table.csv")
    nas("latency check space.yaml --table table.csv --networks 2")
    data = "--data moving_shapes --config training.yaml"
    nas(f"train space.yaml {data} --out supernet")
    nas(
        "search space.yaml --table table.csv --supernet supernet --data moving_shapes "
        "--study one --storage study.db --evaluations 4 --batches 1"
    )
    front = json.loads(nas("front --study one --storage study.db --json"))
    members = front["front"] if isinstance(front, dict) else front
    assert members
    nas("plot --study one --storage study.db --out front.svg")
    nas("pick --study one --storage study.db --knee --out chosen.yaml")
    nas(f"train space.yaml {data} --architecture chosen.yaml --supernet supernet --out teacher")
    nas(
        "distill space.yaml --data moving_shapes --model teacher/model --out distilled "
        "--steps 2 --teacher-substeps 1 --train-steps 2 --batch-size 2 --adversarial"
    )
    nas("compare distilled/model --teacher teacher/model --prompt something --out sheet.png")
    nas("generate distilled/model --prompt something --out clip.mp4")
    nas("export distilled/model --out bundle --formats safetensors,onnx")
    for name in ("front.svg", "clip.mp4", "clip.gif", "bundle/onnx/unet.onnx", "bundle/manifest.json", "sheet.png"):
        assert Path(name).stat().st_size > 0, name
    nas("generate bundle --prompt something --out again.mp4")
    nas("data sample space.yaml --data moving_shapes --out clips --count 1")
    assert Path("clips/00.mp4").is_file()
