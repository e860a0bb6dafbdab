"""The fit of a latency table: how whole networks relate to the sum of their blocks, and how far they scatter.

A network is not quite the sum of its blocks: what one block leaves in the caches is warm for the next, and what a
runtime does once per call is counted once per block. On one device with one runtime, both grow with the network, so
a single factor takes them up. It is found from a few whole networks, and what it leaves unexplained says how far a
prediction may be off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AwareDatetime, Field
from scipy import stats

from nas.errors import ConfigError, TableError
from nas.files import StrictModel, parse, read_json, write_json
from nas.latency.profiling import space_blocks
from nas.latency.rows import Milliseconds, Percent
from nas.latency.table import LatencyTable
from nas.space import SearchSpace

SCHEMA_VERSION: Literal[1] = 1
COVERAGE = 0.9
MIN_NETWORKS = 3

_SAME = 1e-6


class FittedNetwork(StrictModel):
    """A whole denoising network that went into a fit.

    Args:
        architecture: Id of the architecture.
        choices: Its choices, one per slot in the order of the network.
        sum_ms: Sum over its blocks, in milliseconds per call.
        measured_ms: What the whole network took.
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
        table: Digest of the rows that the sums were made of, see `rows_digest`.
        scale: What a sum is multiplied by.
        interval_percent: What a prediction has to be multiplied or divided by to come to the ends of its 90%
            interval, less 1, in percent: half the width of the interval.
        networks: What it was fitted to.
        measured_at: When they were measured.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    space: str
    space_fingerprint: str
    table: str
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    interval_percent: Percent
    networks: Annotated[tuple[FittedNetwork, ...], Field(min_length=MIN_NETWORKS)]
    measured_at: AwareDatetime

    @classmethod
    def of(cls, space: SearchSpace, table: LatencyTable, networks: Sequence[FittedNetwork]) -> LatencyFit:
        """The fit to networks that were measured now; raises as `fit_scale`."""
        scale, interval_percent = _scale(networks)
        return cls(
            space=space.name,
            space_fingerprint=space.fingerprint,
            table=rows_digest(space, table),
            scale=scale,
            interval_percent=interval_percent,
            networks=tuple(networks),
            measured_at=datetime.now(UTC).replace(microsecond=0),
        )

    @classmethod
    def load(cls, table_path: str | Path, space_name: str) -> LatencyFit:
        """Read the fit of a space that lies beside a table.

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
        except ConfigError as error:
            raise TableError(error.what, where=path, hint=error.hint or again) from error
        if fit.space != space_name:
            raise TableError(f"space: expected {space_name!r}, got {fit.space!r}", where=path, hint=again)
        if not np.allclose((fit.scale, fit.interval_percent), _scale(fit.networks), rtol=_SAME, atol=_SAME):
            what = "scale and interval_percent do not follow from the networks: the file was edited"
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
        """Raise `TableError` where the fit is of another space, or the rows of its blocks have changed since."""
        if (self.space, self.space_fingerprint) != (space.name, space.fingerprint):
            what = f"made for another space {self.space!r} than {space.where}"
        elif self.table != rows_digest(space, table):
            what = f"made for other rows than the table {table.where or 'in memory'} has now"
        else:
            return
        where = "latency fit" if table.where is None else fit_path(table.where, self.space)
        raise TableError(what, where=where, hint=f"fit again with: {_command(space.where, table.where)}")

    def interval_ms(self, unet_ms: float) -> tuple[float, float]:
        """The 90% interval of what a network takes whose prediction, scale included, is `unet_ms`."""
        factor = 1 + self.interval_percent / 100
        return unet_ms / factor, unet_ms * factor


def fit_scale(sums_ms: Sequence[float], measured_ms: Sequence[float]) -> tuple[float, float]:
    """The factor between sums of blocks and whole networks, and how far networks scatter about it.

    The factor is the geometric mean of measured over sum, which least squares give on logarithms: a network counts
    by its relative error, however long it takes. The interval is the usual one for a further observation from a
    normal distribution whose mean and deviation are estimated from n (Hahn and Meeker, Statistical Intervals, 4.7),
    on logarithms too: mean +- t * s * sqrt(1 + 1/n), with Student's t of n - 1 degrees of freedom.

    Args:
        sums_ms: Sums over the blocks of at least 3 networks, all above 0.
        measured_ms: What the whole networks took, all above 0.

    Returns:
        The factor, and `interval_percent` as `LatencyFit` has it.

    Raises:
        ConfigError: There are fewer than 3 networks.
    """
    require_enough(len(sums_ms))
    logarithms = np.log(np.asarray(measured_ms, np.float64) / np.asarray(sums_ms, np.float64))
    number = len(logarithms)
    quantile = float(stats.t.ppf((1 + COVERAGE) / 2, number - 1))
    half_width = quantile * float(logarithms.std(ddof=1)) * math.sqrt(1 + 1 / number)
    return float(np.exp(logarithms.mean())), 100 * math.expm1(half_width)


def require_enough(networks: int) -> None:
    """Raise `ConfigError` where there are too few networks to say anything of their scatter."""
    if networks < MIN_NETWORKS:
        hint = "ask for more; a search space that has fewer needs no fit"
        raise ConfigError(f"a fit needs at least {MIN_NETWORKS} networks, got {networks}", hint=hint)


def fit_path(table_path: str | Path, space_name: str) -> Path:
    """The file of a space's fit beside a table's CSV."""
    return Path(table_path).with_suffix(f".{space_name}.fit.json")


def rows_digest(space: SearchSpace, table: LatencyTable) -> str:
    """`LatencyTable.digest` of those rows that the space uses: what other spaces add to the table changes nothing.

    Nor does what `SearchSpace.without` removed.
    """
    whole = SearchSpace(space.file, where=space.where) if space.removed else space
    keys = {block.key for block in space_blocks(whole)}
    return replace(table, rows={key: row for key, row in table.rows.items() if key in keys}).digest


def _scale(networks: Sequence[FittedNetwork]) -> tuple[float, float]:
    return fit_scale([each.sum_ms for each in networks], [each.measured_ms for each in networks])


def _command(space: str | Path, table_path: str | Path | None) -> str:
    return f"nas latency fit {space} --table {table_path or 'FILE'}"
