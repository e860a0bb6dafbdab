from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cli._data_file import data_file
from nas.data import (
    Clip,
    ClipDataset,
    ClipShape,
    DataConfig,
    MovingShapes,
    VideoDataset,
    WebDatasetConfig,
    open_data,
    split,
)
from nas.data.clips.dataset import source_file
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, parse

SHAPE = ClipShape(frames=8, height=12, width=16, fps=8)


class RunConfig(StrictModel):
    """A configuration with a `data` key, as the pipeline has it."""

    data: DataConfig


def config(**fields: Any) -> Any:
    return parse({"data": fields}, RunConfig, where="run.yaml").data


class Named(ClipDataset):
    """Clips of which only the names matter."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(SHAPE, names, names, "named")

    def __getitem__(self, index: int) -> Clip:
        raise NotImplementedError


def test_moving_shapes_are_opened_and_split() -> None:
    data = open_data(config(kind="moving_shapes", clips=50, seed=3), SHAPE, base="nowhere")
    assert (len(data.train), len(data.validation)) == (45, 5)
    assert set(data.train.names) | set(data.validation.names) == set(MovingShapes(SHAPE, 50, 3).names)
    assert data.train[0].video_TCHW.shape == SHAPE.size_TCHW


def test_a_relative_folder_starts_at_base(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    data = open_data(config(kind="videos", path="videos"), SHAPE, base=folder.parent, cache=cache)
    whole = VideoDataset.open(folder, SHAPE, cache=cache)
    assert sorted(data.train.names + data.validation.names) == sorted(whole.names)
    assert not {source_file(name) for name in data.train.names} & {source_file(name) for name in data.validation.names}
    absolute = open_data(config(kind="videos", path=str(folder)), SHAPE, base="elsewhere", cache=cache)
    assert absolute.validation.fingerprint == data.validation.fingerprint


def test_one_video_cannot_be_split(folder: Path) -> None:
    (folder / "one.csv").write_text("file,caption\na.mp4,x\n")
    with pytest.raises(DataError, match=r"videos: 1 usable video, training and validation need 2"):
        open_data(config(kind="videos", path=".", captions="one.csv"), SHAPE, base=folder)


@given(
    st.dictionaries(st.text("abcxyz.", min_size=1, max_size=6), st.integers(1, 4), min_size=2, max_size=40),
    st.floats(0.01, 0.99),
)
def test_split_is_a_partition_by_file(windows: dict[str, int], fraction: float) -> None:
    names = [f"{file}#{number}" for file, count in windows.items() for number in range(count)]
    data = split(Named(names), fraction)
    train, held_out = set(data.train.names), set(data.validation.names)
    assert train
    assert held_out
    assert not train & held_out
    assert train | held_out == set(names)
    files = {source_file(name) for name in held_out}
    assert not files & {source_file(name) for name in train}
    assert abs(len(files) - fraction * len(windows)) <= 1
    assert set(split(Named(names[::-1]), fraction).validation.names) == held_out


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2])
def test_impossible_fractions_are_named(fraction: float) -> None:
    with pytest.raises(DataError, match="validation_fraction must be between 0 and 1"):
        split(MovingShapes(SHAPE, 10), fraction)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "film", "path": "x"}, r"run\.yaml: data\.kind: .*videos, moving_shapes.*'film'"),
        ({"path": "x"}, r"run\.yaml: .*data\.kind is missing"),
        ({"kind": "videos"}, r"data\.path is missing"),
        ({"kind": "videos", "path": "x", "fps": 8}, r"unknown key data\.fps .*path, captions"),
        ({"kind": "moving_shapes", "clips": 1}, r"data\.clips.*at least 2.*got 1"),
        ({"kind": "moving_shapes", "path": "x"}, r"unknown key data\.path .*clips, seed"),
    ],
)
def test_faults_in_the_configuration_name_the_key(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**fields)


@pytest.mark.parametrize(("given", "why"), [("1", "less than 1"), ("0", "more than 0"), ("half", "number")])
def test_an_impossible_share_in_a_data_file_names_the_key(given: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(f"data: {{kind: moving_shapes}}\nvalidation_fraction: {given}\n")
    with pytest.raises(ConfigError, match=rf"data\.yaml: validation_fraction.*{why}"):
        data_file(str(path))


def test_tars_and_empty_text_on_the_command_line(tmp_path: Path) -> None:
    for text in ("a.tar", "*.tar", "x/{00..09}.TAR"):
        file, base = data_file(text)
        assert (file.data, base) == (WebDatasetConfig(kind="webdataset", path=text), Path())
    (tmp_path / "videos.tar").mkdir()  # a folder, whatever it is called
    assert data_file(str(tmp_path / "videos.tar"))[0].data.kind == "videos"
    with pytest.raises(ConfigError, match="--data: path: a path is empty"):
        data_file("")


@pytest.mark.parametrize("kind", ["videos", "webdataset", "latents"])
def test_paths_of_data_may_start_from_home(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=f"{tmp_path}/clips"):
        open_data(config(kind=kind, path="~/clips"), ClipShape(2, 8, 8, 8), base="/elsewhere")
    for path, message in (("", "path: a path is empty"), ("~nobody-at-all/x", "no home folder")):
        with pytest.raises(ConfigError, match=message):
            config(kind=kind, path=path)
