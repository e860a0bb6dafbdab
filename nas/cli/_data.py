"""The `--data` option that training, search and distillation share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._data_file import data_file
from nas.cli._paths import READS_CLIPS

if TYPE_CHECKING:
    from nas.data import DataSplit
    from nas.space import SearchSpace

DATA_HELP = (
    "`moving_shapes` (procedural), a folder of videos with a captions.csv, tars ('a-*.tar', 'a-{00..09}.tar'), "
    "or a YAML file with a `data:` key."
)

DataOption = Annotated[str, typer.Option(parser=READS_CLIPS, help=DATA_HELP)]


def open_clips(data: str, space: SearchSpace) -> DataSplit:
    """The clips that `--data` names, in the shape of the search space, split for training and validation."""
    from nas.training import open_clips as open_for
    from nas.training.engine.processes import processes

    file, base = data_file(data)
    with processes().main_process_first():  # one process decodes, the others read its cache
        return open_for(file.data, space, base=base, validation_fraction=file.validation_fraction)
