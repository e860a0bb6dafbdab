"""Autoencoders and text encoders of other libraries: loaded whole, in any form they are saved in, or refused."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nas.errors import NasError
from nas.models import build_module, make_codec, make_text_encoder
from nas.space import SearchSpace
from nas.space.text_layouts import _CLIP_DEFAULTS
from tests.frozen import save_autoencoder, save_clip
from tests.space.spaces import tiny

transformers = pytest.importorskip("transformers")

PARTS = {
    "codec": {"kind": "autoencoder", "path": "vae", "latent_channels": 4, "spatial_factor": 2},
    "text": {"kind": "clip", "path": "clip", "tokens": 6, "width": 16},
}
FOLDERS = {"codec": "vae", "text": "clip/text_encoder"}
FILES = {"codec": "diffusion_pytorch_model.safetensors", "text": "model.safetensors"}
WEIGHTS = {"codec": "decoder.conv_in.bias", "text": "encoder.layers.0.mlp.fc1.bias"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("saved")
    save_autoencoder(root / "vae")
    save_clip(root)
    return root


@pytest.fixture
def root(saved: Path, tmp_path: Path) -> Path:
    """A copy of both folders to change."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def _space(root: Path, part: str) -> SearchSpace:
    return SearchSpace.from_dict(tiny(**{part: PARTS[part]}), where=root / "space.yaml")


def _outputs(root: Path, part: str) -> torch.Tensor:
    """What the part makes of a fixed input, by way of its space."""
    space = _space(root, part)
    if part == "text":
        return make_text_encoder(space).encode(["a red cat"])
    return make_codec(space).decode(torch.linspace(-1, 1, 4 * 3 * 4 * 8).reshape(1, 3, 4, 4, 8))


def _refused(root: Path, part: str) -> str:
    with pytest.raises(NasError) as caught:
        _outputs(root, part)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _edit(root: Path, part: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    file = root / FOLDERS[part] / FILES[part]
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return file


@pytest.mark.parametrize("part", PARTS)
def test_the_libraries_show_no_bars_of_their_own(root: Path, part: str, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    _outputs(root, part)
    assert capfd.readouterr().err == ""
    assert transformers.utils.logging.is_progress_bar_enabled()


@pytest.mark.parametrize("part", PARTS)
def test_a_weight_that_the_file_lacks_is_an_error_and_no_random_number(root: Path, part: str) -> None:
    file = _edit(root, part, lambda all_: {name: each for name, each in all_.items() if name != WEIGHTS[part]})
    assert _refused(root, part).startswith(f"{file}: lacks {WEIGHTS[part]}; it does not belong to the config.json")


@pytest.mark.parametrize("part", PARTS)
def test_weights_of_another_model_and_broken_ones_are_refused(root: Path, part: str) -> None:
    file = _edit(root, part, lambda all_: all_ | {"of.another": torch.ones(2)})
    assert _refused(root, part).startswith(f"{file}: has an unknown weight of.another")
    broken = {WEIGHTS[part]: torch.full_like(load_file(file)[WEIGHTS[part]], float("nan"))}
    _edit(root, part, lambda all_: {name: each for name, each in (all_ | broken).items() if name != "of.another"})
    assert _refused(root, part).startswith(f"{file}: has NaN or infinity in ")


def test_the_text_model_is_read_from_a_checkpoint_of_the_whole_of_clip(root: Path) -> None:
    expected = _outputs(root, "text")
    _edit(root, "text", lambda all_: all_ | {"vision_model.post_layernorm.bias": torch.ones(2)})
    assert torch.equal(_outputs(root, "text"), expected)


SAVED: dict[str, dict[str, Any]] = {
    "shards": {"max_shard_size": "5KB"},
    "fp16": {"variant": "fp16"},
    "bf16 shards": {"variant": "bf16", "max_shard_size": "5KB"},
}


@pytest.mark.parametrize("way", [*SAVED, "pickle"])
@pytest.mark.parametrize("part", PARTS)
def test_shards_variants_and_pickles_are_read(root: Path, part: str, way: str) -> None:
    expected = _outputs(root, part)
    folder = root / FOLDERS[part]
    if way == "pickle":
        name = "diffusion_pytorch_model.bin" if part == "codec" else "pytorch_model.bin"
        torch.save(load_file(folder / FILES[part]), folder / name)
    elif part == "codec":
        save_autoencoder(folder).half().float().save_pretrained(folder, **SAVED[way])
    else:
        transformers.CLIPTextModel.from_pretrained(folder).half().float().save_pretrained(folder, **SAVED[way])
    (folder / FILES[part]).unlink()
    made = _outputs(root, part)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, rtol=1e-2, atol=1e-2)


def test_a_text_model_saved_in_half_precision_computes_in_single(root: Path) -> None:
    expected = _outputs(root, "text")
    folder = root / FOLDERS["text"]
    transformers.CLIPTextModel.from_pretrained(folder).half().save_pretrained(folder)
    made = _outputs(root, "text")
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, rtol=1e-2, atol=1e-2)


def test_a_config_of_clip_that_leaves_fields_out_means_what_transformers_means(root: Path) -> None:
    defaults = transformers.CLIPTextConfig()
    assert {name: getattr(defaults, name) for name in _CLIP_DEFAULTS} == _CLIP_DEFAULTS
    file = root / FOLDERS["text"] / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in config.items() if name != "hidden_size"}))
    assert "hidden_size is 512, text.width 16" in _refused(root, "text")


def test_a_tokenizer_of_another_model_is_refused(root: Path) -> None:
    file = root / FOLDERS["text"] / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"vocab_size": 50}))
    _edit(root, "text", lambda all_: all_ | {"embeddings.token_embedding.weight": torch.ones(50, 16)})
    assert "its tokenizer knows 54 words, and its text model 50" in _refused(root, "text")


ODD = [None, True, -1, 0, 3, 1e300, float("nan"), "x", "", [], [1], [[1, 2]], {}, {"a": 1}]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("part", PARTS)
def test_a_config_of_wrong_types_is_refused_in_a_line_or_loads(root: Path, part: str, data: st.DataObject) -> None:
    file = root / FOLDERS[part] / "config.json"
    whole = file.read_text()
    config = json.loads(whole)
    name = data.draw(st.sampled_from(sorted(config)))
    try:
        file.write_text(json.dumps(config | {name: data.draw(st.sampled_from(ODD))}))
        with contextlib.suppress(NasError):
            space = _space(root, part)
            for block in space.lower_pipeline(space.smallest()).blocks:
                if block.kind in {"decode_autoencoder", "text_clip"}:
                    build_module(block)
            _outputs(root, part)
    finally:
        file.write_text(whole)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"{", b'{"weight_map": 3}', b"\xff" * 9])
def test_damaged_files_are_refused_in_a_line(root: Path, part: str, content: bytes) -> None:
    folder = root / FOLDERS[part]
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        file.write_bytes(content)
        _refused(root, part)
        file.write_bytes(whole)
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"):
        if part == "text" and (file := root / "clip" / "tokenizer" / name).is_file():
            whole = file.read_bytes()
            file.write_bytes(content)
            with contextlib.suppress(NasError):
                _outputs(root, part)
            file.write_bytes(whole)
