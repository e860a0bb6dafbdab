"""How captions become token numbers, told so that a program can do it without this project.

The models here are part of a bundle's manifest. `tokenize` does what they say, from the files of the bundle alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from nas.errors import CheckpointError, ConfigError
from nas.files import StrictModel, write_text
from nas.models.text.words import PAD, RESERVED, START, token_numbers, words

if TYPE_CHECKING:
    from nas.models import TextEncoder
    from nas.models.text.frozen import FrozenTextEncoder

FOLDER = "tokenizer"

_EXAMPLES = ("a dog runs along a beach", "Two birds, 3 clouds!", "Ein Hündchen läuft: 小狗在跑 🐕", "")
"""Captions whose tokens a manifest shows: upper case, punctuation, digits, accents, other scripts, emoji, nothing."""


class Example(StrictModel):
    """A caption and its tokens, to test a tokenizer of your own with.

    Args:
        caption: The caption.
        tokens: Its numbers, cut or padded to the length.
    """

    caption: str
    tokens: tuple[NonNegativeInt, ...]


class HashedWords(StrictModel):
    """The tokenizer of the small learned text encoder. There is no vocabulary file: words are hashed.

    A caption is converted to Unicode's normal form C and to lower case, and split into words: runs of letters and
    digits with their marks, and single symbols outside ASCII. The number of a word is
    `first_word + crc32(UTF-8 text of the word) % buckets`. The start token comes first, padding last.

    Args:
        kind: Names this rule.
        length: Numbers of a caption, start and padding included.
        start: Number of the start token.
        pad: Number of padding.
        first_word: The lowest number of a word.
        buckets: How many numbers words are hashed into.
        examples: Captions with their tokens.
    """

    kind: Literal["hashed_words"] = "hashed_words"
    length: PositiveInt
    start: Literal[1] = START
    pad: Literal[0] = PAD
    first_word: Literal[2] = RESERVED
    buckets: PositiveInt
    examples: tuple[Example, ...] = ()

    @property
    def most(self) -> int:
        """Words of a caption at most; the start takes a place."""
        return self.length - 1


class ClipTokens(StrictModel):
    """CLIP's tokenizer: byte-pair encoding of lower-case text.

    Args:
        kind: Names this rule.
        length: Numbers of a caption, start, end and padding included.
        start: Number of the start token.
        end: Number of the end token.
        pad: Number of padding.
        vocabulary: File of the tokens and their numbers, JSON.
        merges: File of the pairs to merge, the first one first; its first line is a comment.
        examples: Captions with their tokens.
    """

    kind: Literal["clip"] = "clip"
    length: PositiveInt
    start: NonNegativeInt
    end: NonNegativeInt
    pad: NonNegativeInt
    vocabulary: str = f"{FOLDER}/vocab.json"
    merges: str = f"{FOLDER}/merges.txt"
    examples: tuple[Example, ...] = ()

    @property
    def most(self) -> int:
        """Tokens of a caption at most; start and end take a place each."""
        return self.length - 2


class TokenizerFile(StrictModel):
    """A tokenizer of Hugging Face's library `tokenizers`, in the file that it reads.

    Args:
        kind: Names this rule.
        length: Numbers of a caption, those that the file adds to every caption and padding included.
        special: How many numbers the file adds to every caption.
        pad: Number of padding.
        file: The file, JSON.
        examples: Captions with their tokens.
    """

    kind: Literal["tokenizer_file"] = "tokenizer_file"
    length: PositiveInt
    special: NonNegativeInt
    pad: NonNegativeInt
    file: str = f"{FOLDER}/tokenizer.json"
    examples: tuple[Example, ...] = ()

    @property
    def most(self) -> int:
        """Tokens of a caption at most."""
        return self.length - self.special


Rule = HashedWords | ClipTokens | TokenizerFile

Tokenizer = Annotated[Rule, Field(discriminator="kind")]


def describe_tokenizer(encoder: TextEncoder, root: Path) -> Rule:
    """The tokenizer of a text encoder; its files, if it has any, are written below `root`.

    Raises:
        ConfigError: It is an encoder of another kind.
    """
    from nas.models.text.clip import ClipTextEncoder
    from nas.models.text.learned import LearnedTextEncoder
    from nas.models.text.transformers import TransformersTextEncoder

    examples = tuple(
        Example(caption=caption, tokens=tuple(numbers))
        for caption, numbers in zip(_EXAMPLES, encoder.tokenize(_EXAMPLES).tolist(), strict=True)
    )
    if isinstance(encoder, LearnedTextEncoder):
        return HashedWords(length=encoder.tokens, buckets=encoder.vocabulary - RESERVED, examples=examples)
    if isinstance(encoder, TransformersTextEncoder):
        return _tokenizer_file(encoder, root, examples)
    if not isinstance(encoder, ClipTextEncoder):
        raise ConfigError(f"a bundle cannot describe the tokenizer of {type(encoder).__name__}")
    clip = encoder.tokenizer
    _write_vocabulary(clip, root / FOLDER)
    return ClipTokens(
        length=encoder.tokens,
        start=clip.bos_token_id,
        end=clip.eos_token_id,
        pad=clip.pad_token_id,
        examples=examples,
    )


def tokenize(tokenizer: Rule, caption: str, root: Path) -> NDArray[np.int64]:
    """Token numbers (1, L) of a caption.

    Args:
        tokenizer: What the manifest of a bundle says.
        caption: The caption.
        root: The bundle.

    Raises:
        ConfigError: The caption is too long, or the tokenizer needs a library that is not installed.
        CheckpointError: A file of the tokenizer is damaged.
    """
    if isinstance(tokenizer, HashedWords):
        _check_length(len(words(caption)), tokenizer.most, "words")
        vocabulary = tokenizer.buckets + tokenizer.first_word
        return np.array([token_numbers(caption, tokenizer.length, vocabulary)], np.int64)
    if isinstance(tokenizer, TokenizerFile):
        numbers = _file_numbers(tokenizer, caption, root)
        _check_length(len(numbers) - tokenizer.special, tokenizer.most, "tokens")
    else:
        numbers = _clip_numbers(tokenizer, caption, root)
        _check_length(len(numbers), tokenizer.most, "tokens")
        numbers = [tokenizer.start, *numbers, tokenizer.end]
    return np.array([numbers + [tokenizer.pad] * (tokenizer.length - len(numbers))], np.int64)


def _check_length(count: int, most: int, unit: str) -> None:
    if count > most:
        what = f"the prompt has {count} {unit}, the text encoder reads {most}"
        raise ConfigError(what, where="prompt", hint="make it shorter")


def _clip_numbers(tokenizer: ClipTokens, caption: str, root: Path) -> list[int]:
    from nas.models.foreign import foreign_errors, import_transformers

    vocabulary, merges = str(root / tokenizer.vocabulary), str(root / tokenizer.merges)
    with foreign_errors("holds no tokenizer of CLIP", CheckpointError, root / FOLDER):
        clip = import_transformers("the tokenizer of CLIP").CLIPTokenizer(vocabulary, merges)
        return list(clip(caption, add_special_tokens=False)["input_ids"])


def _file_numbers(tokenizer: TokenizerFile, caption: str, root: Path) -> list[int]:
    from nas.models.foreign import foreign_errors

    try:
        from tokenizers import Tokenizer as Library
    except ImportError as error:
        hint = "pip install tokenizers"
        raise ConfigError("the tokenizer of the bundle needs the library tokenizers", hint=hint) from error
    file = root / tokenizer.file
    with foreign_errors("holds no tokenizer", CheckpointError, file):
        return list(Library.from_file(str(file)).encode(caption).ids)


def _tokenizer_file(encoder: FrozenTextEncoder, root: Path, examples: tuple[Example, ...]) -> TokenizerFile:
    """Write `tokenizer.json`, without the padding and the limit of the last call, which the library would keep."""
    from tokenizers import Tokenizer as Library

    tokenizer = encoder.tokenizer
    library = Library.from_str(tokenizer.backend_tokenizer.to_str())
    library.no_padding()
    library.no_truncation()
    write_text(root / TokenizerFile.model_fields["file"].default, library.to_str())
    return TokenizerFile(
        length=encoder.tokens,
        special=tokenizer.num_special_tokens_to_add(),
        pad=tokenizer.pad_token_id,
        examples=examples,
    )


def _write_vocabulary(clip: Any, folder: Path) -> None:
    """Write `vocab.json` and `merges.txt`, which newer releases of transformers keep in one file."""
    if not hasattr(clip, "backend_tokenizer"):
        folder.mkdir()
        clip.save_vocabulary(str(folder))
        return
    model = json.loads(clip.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    write_text(folder / "vocab.json", json.dumps(model["vocab"], ensure_ascii=False))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]) + "\n")
