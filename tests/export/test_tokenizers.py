"""Tokenizers as a bundle describes them, and as the example reads them: the same numbers as in training."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import CheckpointError, ConfigError
from nas.export import Manifest, export_bundle
from nas.export.tokenizers import ClipTokens, HashedWords, TokenizerFile, describe_tokenizer, tokenize
from nas.models import Generation, VideoModel, make_text_encoder
from nas.models.text.clip import ClipContext, ClipTextEncoder
from nas.models.text.words import words
from nas.space import SearchSpace
from tests.frozen import frozen_space, save_sentence_encoder
from tests.tiny import TINY

EXAMPLE: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "examples" / "run_bundle.py")))

CAPTIONS = ["a red dog", "Two DOGS, 2 cats!", "crème brûlée", "小狗 🐕‍🦺 👍🏽 ☀️", ""]


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_the_example_reads_the_words_that_the_encoder_reads(caption: str) -> None:
    assert EXAMPLE.words(caption) == words(caption)


def test_hashed_words_have_the_numbers_of_the_encoder(tmp_path: Path) -> None:
    encoder = make_text_encoder(SearchSpace.from_dict(TINY))
    described = describe_tokenizer(encoder, tmp_path)
    assert isinstance(described, HashedWords)
    assert not list(tmp_path.iterdir())
    for caption, expected in zip(CAPTIONS, encoder.tokenize(CAPTIONS).tolist(), strict=True):
        assert tokenize(described, caption, tmp_path).tolist() == [expected]
        assert EXAMPLE.tokenize(caption, described.model_dump(), tmp_path).tolist() == [expected]
    shown = [example.caption for example in described.examples]
    assert [list(example.tokens) for example in described.examples] == encoder.tokenize(shown).tolist()


@pytest.fixture(scope="module")
def clip() -> ClipTextEncoder:
    """CLIP's tokenizer with a few merges; nothing is encoded here."""
    transformers = pytest.importorskip("transformers")
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in plain] + [chr(256 + place) for place in range(256 - len(plain))]
    merges = [("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>"), ("c", "a"), ("ca", "t"), ("cat", "s</w>")]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    numbers = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return ClipTextEncoder(transformers.CLIPTokenizer(numbers, merges), ClipContext(None), 48)


def test_clips_tokenizer_is_read_back_from_its_two_files(clip: ClipTextEncoder, tmp_path: Path) -> None:
    described = describe_tokenizer(clip, tmp_path)
    assert isinstance(described, ClipTokens)
    vocabulary = json.loads((tmp_path / "tokenizer" / "vocab.json").read_text())
    assert (tmp_path / "tokenizer" / "merges.txt").read_text().splitlines()[1:3] == ["d o", "do g</w>"]
    assert (described.start, described.end) == (vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"])
    for caption, expected in zip(CAPTIONS, clip.tokenize(CAPTIONS).tolist(), strict=True):
        assert tokenize(described, caption, tmp_path).tolist() == [expected], caption
        assert EXAMPLE.tokenize(caption, described.model_dump(), tmp_path).tolist() == [expected], caption
    assert vocabulary["dog</w>"] in clip.tokenize(["a red dog"])[0]


def test_a_prompt_that_is_too_long_for_clip(clip: ClipTextEncoder, tmp_path: Path) -> None:
    described = describe_tokenizer(clip, tmp_path)
    with pytest.raises(ConfigError, match=r"prompt: the prompt has 47 tokens, the text encoder reads 46"):
        tokenize(described, " ".join("a" * 47), tmp_path)
    assert len(tokenize(described, " ".join("a" * 46), tmp_path)[0]) == 48
    with pytest.raises(SystemExit, match="too long: 49 tokens"):
        EXAMPLE.tokenize(" ".join("a" * 47), described.model_dump(), tmp_path)


def test_any_other_tokenizer_is_one_file(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "bert")
    text = {"kind": "transformers", "path": str(tmp_path / "bert"), "tokens": 8, "width": 16}
    encoder = make_text_encoder(SearchSpace.from_dict(TINY | {"text": text}))
    described = describe_tokenizer(encoder, tmp_path / "bundle")
    assert isinstance(described, TokenizerFile)
    captions = ["a red ball moves left", "a zebra", "", "小狗 🐕"]
    for caption, expected in zip(captions, encoder.tokenize(captions).tolist(), strict=True):
        assert tokenize(described, caption, tmp_path / "bundle").tolist() == [expected]
        assert EXAMPLE.tokenize(caption, described.model_dump(), tmp_path / "bundle").tolist() == [expected]
    with pytest.raises(ConfigError, match=r"the prompt has 7 tokens, the text encoder reads 6"):
        tokenize(described, "a red ball moves left a red", tmp_path / "bundle")
    (tmp_path / "bundle" / described.file).write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: holds no tokenizer"):
        tokenize(described, "a", tmp_path / "bundle")


def test_weights_of_others_come_with_their_terms(tmp_path: Path) -> None:
    space = SearchSpace.load(frozen_space(tmp_path))
    (tmp_path / "clip" / "LICENSE.txt").write_text("the terms of CLIP")
    (tmp_path / "LICENSE").write_text("not in a folder of weights")
    model = VideoModel.build(space, space.smallest(), Generation(steps=1, guidance_scale=1))
    model.unet.eval()
    export_bundle(model, tmp_path / "bundle", ["safetensors"])
    manifest = Manifest.load(tmp_path / "bundle")
    licences = {licence.part: licence for licence in manifest.licences}
    assert licences["text_encoder"].files == ("licences/text_encoder/LICENSE.txt",)
    assert (tmp_path / "bundle" / "licences" / "text_encoder" / "LICENSE.txt").read_text() == "the terms of CLIP"
    assert "'vae': no licence file lay beside them" in licences["decoder"].note
    assert licences["unet"].files == licences["decoder"].files == ()
    assert {"tokenizer/vocab.json", "tokenizer/merges.txt"} <= manifest.files.keys()
    assert manifest.test_vector is None
