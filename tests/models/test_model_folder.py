"""A model's folder in which something is changed or damaged: it loads, or it is refused in one line."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nas.errors import NasError
from nas.models import Generation, VideoModel
from tests.space.spaces import tiny_space

FILES = ["config.yaml", "architecture.yaml", "space.yaml", "unet.safetensors", "text_encoder.safetensors"]

ODD: list[Any] = [None, True, -1, 0, 0.5, 7, float("nan"), float("inf"), "x", "", [], [1], [[]], {}, {"a": 1}, {1: 2}]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    torch.manual_seed(0)
    space = tiny_space()
    VideoModel.build(space, space.covering()[1], Generation(steps=1, guidance_scale=1.0)).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def _use(folder: Path) -> None:
    VideoModel.load(folder).generate(["red"])


def _refused(folder: Path, file: str) -> str:
    with pytest.raises(NasError) as caught:
        _use(folder)
    assert file in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"\xff\xfe", b"{", b"[1, 2]", b"a: &a [*a]", b"- " * 3000])
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_something_else_is_refused_by_name(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    if (file, content) == ("config.yaml", b"{}"):
        return
    _refused(folder, file)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_a_folder_or_missing_is_refused_by_name(folder: Path, file: str) -> None:
    (folder / file).unlink()
    _refused(folder, file)
    (folder / file).mkdir()
    _refused(folder, file)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_key_of_its_yaml_files_may_hold_anything(folder: Path, data: st.DataObject) -> None:
    file = folder / data.draw(st.sampled_from(FILES[:3]))
    whole = file.read_text()
    value = yaml.safe_load(whole)
    place = value
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner and data.draw(st.booleans())):
            break
        place = inner
    place[key] = data.draw(st.sampled_from(ODD))
    file.write_text(yaml.safe_dump(value))
    try:
        with contextlib.suppress(NasError):
            _use(folder)
    finally:
        file.write_text(whole)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999), byte=st.integers(0, 255), cut=st.booleans(), file=st.sampled_from(FILES[3:]))
def test_weights_that_are_cut_or_changed_in_a_byte(folder: Path, share: float, byte: int, cut: bool, file: str) -> None:
    path = folder / file
    whole = path.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    place = int(share * (len(whole) if cut else head))
    path.write_bytes(whole[:place] if cut else whole[:place] + bytes([byte]) + whole[place + 1 :])
    try:
        with contextlib.suppress(NasError):
            _use(folder)
            assert not cut
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        ("conv_in.bias", torch.ones(16, dtype=torch.int64), "has numbers of the wrong kind for conv_in.bias"),
        ("conv_in.bias", torch.ones(16, dtype=torch.bool), "has numbers of the wrong kind for conv_in.bias"),
        ("conv_in.bias", torch.ones(17), "has the wrong shape for conv_in.bias"),
        ("conv_in.bias", torch.full((16,), float("inf")), "has NaN or infinity in conv_in.bias"),
        ("extra", torch.ones(2), "has an unknown weight extra"),
    ],
)
def test_weights_of_other_kinds_are_refused_by_name(
    folder: Path, name: str, weight: torch.Tensor, message: str
) -> None:
    file = folder / "unet.safetensors"
    save_file(load_file(file) | {name: weight}, file)
    assert message in _refused(folder, "unet.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_another_precision_load_as_single(folder: Path, dtype: torch.dtype) -> None:
    file = folder / "unet.safetensors"
    save_file({name: weight.to(dtype) for name, weight in load_file(file).items()}, file)
    model = VideoModel.load(folder)
    assert {weight.dtype for weight in model.unet.parameters()} == {torch.float32}
