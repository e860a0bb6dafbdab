from __future__ import annotations

import importlib.util
import re
import sys
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import CheckpointError, ConfigError
from nas.models import block_cost, build_module, make_text_encoder
from nas.models.text.learned import LearnedTextEncoder
from nas.models.text.words import words
from nas.space import Block, SearchSpace
from tests.frozen import save_clip
from tests.space.spaces import tiny, tiny_space

CAPTION = "A red circle, moving LEFT; slowly (über 3 px)"
TOKENS = [1, 25, 15, 39, 56, 20, 5, 12, 47, 11, 0, 0]  # CRC-32 of each word modulo 62, plus 2; worked out separately


def _encoder(tokens: int = 4) -> LearnedTextEncoder:
    torch.manual_seed(0)
    return LearnedTextEncoder(tokens, width=16, layers=1, heads=2, vocabulary=64).eval()


@given(st.lists(st.text(), min_size=1, max_size=4), st.integers(1, 12))
def test_any_caption_becomes_tokens_of_fixed_length(captions: list[str], tokens: int) -> None:
    numbers = _encoder(tokens).tokenize(captions)
    assert numbers.shape == (len(captions), tokens)
    assert numbers.dtype == torch.int64
    assert (numbers[:, 0] == 1).all()
    assert ((numbers >= 0) & (numbers < 64)).all()


def test_captions_are_padded_and_cut() -> None:
    empty, short, full, longer = _encoder(4).tokenize(["", "red", "red circle left", "red circle left slowly"]).tolist()
    assert empty == [1, 0, 0, 0]
    assert short[2:] == [0, 0]
    assert full == longer
    assert 0 not in full


def test_case_and_punctuation_do_not_matter_but_words_and_order_do() -> None:
    numbers = _encoder(8).tokenize(["red circle", "Red,  CIRCLE!", "circle red", "red square"]).tolist()
    assert numbers[0] == numbers[1]
    assert len({tuple(row) for row in numbers}) == 3


def test_captions_of_a_batch_do_not_see_each_other() -> None:
    encoder, captions = _encoder(6), ["red circle", "", CAPTION]
    together = encoder.encode(captions)
    assert together.shape == (3, 6, 16)
    for index, caption in enumerate(captions):
        torch.testing.assert_close(together[index], encoder.encode([caption])[0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_tokens_are_the_same_in_every_process_and_on_every_machine() -> None:
    assert _encoder(12).tokenize([CAPTION]).tolist() == [TOKENS]


ASCII = [
    ("a red-blue circle_3, 10% of $5 + {x}", [1, 25, 15, 32, 39, 47, 61, 10, 10, 13, 0, 0]),
    ("", [1] + [0] * 11),
    ("!?... ---", [1] + [0] * 11),
]


@pytest.mark.parametrize(("caption", "numbers"), ASCII)
def test_ascii_captions_keep_the_tokens_that_models_were_trained_with(caption: str, numbers: list[int]) -> None:
    words = [word for word in re.split("[^a-z0-9]", caption.lower()) if word]
    assert numbers == ([1, *(2 + zlib.crc32(word.encode()) % 62 for word in words)] + [0] * 12)[:12]
    assert _encoder(12).tokenize([caption]).tolist() == [numbers]


@given(st.text(st.characters(max_codepoint=127)))
def test_any_ascii_caption_is_split_as_it_was(caption: str) -> None:
    assert words(caption) == [word for word in re.split("[^a-z0-9]", caption.lower()) if word]


@given(st.text())
def test_all_spellings_of_a_text_are_the_same_words(caption: str) -> None:
    assert words(unicodedata.normalize("NFD", caption)) == words(unicodedata.normalize("NFC", caption))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Ein Über-Käfer", ["ein", "über", "käfer"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ශ්\u200dරී", ["ශ්\u200dරී"]),
        ("赤い円 が", ["赤い円", "が"]),
        ("I\u0307 \u0130", ["i\u0307", "i\u0307"]),
        ("\u2764\ufe0f a\u2764", ["\u2764", "a", "\u2764"]),
        ("\U0001f415\U0001f408", ["\U0001f415", "\U0001f408"]),
        ("\U0001f44b\U0001f3fd!", ["\U0001f44b\U0001f3fd"]),
        ("\U0001f469\u200d\U0001f680 flies", ["\U0001f469\u200d\U0001f680", "flies"]),
        ("5 \u20ac, 20\xb0", ["5", "\u20ac", "20", "\xb0"]),
        ("\u200d \u0301 \ud800 \u3002", []),
    ],
)
def test_words_of_any_script_and_symbols(caption: str, expected: list[str]) -> None:
    assert words(caption) == expected


def test_captions_of_symbols_alone_differ() -> None:
    rows = _encoder(6).tokenize(["", "\U0001f415", "\U0001f408", "\U0001f415\U0001f408"]).tolist()
    assert len({tuple(row) for row in rows}) == 4


def test_captions_that_are_cut_or_hold_nothing_are_counted_in_one_warning_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _encoder(4).warn_of_losses(["a b c", "a b c d", "a b c d e", "...", "", "\u3002"])
    assert [record.getMessage() for record in caplog.records] == [
        "text.tokens is too small for 2 of 6 captions: only the first 3 words or parts of words are read",
        "nothing can be read of 2 of 6 captions: they count as empty",
    ]
    caplog.clear()
    _encoder(4).warn_of_losses(["a b c", ""])
    assert not caplog.records


