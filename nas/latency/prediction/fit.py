"""The fit of a latency table: how whole networks relate to the sums of their blocks, and how much they scatter.

A network is not quite the sum of its blocks. A block finds data in the caches that the previous block left there. What
a runtime does once per call is counted once per block, and some work between blocks disappears inside one network. A
linear fit per device and runtime corrects for this, see `nas.latency.prediction.linear_fit`. It is made from a few
whole networks, and its residuals say how far off a prediction may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AwareDatetime, Field

from nas.errors import ConfigError, TableError
from nas.files import StrictModel, parse, read_json, write_json
from nas.latency.prediction.linear_fit import MIN_NETWORKS, LinearFit, fit_line
from nas.latency.tables.blocks import space_blocks
from nas.latency.tables.rows import Milliseconds, Percent
from nas.latency.tables.table import LatencyTable
from nas.space import SearchSpace

SCHEMA_VERSION: Literal[1] = 1
_SAME = 1e-6


class FittedNetwork(StrictModel):
    """A whole denoising network that a fit was made from.

    Args:
        architecture: Id of the architecture.
        choices: Its choices, one per slot in the order of the network.
        sum_ms: Sum over its blocks, in milliseconds per call.
        measured_ms: Latency of the whole network.
    """

    architecture: str
    choices: tuple[str, ...]
    sum_ms: Milliseconds
    measured_ms: Milliseconds


class LatencyFit(StrictModel):
    """The denoising networks of one space against the sums of their blocks in one table.

    Args:
        schema_version: Version of this format.
        space: Name of the search space.
        space_fingerprint: Digest of its content.
        table: Digest of the rows that the sums use, see `rows_digest`.
        scale: Factor of the sum.
        offset_ms: Time that is added to it.
        interval_percent: Half the width of a prediction's 90% interval, see `nas.latency.prediction.linear_fit`.
        networks: The networks it was fitted to.
        reference_ms: Latency of the smallest network meanwhile, which shows how fast the machine was.
        measured_at: When they were measured.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    space: str
    space_fingerprint: str
    table: str
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    offset_ms: Annotated[float, Field(allow_inf_nan=False)]
    interval_percent: Percent
    networks: Annotated[tuple[FittedNetwork, ...], Field(min_length=MIN_NETWORKS)]
    reference_ms: Milliseconds
    measured_at: AwareDatetime

    @classmethod
    def of(
        cls, space: SearchSpace, table: LatencyTable, networks: Sequence[FittedNetwork], reference_ms: float
    ) -> LatencyFit:
        """The fit to networks that were just measured; raises as `nas.latency.prediction.linear_fit.fit_line`."""
        line = _line(networks)
        return cls(
            space=space.name,
            space_fingerprint=space.fingerprint,
            table=rows_digest(space, table),
            scale=line.scale,
            offset_ms=line.offset_ms,
            interval_percent=line.interval_percent,
            networks=tuple(networks),
            reference_ms=reference_ms,
            measured_at=datetime.now(UTC).replace(microsecond=0),
        )

    @classmethod
    def load(cls, table_path: str | Path, space_name: str) -> LatencyFit:
        """Read the fit of a space that is stored beside a table.

        Raises:
            TableError: The file is missing, damaged, of another schema version or another space, a value is
                impossible, or the figures do not follow from the networks; names file and key.
        """
        path = fit_path(table_path, space_name)
        again = f"fit again with: {_command('SPACE', table_path)}"
        if not path.is_file():
            raise TableError("no such fit", where=path, hint=f"make one with: {_command('SPACE', table_path)}")
        value = read_json(path, error=TableError)
        version = value.get("schema_version") if isinstance(value, dict) else SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            what = f"schema_version is {version!r}, this version of nas reads {SCHEMA_VERSION}"
            raise TableError(what, where=path, hint=again)
        try:
            fit = parse(value, cls, where=path)
            follows = _line(fit.networks)
        except ConfigError as error:
            raise TableError(error.what, where=path, hint=error.hint or again) from error
        if fit.space != space_name:
            raise TableError(f"space: expected {space_name!r}, got {fit.space!r}", where=path, hint=again)
        line = (fit.scale, fit.offset_ms, fit.interval_percent)
        if not np.allclose(line, follows, rtol=_SAME, atol=_SAME):
            what = "scale, offset_ms and interval_percent do not follow from the networks: the file was edited"
            raise TableError(what, where=path, hint=again)
        return fit

    def save(self, table_path: str | Path) -> Path:
        """Write the fit beside its table; returns the file.

        Raises:
            StorageError: It cannot be written.
        """
        path = fit_path(table_path, self.space)
        write_json(path, self.model_dump(mode="json"))
        return path

    def require(self, space: SearchSpace, table: LatencyTable) -> None:
        """Raise `TableError` if the fit belongs to another space, or the rows of its blocks have changed since."""
        if (self.space, self.space_fingerprint) != (space.name, space.fingerprint):
            what = f"made for another space {self.space!r} than {space.where}"
        elif self.table != rows_digest(space, table):
            what = f"made for other rows than the table {table.where or 'in memory'} has now"
        else:
            return
        where = "latency fit" if table.where is None else fit_path(table.where, self.space)
        raise TableError(what, where=where, hint=f"fit again with: {_command(space.where, table.where)}")

    @property
    def equation(self) -> str:
        """The fit as an equation, for readers."""
        offset = f" {self.offset_ms:+.4g} ms" if self.offset_ms else ""
        return f"{self.scale:.4f} x sum of blocks{offset}, +-{self.interval_percent:.1f}%"

    def interval_ms(self, unet_ms: float) -> tuple[float, float]:
        """The 90% interval of a network whose prediction, with the fit, is `unet_ms`."""
        factor = 1 + self.interval_percent / 100
        return unet_ms / factor, unet_ms * factor


def fit_path(table_path: str | Path, space_name: str) -> Path:
    """The file of a space's fit beside a table's CSV."""
    return Path(table_path).with_suffix(f".{space_name}.fit.json")


def rows_digest(space: SearchSpace, table: LatencyTable) -> str:
    """`LatencyTable.digest` of the rows that the space uses.

    It does not change when other spaces add rows to the table, nor by `SearchSpace.without`.
    """
    keys = {block.key for block in space_blocks(space.whole)}
    return replace(table, rows={key: row for key, row in table.rows.items() if key in keys}).digest


def _line(networks: Sequence[FittedNetwork]) -> LinearFit:
    return fit_line([network.sum_ms for network in networks], [network.measured_ms for network in networks])


def _command(space: str | Path, table_path: str | Path | None) -> str:
    return f"nas latency fit {space} --table {table_path or 'FILE'}"
