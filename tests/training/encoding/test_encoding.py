"""Clips that were encoded beforehand are what they would be if they were encoded on the fly."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import AutoencoderKLHunyuanVideo

from nas.cli._data import open_clips
from nas.data import ClipShape, DataSplit, LatentsConfig, MovingShapesConfig, open_data
from nas.errors import DataError, NasError
from nas.files import read_json, write_json
from nas.models import Generation, VideoModel, autoencoders
from nas.models.parts import unloaded_codec
from nas.models.text.clip import ClipTextEncoder
from nas.models.weights import load_safetensors
from nas.space import SearchSpace
from nas.training import (
    DistillationConfig,
    EncodingRequest,
    EncodingSettings,
    LoopConfig,
    SuperNetConfig,
    distill,
    encode_clips,
    held_out_quality,
    train_model,
    train_supernet,
)
from tests.frozen import frozen_space
from tests.processes import finish, start_nas
from tests.tiny import TINY

SHAPE = ClipShape(4, 16, 16, 8)
SHAPES = MovingShapesConfig(kind="moving_shapes", clips=20)
SETTINGS = SuperNetConfig(steps=6, batch_size=3, image_batch_size=2, checkpoint_every=5, caption_dropout=0.3, seed=3)


def _request(space: Path, folder: Path, **settings: Any) -> EncodingRequest:
    given = {"dtype": "float32", "shard_bytes": 20_000} | settings
    return EncodingRequest(space, SHAPES, Path(), folder, EncodingSettings(**given))


def _open(folder: Path) -> DataSplit:
    return open_data(LatentsConfig(kind="latents", path=str(folder)), SHAPE, base="elsewhere")


def _losses(run: Path) -> list[list[str]]:
    with (run / "metrics.csv").open() as file:
        return [row[:-1] for row in csv.reader(file)]  # but for the seconds


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_safetensors(run / "supernet" / "supernet.safetensors")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    return frozen_space(tmp_path)


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("encoded again")


@pytest.mark.parametrize("kind", ["tiny", "frozen"])
def test_training_from_latents_is_training_on_the_fly_bit_for_bit(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request.getfixturevalue(kind)
    space = SearchSpace.load(path)
    index = encode_clips(_request(path, tmp_path / "latents"))
    assert len(index.digests) > 3
    train_supernet(space, open_data(SHAPES, SHAPE, base="").train, SETTINGS, tmp_path / "clips")
    # From here on neither an autoencoder nor a frozen text encoder is at work.
    monkeypatch.setattr(autoencoders, "load_autoencoder", _refuse)
    monkeypatch.setattr(ClipTextEncoder, "forward", _refuse)
    monkeypatch.setattr(ClipTextEncoder, "__init__", _refuse)
    train_supernet(space, _open(tmp_path / "latents").train, SETTINGS, tmp_path / "stored")
    assert _losses(tmp_path / "stored") == _losses(tmp_path / "clips")
    clips, stored = _weights(tmp_path / "clips"), _weights(tmp_path / "stored")
    assert all(torch.equal(stored[name], clips[name]) for name in clips)


def test_clips_of_which_several_frames_become_one_are_stored_and_no_single_frames_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(16,) * 4, norm_num_groups=4, layers_per_block=1
    ).save_pretrained(tmp_path / "vae")
    codec = {"kind": "autoencoder", "path": "vae", "latent_channels": 4, "spatial_factor": 8, "temporal_factor": 4}
    video = TINY["video"] | {"frames": 5, "height": 32, "width": 32}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY | {"codec": codec, "video": video}))
    space = SearchSpace.load(tmp_path / "space.yaml")
    shape = ClipShape(5, 32, 32, space.file.video.fps)
    encode_clips(_request(tmp_path / "space.yaml", tmp_path / "latents"))
    config = LatentsConfig(kind="latents", path=str(tmp_path / "latents"))
    (stored,) = open_data(config, shape, base="").train.latents(unloaded_codec(space))
    (fresh,) = open_data(SHAPES, shape, base="").train.latents(unloaded_codec(space))
    assert tuple(stored.videos([1, 0]).shape[1:]) == space.latent_shape == (2, 4, 4, 4)
    assert torch.equal(stored.videos([1, 0]), fresh.videos([1, 0]))
    with pytest.raises(DataError, match=r"5 frames were encoded to 2, so single frames cannot be read; set image_bat"):
        stored.images([0], torch.tensor([1]))


def test_half_precision_is_near_and_half_the_size(frozen: Path, tmp_path: Path) -> None:
    space, sizes, videos = SearchSpace.load(frozen), {}, {}
    for dtype in ("float32", "float16", "bfloat16"):
        encode_clips(_request(frozen, tmp_path / dtype, dtype=dtype, shard_bytes=2**20))
        sizes[dtype] = (tmp_path / dtype / "latents-00-00000.safetensors").stat().st_size
        videos[dtype] = _open(tmp_path / dtype).train.latents(unloaded_codec(space))[0].videos(range(10))
    assert sizes["float16"] == sizes["bfloat16"] < 0.51 * sizes["float32"]
    assert all(video.dtype == torch.float32 for video in videos.values())
    largest = videos["float32"].abs().max()
    assert 0 < (videos["float16"] - videos["float32"]).abs().max() < largest / 2**11
    assert 0 < (videos["bfloat16"] - videos["float32"]).abs().max() < largest / 2**8


def test_distillation_and_search_read_latents(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = SearchSpace.load(frozen)
    encode_clips(_request(frozen, tmp_path / "latents"))
    pixels, stored = open_data(SHAPES, SHAPE, base=""), _open(tmp_path / "latents")
    train_model(space, space.smallest(), pixels.train, SETTINGS, tmp_path / "teacher")
    loop = LoopConfig(steps=2, batch_size=2, image_batch_size=0, checkpoint_every=2)
    found = {}
    for name, clips in (("clips", pixels), ("stored", stored)):
        if name == "stored":
            monkeypatch.setattr(autoencoders, "load_autoencoder", _refuse)
            monkeypatch.setattr(ClipTextEncoder, "forward", _refuse)
        teacher = VideoModel.load(tmp_path / "teacher" / "model")
        result = distill(teacher, clips.train, loop, DistillationConfig(steps=2, target="data"), tmp_path / name)
        found[name] = (result.final_loss, result.kept_step)
    assert found["stored"] == found["clips"]
    monkeypatch.undo()
    train_supernet(space, stored.train, SETTINGS, tmp_path / "supernet")
    scores = [
        held_out_quality(space, tmp_path / "supernet", clips).score(space.smallest()) for clips in (pixels, stored)
    ]
    assert scores[0] == scores[1]


def _command(space: Path, out: Path, *more: object) -> list[str]:
    (space.parent / "data.yaml").write_text("data: {kind: moving_shapes, clips: 600}\n")
    options = ("--data", space.parent / "data.yaml", "--out", out, "--shard-mib", 0.05, "--dtype", "float32")
    return ["data", "encode", str(space), *map(str, options), *map(str, more)]


def _shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_an_encoding_killed_again_and_again_goes_on(tiny: Path, tmp_path: Path) -> None:
    finish(start_nas(tmp_path, *_command(tiny, tmp_path / "whole")), tmp_path)
    folder, kept = tmp_path / "killed", {}
    for _ in range(3):
        before = set(folder.glob("*.safetensors"))
        process = start_nas(tmp_path, *_command(tiny, folder))
        deadline = time.monotonic() + 60
        while len(set(folder.glob("*.safetensors")) - before) < 3 and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        process.join()
        finished = {path.stem for path in folder.glob("latents-*.json")}
        assert all(path.stat().st_mtime_ns == kept[path.name] for path in folder.iterdir() if path.name in kept)
        kept = {f"{stem}.safetensors": (folder / f"{stem}.safetensors").stat().st_mtime_ns for stem in finished}
        assert 0 < len(kept) < len(_shards(tmp_path / "whole"))
        with pytest.raises(DataError, match=r"not all clips are encoded; run the same `nas data encode` again"):
            _open(folder)
    finish(start_nas(tmp_path, *_command(tiny, folder)), tmp_path)
    assert all((folder / name).stat().st_mtime_ns == when for name, when in kept.items())
    assert _shards(folder) == _shards(tmp_path / "whole")
    assert (folder / "index.json").read_bytes() == (tmp_path / "whole" / "index.json").read_bytes()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_two_machines_and_their_workers_share_the_work(tiny: Path, tmp_path: Path) -> None:
    finish(start_nas(tmp_path, *_command(tiny, tmp_path / "whole")), tmp_path)
    folder = tmp_path / "shared"
    other = start_nas(tmp_path, *_command(tiny, folder))
    while not folder.exists():
        time.sleep(0.01)
    data = MovingShapesConfig(kind="moving_shapes", clips=600)
    settings = EncodingSettings(dtype="float32", shard_bytes=int(0.05 * 2**20))
    encode_clips(EncodingRequest(tiny, data, Path(), folder, settings), workers=2)
    finish(other, tmp_path)
    assert _shards(folder) == _shards(tmp_path / "whole")
    assert (folder / "index.json").read_bytes() == (tmp_path / "whole" / "index.json").read_bytes()


def test_a_worker_says_in_one_line_what_is_wrong(frozen: Path, tmp_path: Path) -> None:
    weights = next((tmp_path / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    request = _request(frozen, tmp_path / "latents")
    with pytest.raises(NasError, match="vae: cannot be loaded"):
        encode_clips(request, workers=2)
    assert not (tmp_path / "latents" / "index.json").exists()


@pytest.fixture
def latents(tiny: Path, tmp_path: Path) -> Path:
    encode_clips(_request(tiny, tmp_path / "latents"))
    return tmp_path / "latents"


def _train(space: SearchSpace, folder: Path, out: Path) -> None:
    still = SuperNetConfig(steps=4, batch_size=8, image_batch_size=0)
    train_supernet(space, _open(folder).train, still, out)


def test_damage_is_noticed(latents: Path, tiny: Path, tmp_path: Path) -> None:
    space = SearchSpace.load(tiny)
    shard = latents / "latents-00-00001.safetensors"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"latents: encoded clips: shard latents-00-00001.* is damaged; delete"):
        _train(space, latents, tmp_path / "run")
    shard.unlink()
    with pytest.raises(DataError, match=r"shard latents-00-00001.safetensors is missing"):
        _open(latents)
    for text_, message in (
        ("{", "not JSON"), ("{}", "plan is missing"), ('{"plan": null}', "plan"), ('{"plan": []}', "plan"),
        ('{"plan": {"version": 9}}', "has version 9"),
    ):  # fmt: skip
        (latents / "index.json").write_text(text_)
        with pytest.raises(DataError, match=message):
            _open(latents)
    (latents / "index.json").unlink()
    (latents / "plan.json").unlink()
    with pytest.raises(DataError, match=r"no encoded clips: index.json is missing; make them with `nas data encode`"):
        _open(latents)


def test_an_index_names_no_file_outside_its_folder(latents: Path) -> None:
    index = read_json(latents / "index.json")
    index["digests"]["../x.safetensors"] = "0"
    write_json(latents / "index.json", index)
    with pytest.raises(DataError, match="does not list the shards of its manifest"):
        _open(latents)


def test_what_was_encoded_otherwise_is_refused(latents: Path, tiny: Path, frozen: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"latents: holds clips that were encoded with other.*: dtype, parts of plan.json"
    ):
        encode_clips(_request(tiny, latents, dtype="float16"))
    with pytest.raises(DataError, match=r"encoded with other settings: codec, parts, captions of plan.json"):
        encode_clips(_request(frozen, latents))
    other = dataclasses.replace(_request(tiny, latents), data=SHAPES.model_copy(update={"seed": 9}))
    with pytest.raises(DataError, match="other settings: data, parts of plan"):
        encode_clips(other)
    with pytest.raises(DataError, match=r"another codec: space_to_depth of factor 4, not autoencoder [0-9a-f]{16}"):
        _train(SearchSpace.load(frozen), latents, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match=r"was encoded with clips of .*frames=4.*, here it is .*frames=8"):
        open_data(LatentsConfig(kind="latents", path=str(latents)), ClipShape(8, 16, 16, 8), base="")
    with pytest.raises(DataError, match=r"a validation_fraction of 0.1, here it is 0.5; set validation_fraction: 0.1"):
        open_data(LatentsConfig(kind="latents", path="latents"), SHAPE, base=tmp_path, validation_fraction=0.5)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"full: holds something else already: thesis.txt"):
        encode_clips(_request(tiny, tmp_path / "full"))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_what_was_held_out_is_remembered(tiny: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump({"data": SHAPES.model_dump(), "validation_fraction": 0.3}))
    space = SearchSpace.load(tiny)
    encode = ("data", "encode", tiny, "--data", given, "--out")
    finish(start_nas(tmp_path, *encode, tmp_path / "latents"), tmp_path)
    stored, direct = (open_clips(str(file), space) for file in (tmp_path / "latents" / "data.yaml", given))
    assert (len(direct.train), len(direct.validation)) == (14, 6)
    assert stored.validation.names == direct.validation.names
    finish(start_nas(tmp_path, *encode, tmp_path / "half", "--validation-fraction", "0.5"), tmp_path)
    assert len(open_clips(str(tmp_path / "half" / "data.yaml"), space).validation) == 10


def test_another_autoencoder_or_text_encoder_at_the_same_place_is_noticed(frozen: Path, tmp_path: Path) -> None:
    space, folder = SearchSpace.load(frozen), tmp_path / "latents"
    encode_clips(_request(frozen, folder))
    for part, what in (("clip", "captions were encoded with CLIP"), ("vae", "another codec: autoencoder")):
        copy = shutil.copytree(tmp_path / part, tmp_path / f"{part}-copy")
        config = next((tmp_path / part).rglob("config.json"))
        config.write_text(json.dumps(read_json(config) | {"dropout": 0.5}))
        with pytest.raises(DataError, match=what):
            _train(space, folder, tmp_path / "run")
        shutil.rmtree(tmp_path / part)
        copy.rename(tmp_path / part)
    _train(space, folder, tmp_path / "run")


def test_a_side_that_was_not_encoded_says_so(tiny: Path, tmp_path: Path) -> None:
    space = SearchSpace.load(tiny)
    encode_clips(_request(tiny, tmp_path / "train", split="train"))
    data = _open(tmp_path / "train")
    assert (len(data.train), len(data.validation)) == (18, 0)
    train_supernet(space, data.train, SETTINGS, tmp_path / "run")
    with pytest.raises(DataError, match=r"train: holds no clips for validation; encode them .* --split all"):
        held_out_quality(space, tmp_path / "run", data)


def test_latents_of_a_learned_text_encoder_keep_captions_only(latents: Path) -> None:
    assert _open(latents).train.contexts is None
    assert not list(latents.glob("contexts-*"))
    assert set(_open(latents).train.captions) == set(open_data(SHAPES, SHAPE, base="").train.captions)


def test_prompts_that_were_not_encoded_are_named(frozen: Path, tmp_path: Path) -> None:
    encode_clips(_request(frozen, tmp_path / "latents"))
    contexts = _open(tmp_path / "latents").train.contexts
    assert contexts is not None
    with pytest.raises(DataError, match="caption 'a cat' was not encoded"):
        contexts.read(["", "a cat"])
    assert contexts.read([]).shape == (0, 8, 16)
    model = VideoModel.build(SearchSpace.load(frozen), SearchSpace.load(frozen).smallest(), Generation())
    assert torch.equal(contexts.read([""])[0], model.text_encoder.encode([""])[0])
