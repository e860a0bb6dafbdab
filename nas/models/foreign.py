"""Models of other libraries, built and loaded strictly: their errors and warnings become one line.

Their loaders give a weight that is missing in the file a random value, with a warning. Here that is an error.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nas.errors import CheckpointError, ConfigError, NasError
from nas.models.weight_files import find_weights
from nas.models.weights import refuse_non_finite


@contextlib.contextmanager
def foreign_errors(what: str, error: type[NasError], where: str | Path | None = None) -> Iterator[None]:
    """Turn any exception of another library into one line.

    These libraries hardly check their configurations, so a value of a wrong type may raise any exception, anywhere
    inside them.

    Args:
        what: What could not be done.
        error: What to raise.
        where: The file or key to blame.
    """
    try:
        yield
    except (NasError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as problem:
        lines = str(problem).splitlines()
        raise error(f"{what}: {lines[0] if lines else type(problem).__name__}", where=where) from problem


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence the libraries: `load_foreign` says in one line what they warn of, and has no use for their bars."""
    with contextlib.ExitStack() as stack:
        for name in ("diffusers", "transformers"):
            logger, settings = logging.getLogger(name), sys.modules.get(f"{name}.utils.logging")
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
            if settings is not None and settings.is_progress_bar_enabled():
                stack.callback(settings.enable_progress_bar)
                settings.disable_progress_bar()
        yield


def load_foreign(
    kind: Any, folder: str | Path, stems: tuple[str, ...], *, spare: str = r"(?!)", **settings: Any
) -> Any:
    """Load a model that another library saved, in single precision, strictly.

    Args:
        kind: Its class, with `from_pretrained`.
        folder: The folder that holds its `config.json` and its weights.
        stems: As for `find_weights`.
        spare: Pattern of names of weights that the folder may hold and the model does not have.
        settings: Arguments of its class, beside the configuration.

    Raises:
        CheckpointError: The folder cannot be loaded; or a weight is missing, left over, of another shape or not finite.
    """
    files = find_weights(folder, stems)
    options = {"variant": files.variant, "use_safetensors": files.safe, **settings}
    with foreign_errors("cannot be loaded", CheckpointError, folder), _silent():
        model, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True, **options)
    left_over = {name for name in report["unexpected_keys"] if not re.match(spare, name)}
    for names, what in ((report["missing_keys"], "lacks"), (left_over, "has an unknown weight")):
        if names:
            first, more = sorted(names)[0], f" and {len(names) - 1} more" if len(names) > 1 else ""
            hint = f"it does not belong to the config.json in its folder, which describes {kind.__name__}"
            raise CheckpointError(f"{what} {first}{more}", where=files.name, hint=hint)
    refuse_non_finite(model, where=files.name)
    return model.float()


def load_tokenizer(kind: Any, folder: str | Path, what: str) -> Any:
    """Load a tokenizer that transformers saved.

    Args:
        kind: Its class, or `AutoTokenizer`.
        folder: The folder that holds its files.
        what: What it is, for the message.

    Raises:
        CheckpointError: The folder holds no such tokenizer; transformers itself makes one that knows no word.
    """
    with foreign_errors(f"holds no {what}", CheckpointError, folder):
        tokenizer = kind.from_pretrained(folder, local_files_only=True)
    files = ("tokenizer.json", *tokenizer.vocab_files_names.values())
    if not any((Path(folder) / name).is_file() for name in files):
        raise CheckpointError(f"holds no {what}", where=folder, hint=f"it needs {' or '.join(sorted(set(files)))}")
    return tokenizer


def import_transformers(what: str) -> Any:
    """The library transformers.

    Args:
        what: What needs it, for the message.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        hint = 'install the extra: pip install "nas-video[clip]"'
        raise ConfigError(f"{what} needs transformers", hint=hint) from error
    return transformers
