"""Training on clips of several sizes: what a step reads, and that every layer takes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

from nas.data import DataSplit, LatentsConfig, WebDatasetConfig
from nas.models import SuperNet, make_codec, make_text_encoder
from nas.space import SearchSpace, layer_kinds
from nas.training import (
    EncodingRequest,
    EncodingSettings,
    FlowTask,
    SuperNetConfig,
    TrainingConfig,
    encode_clips,
    held_out_quality,
    open_clips,
    train_supernet,
)
from nas.training.flow.batches import Batch, BatchSource
from tests.data.conftest import encode, numbered
from tests.data.test_tars import image, pack
from tests.tiny import TINY

BUCKETS = [{"frames": 4, "height": 16, "width": 16}, {"frames": 1, "height": 16, "width": 8},
           {"frames": 2, "height": 8, "width": 16}]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A space that has every temporal layer, and a tar of 12 native clips, 12 images and 4 wide clips."""
    slots = [{"stage": "down.1", "candidates": ["none", *sorted(layer_kinds())]}]
    (tmp_path / "space.yaml").write_text(
        yaml.safe_dump(TINY | {"codec": {"kind": "space_to_depth", "factor": 2}, "frame_embedding": True,
                               "backbone": TINY["backbone"] | {"block_out_channels": [16, 32]}, "slots": slots})
    )  # fmt: skip
    for number in range(3):
        files = {f"v{number}{each}.mp4": encode(numbered(24, 32, 32) + each, 24) for each in range(2)}
        files |= {f"i{number}{each}.png": image("png", 32, 16, 9 * each) for each in range(4)}
        files |= {f"w{number}.mp4": encode(numbered(9, 16, 32), 24)}
        pack(tmp_path / f"{number}.tar", files | {f"{name.split('.')[0]}.txt": name.encode() for name in files})
    return tmp_path


def _config(root: Path) -> WebDatasetConfig:
    return WebDatasetConfig(kind="webdataset", path=str(root), window=2, buckets=BUCKETS)  # type: ignore[arg-type]


def _open(root: Path, space: SearchSpace) -> DataSplit:
    return open_clips(_config(root), space, base="")


def _source(space: SearchSpace, data: DataSplit, rank: int = 0, count: int = 1, size: int = 2) -> BatchSource:
    sources = data.train.latents(make_codec(space))
    return BatchSource(sources, make_text_encoder(space), size // count, size // count, 0.0, 1, rank, count)


@pytest.mark.slow
def test_all_processes_read_one_size_in_a_step_and_share_its_clips(root: Path) -> None:
    space = SearchSpace.load(root / "space.yaml")
    data = _open(root, space)
    one, *parts = _source(space, data), *(_source(space, data, rank, 2) for rank in range(2))
    shapes: Counter[tuple[int, ...]] = Counter()
    drawn: list[float] = []
    for step in range(30):
        whole, halves = one(step), [part(step) for part in parts]
        shapes[tuple(whole.video_BTCHW.shape)] += 1
        joined = torch.stack([half.video_BTCHW for half in halves], dim=1).flatten(0, 1)
        assert torch.equal(joined, whole.video_BTCHW)
        noise, theirs = whole.video_keys.rng("noise").normal(), [
            half.video_keys.rng("noise").normal() for half in halves
        ]  # fmt: skip
        assert torch.equal(torch.stack(theirs, dim=1).flatten(), noise)
        drawn += noise.tolist()
    # Batches of smaller clips hold as many more as have the pixels of the native ones.
    assert len(set(drawn)) == len(drawn), "no clip is given the noise of another"
    assert set(shapes) == {(2, 4, 12, 8, 8), (16, 1, 12, 8, 4), (8, 2, 12, 4, 8)}


def test_a_clip_of_any_size_is_read_about_equally_often(root: Path) -> None:
    space = SearchSpace.load(root / "space.yaml")
    source = _source(space, _open(root, space))
    read: Counter[str] = Counter()
    for step in range(60):
        clips, indices, _ = source._drawn("video", 2, step)
        read.update(clips.names[index] for index in indices)
    means = {}
    for kind in "vi":
        counts = [count for name, count in read.items() if name.split("/")[1].startswith(kind)]
        means[kind] = sum(counts) / len(counts)
    assert 0.5 < means["v"] / means["i"] < 2


@pytest.mark.slow
@pytest.mark.parametrize("layer", sorted(layer_kinds()))
def test_every_layer_takes_every_size(root: Path, layer: str) -> None:
    space = SearchSpace.load(root / "space.yaml")
    data, supernet = _open(root, space), SuperNet(space)
    task = FlowTask(supernet.extract(space.architecture([layer])), make_text_encoder(space), TrainingConfig())
    source = _source(space, data)
    seen: dict[torch.Size, Batch] = {}
    for step in range(20):
        batch = source(step)
        seen.setdefault(batch.video_BTCHW.shape, batch)
    assert len(seen) == 3
    for batch in seen.values():
        assert torch.isfinite(task(batch, 0)["loss"])


def test_training_from_latents_of_several_sizes_is_training_on_the_fly(root: Path) -> None:
    space, settings = SearchSpace.load(root / "space.yaml"), EncodingSettings(dtype="float32", shard_bytes=20_000)
    encode_clips(EncodingRequest(root / "space.yaml", _config(root), Path(), root / "latents", settings))
    stored = open_clips(LatentsConfig(kind="latents", path=str(root / "latents")), space, base="")
    config = SuperNetConfig(steps=12, batch_size=2, image_batch_size=2, checkpoint_every=20)
    results = [train_supernet(space, clips.train, config, root / name)
               for name, clips in (("fly", _open(root, space)), ("stored", stored))]  # fmt: skip
    assert results[0].final_loss == results[1].final_loss
    rows = [[line.rpartition(",")[0] for line in (root / name / "metrics.csv").open()] for name in ("fly", "stored")]
    assert rows[0] == rows[1]
    held_out = [
        held_out_quality(space, root / "fly", clips).score(space.smallest()) for clips in (_open(root, space), stored)
    ]
    assert held_out[0] == held_out[1]
