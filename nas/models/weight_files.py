"""Finding and reading the weights of a model that diffusers or transformers saved to a folder.

The order is: one safetensors file, its shards, then the same as a pickle (`.bin`); then the same files of each variant,
with `fp32`, `fp16` and `bf16` before other names. So full precision is preferred, as by the libraries' own loaders.
Pickles are read by torch with `weights_only`, which runs no code.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.errors import CheckpointError
from nas.files import inside, read_json
from nas.models.weights import load_safetensors

logger = logging.getLogger(__name__)

DIFFUSERS, TRANSFORMERS = ("diffusion_pytorch_model",), ("model", "pytorch_model")
"""Stems of the file names of the two libraries."""

_PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold one set of weights.

    Args:
        name: The weights themselves, or the index of their shards.
        shards: The files with tensors, in the order of their names.
        variant: The variant's name, for example `fp16`, or `None`.
    """

    name: Path
    shards: tuple[Path, ...]
    variant: str | None

    @property
    def safe(self) -> bool:
        """Whether all files are safetensors, not pickles."""
        return all(shard.suffix == ".safetensors" for shard in self.shards)

    def read(self) -> dict[str, torch.Tensor]:
        """All tensors, on the CPU.

        Raises:
            CheckpointError: A file is damaged or holds something else.
        """
        weights: dict[str, torch.Tensor] = {}
        for shard in self.shards:
            weights |= read_weights(shard)
        return weights


def find_weights(folder: str | Path, stems: tuple[str, ...] = DIFFUSERS) -> WeightFiles:
    """The first weights in a folder, in the order of this module.

    Args:
        folder: The folder that holds the files themselves.
        stems: What their file names begin with.

    Raises:
        CheckpointError: There are none, several variants of unknown names, or an index is damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise CheckpointError("no such file or folder" if not root.exists() else "is no folder", where=root)
    for variant in (None, *_variants(root, stems)):
        for name in _names(stems, variant):
            if (root / name).is_file():
                if variant is not None:
                    logger.info("%s: reading the variant %s", root, variant)
                return WeightFiles(root / name, _shards(root / name), variant)
    raise CheckpointError(
        "no such file", where=root / f"{stems[0]}.safetensors", hint="shards, variants and .bin are read, too"
    )


def _names(stems: tuple[str, ...], variant: str | None) -> Iterator[str]:
    """File names of one variant, in order."""
    safe, pickled = stems[0], stems[-1]
    part = "" if variant is None else f".{variant}"
    yield from (f"{safe}{part}.safetensors", f"{safe}.safetensors.index{part}.json")
    yield from (f"{pickled}{part}.bin", f"{pickled}.bin.index{part}.json")


def _variants(root: Path, stems: tuple[str, ...]) -> list[str]:
    """The variants in a folder, in the order of this module; at most one of an unknown name."""
    any_stem = "|".join(sorted({re.escape(stem) for stem in stems}))
    patterns = (
        rf"(?:{any_stem})\.(?P<variant>[^.]+)\.(?:safetensors|bin)",
        rf"(?:{any_stem})\.(?:safetensors|bin)\.index\.(?P<variant>[^.]+)\.json",
    )
    matches = [re.fullmatch(pattern, file.name) for file in root.iterdir() for pattern in patterns]
    variants = {match["variant"] for match in matches if match}
    known, others = [name for name in _PRECISIONS if name in variants], sorted(variants - {*_PRECISIONS})
    if not known and len(others) > 1:
        raise CheckpointError(
            f"holds weights in the variants {', '.join(others)}, and none without a variant",
            where=root,
            hint="leave one of them in the folder",
        )
    return [*known, *others]


def _shards(name: Path) -> tuple[Path, ...]:
    """The file itself, or the shards that an index names."""
    if name.suffix != ".json":
        return (name,)
    index = read_json(name, error=CheckpointError)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not (isinstance(places, dict) and places and all(isinstance(place, str) for place in places.values())):
        raise CheckpointError("is no index of shards: it has no weight_map", where=name)
    files = tuple(inside(name.parent, place) for place in sorted(set(places.values())))
    for file in files:
        if file.suffix not in {".safetensors", ".bin"}:
            raise CheckpointError(f"names {json.dumps(file.name)} as a shard, which is of no known kind", where=name)
        if not file.is_file():
            raise CheckpointError(f"no such file, which {name.name} names", where=file, hint="download it again")
    return files


def read_weights(file: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of one file, safetensors or what torch has saved, on the CPU.

    Raises:
        CheckpointError: It is damaged or holds something else.
    """
    return load_safetensors(file) if Path(file).suffix == ".safetensors" else _load_pickle(Path(file))


def _load_pickle(path: Path) -> dict[str, torch.Tensor]:
    """A state dict that torch saved, read without running code."""
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise CheckpointError(f"cannot be read as weights: {reason}", where=path, hint="save as safetensors") from error
    if not (isinstance(value, dict) and all(isinstance(item, torch.Tensor) for item in value.values())):
        raise CheckpointError("holds something else than weights by name", where=path, hint="save as safetensors")
    return value
