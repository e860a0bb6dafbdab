"""`examples/train_tiny_autoencoder.py`: what it saves is the codec of a search space, and it learns."""

from __future__ import annotations

import importlib.util
import json
import re
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from nas.models import make_codec
from nas.space import SearchSpace
from tests.space.spaces import tiny

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_tiny_autoencoder.py"
CODEC = {"kind": "autoencoder", "path": "vae", "latent_channels": 8, "spatial_factor": 8, "temporal_factor": 4}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_tiny_autoencoder", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SHAPE", module.ClipShape(8, 16, 16, 8))
    monkeypatch.setattr(module, "HELD_OUT", 4)
    return module


def _train(example: ModuleType, root: Path, teacher: Path | None = None, steps: int = 30) -> None:
    example.main(Namespace(out=root / "vae", steps=steps, videos=None, teacher=teacher))


def _space(root: Path) -> SearchSpace:
    return SearchSpace.from_dict(tiny(codec=CODEC, video=_video()), where=root / "space.yaml")


def _video() -> dict[str, int]:
    return {"frames": 8, "height": 16, "width": 16, "fps": 8}


@pytest.mark.slow
def test_the_folder_is_a_codec_with_latents_of_unit_scale(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(example, tmp_path)
    printed = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < 0.2, "all black or grey clips have 0.3 and more"
    assert re.search(r"^4 held-out clips, PSNR: \d+\.\d dB$", printed, re.MULTILINE)
    pixels = example.read(example.MovingShapes(example.SHAPE, 128), range(128))
    latent = make_codec(_space(tmp_path)).encode(pixels)
    assert latent.shape[1:] == (2, 8, 2, 2)
    torch.testing.assert_close(latent.mean((0, 1, 3, 4)), torch.zeros(8), rtol=0, atol=0.01)
    torch.testing.assert_close(latent.std((0, 1, 3, 4)), torch.ones(8), rtol=0, atol=0.01)


@pytest.mark.slow
def test_a_student_learns_the_latents_of_its_teacher(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(example, tmp_path, steps=1)
    capsys.readouterr()
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(tiny(codec=CODEC, video=_video())))
    _train(example, tmp_path / "student", tmp_path / "teacher.yaml")
    printed = capsys.readouterr().out
    assert re.search(r"^the teacher's latents: \S+ dB, decoded by itself \S+ dB$", printed, re.MULTILINE)
    (tmp_path / "student" / "space.yaml").write_text(yaml.safe_dump(tiny(codec=CODEC, video=_video())))
    student = make_codec(SearchSpace.load(tmp_path / "student" / "space.yaml"))
    pixels = example.read(example.MovingShapes(example.SHAPE, 40), range(36, 40))
    taught = make_codec(_space(tmp_path)).encode(pixels)
    assert (student.encode(pixels) - taught).square().mean() < 0.5 * taught.square().mean()
    assert json.loads((tmp_path / "student" / "vae" / "config.json").read_text())["latents_mean"] is None
