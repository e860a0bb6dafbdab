"""Whose terms hold for the weights of a bundle, as far as the files beside them tell."""

from __future__ import annotations

import shutil
from pathlib import Path

from nas.export.manifest import Licence, Part
from nas.space import SearchSpace

FOLDER = "licences"

_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "README")
"""How names of files begin in which checkpoints state their terms."""

_PIPELINE = "model_index.json"
"""The file of a pipeline that diffusers saved, which keeps its licence beside the folders of its parts."""

_TRAINED = "trained with this project; the terms of its training clips hold, and those of weights it started from"


def bundle_licences(space: SearchSpace, root: Path) -> tuple[Licence, ...]:
    """What is known of each part; licence files beside the weights of others are copied below `root`."""
    return (
        _foreign("text_encoder", space.text_folder, root) or Licence(part="text_encoder", note=_TRAINED),
        Licence(part="unet", note=_TRAINED),
        _foreign("decoder", space.codec_folder, root)
        or Licence(part="decoder", note="rearranges values, and has no weights"),
    )


def _foreign(part: Part, folder: str | None, root: Path) -> Licence | None:
    """The licence of weights that were loaded from a folder; `None` if there is no folder."""
    if folder is None:
        return None
    place = Path(folder)
    homes = [place, *([place.parent] if (place.parent / _PIPELINE).is_file() else [])]
    found = [file for home in reversed(homes) for file in home.iterdir() if _tells(file)]
    copies = {f"{FOLDER}/{part}/{file.name}": file for file in found}
    for name, file in copies.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / name)
    where = "its terms are in the files named here" if copies else "no licence file lay beside them; ask their source"
    return Licence(part=part, note=f"weights from {place.name!r}: {where}", files=tuple(sorted(copies)))


def _tells(file: Path) -> bool:
    return file.is_file() and file.name.upper().startswith(_NAMES)