def test_encoder_of_a_space_is_the_block_of_its_plan() -> None:
    space = tiny_space()
    block = space.lower_pipeline(space.smallest()).text_encoder.blocks[0]
    module, encoder = build_module(block), make_text_encoder(space)
    assert encoder.trainable
    encoder.load_state_dict(module.state_dict())
    assert torch.equal(module(encoder.tokenize(["red"])), encoder.encode(["red"]))
    assert encoder.encode(["red"]).shape == block.output_shape == (1, *space.context_shape)


def test_gradients_reach_the_embedding() -> None:
    encoder = _encoder()
    encoder.encode(["red circle"]).square().mean().backward()
    assert encoder.embedding.weight.grad is not None
    assert encoder.embedding.weight.grad.abs().sum() > 0


def _clip_space(root: Path, **text: Any) -> SearchSpace:
    part = {"kind": "clip", "path": "clip", "tokens": 6, "width": 16} | text
    return SearchSpace.from_dict(tiny(text=part), where=root / "space.yaml")


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="transformers is installed")
def test_clip_without_transformers_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        make_text_encoder(_clip_space(tmp_path))
    assert str(caught.value) == 'text.kind clip needs transformers; install the extra: pip install "nas-video[clip]"'


def test_clip_without_transformers_by_a_blocked_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"text.kind clip needs transformers; install the extra"):
        make_text_encoder(_clip_space(tmp_path))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder with a small random CLIP text model and its tokenizer, as transformers saves them."""
    save_clip(tmp_path)
    return tmp_path


def test_clip_from_a_local_folder(clip: Path) -> None:
    encoder = make_text_encoder(_clip_space(clip))
    context = encoder.encode(["a b", "a much longer caption than fits"])
    assert context.shape == (2, 6, 16)
    assert not encoder.trainable
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    space = _clip_space(clip)
    block = space.lower_pipeline(space.smallest()).text_encoder.blocks[0]
    assert block_cost(block).parameters == sum(parameter.numel() for parameter in encoder.parameters())
    assert torch.equal(context, make_text_encoder(_clip_space(clip)).encode(["a b", "a much longer caption than fits"]))


def test_clip_says_which_captions_it_cuts(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_text_encoder(_clip_space(clip)).warn_of_losses(["a b", "abcdefgh", ""])
    assert [record.getMessage() for record in caplog.records] == [
        "text.tokens is too small for 1 of 3 captions: only the first 4 words or parts of words are read"
    ]


def test_clip_of_another_width(clip: Path) -> None:
    value = tiny(text={"kind": "clip", "path": "clip", "tokens": 6, "width": 32}, backbone={"cross_attention_dim": 32})
    with pytest.raises(ConfigError, match=r"text_encoder/config.json: hidden_size is 16, text.width 32"):
        make_text_encoder(SearchSpace.from_dict(value, where=clip / "space.yaml"))


def test_clip_from_a_folder_that_holds_none(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(CheckpointError, match=r"clip/config.json: no such file"):
        make_text_encoder(_clip_space(tmp_path))
    (tmp_path / "clip").mkdir()
    for text, message in (("[]", "is not the configuration of a CLIP"), ('{"model_type": "t5"}', "is not the config")):
        (tmp_path / "clip" / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            make_text_encoder(_clip_space(tmp_path))


def test_clip_whose_weights_are_damaged(clip: Path) -> None:
    file = clip / "clip" / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"clip/text_encoder: cannot be loaded"):
        make_text_encoder(_clip_space(clip))


SMALL = {
    "vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 8,
}  # fmt: skip


def test_clip_by_its_layout_is_the_same_block_without_weights(clip: Path) -> None:
    known, loaded = _clip_space(clip, path=None, layout=SMALL), _clip_space(clip)
    assert _text_block(known) == _text_block(loaded)
    module = build_module(_text_block(known)).eval()
    tokens = make_text_encoder(loaded).tokenize(["a b"])
    assert module(tokens).shape == (1, 6, 16)
    module.load_state_dict(make_text_encoder(loaded).context.state_dict())
    assert torch.equal(module(tokens), make_text_encoder(loaded)(tokens))
    with pytest.raises(ConfigError, match=r"text has a layout, and no weights; name the folder .* in text.path"):
        make_text_encoder(known)


def test_clip_of_another_layout_than_the_space_says(clip: Path) -> None:
    with pytest.raises(CheckpointError, match=r"clip: is another text encoder than the search space's text.layout"):
        make_text_encoder(_clip_space(clip, layout=SMALL | {"num_attention_heads": 4}))
    with pytest.raises(ConfigError, match=r"text.layout: max_position_embeddings is 5, text.tokens 6"):
        _text_block(_clip_space(clip, path=None, layout=SMALL | {"max_position_embeddings": 5}))
    with pytest.raises(ConfigError, match=r"needs a path, or a layout, or both"):
        _clip_space(clip, path=None)


def _text_block(space: SearchSpace) -> Block:
    return space.lower_pipeline(space.smallest()).text_encoder.blocks[0]
