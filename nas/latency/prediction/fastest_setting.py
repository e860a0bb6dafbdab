"""Several tables of one device: each architecture with the settings it is fastest with.

A phone runs a network for one deployment target and on given compute units, and the best choice differs from network to
network. The target decides which operations attention becomes, and letting Core ML choose among all units is not always
the fastest. Each setting has its own table. The latency of an architecture is that of its best setting.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

from nas.errors import TableError
from nas.latency.prediction.predictor import LatencyPredictor, PipelineLatency
from nas.latency.prediction.restriction import Removed, usable_space
from nas.latency.prediction.weights import kind_of_table
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.table import LatencyTable
from nas.space import Architecture, SearchSpace

logger = logging.getLogger("nas")


class FastestSetting:
    """The latency of each architecture with the settings it is fastest with.

    Args:
        predictors: One for each table, all of one space; the first wins if two are equally fast.

    Raises:
        TableError: There are none, or two tables are of different devices or of the same settings.
    """

    def __init__(self, predictors: Sequence[LatencyPredictor]) -> None:
        if not predictors:
            raise TableError("no table to predict from", hint="name at least one")
        for first, second in itertools.combinations(predictors, 2):
            _check_differ(second.table, first.table)
        self.predictors = tuple(predictors)

    def predict(self, architecture: Architecture) -> PipelineLatency:
        """The latency with the fastest settings; if there are several tables, `runtime` names the settings.

        Raises:
            TableError: It can run with none of them, or a block is in none of the tables; as the first table says.
        """
        latencies: list[PipelineLatency] = []
        problems: list[TableError] = []
        for predictor in self.predictors:
            try:
                latencies.append(self._named(predictor.predict(architecture), predictor.table.metadata))
            except TableError as error:
                problems.append(error)
        if not latencies:
            raise problems[0]
        return min(latencies, key=lambda latency: latency.pipeline_ms)

    def _named(self, latency: PipelineLatency, metadata: TableMetadata) -> PipelineLatency:
        """The latency, with the name of its settings if there are several."""
        return latency if len(self.predictors) == 1 else dataclasses.replace(latency, runtime=setting_text(metadata))

    def fastest(self) -> Architecture:
        """The architecture of least latency with any settings."""
        able = _able(self.predictors[0].space, self.predictors)
        candidates = [
            on_space(usable_space(predictor.space, predictor.table)[0], predictor).fastest() for predictor in able
        ]
        return min(candidates, key=lambda candidate: self.predict(candidate).pipeline_ms)

    @property
    def runtime(self) -> str:
        """The names of all settings."""
        return " or ".join(setting_text(predictor.table.metadata) for predictor in self.predictors)


def _check_differ(table: LatencyTable, earlier: LatencyTable) -> None:
    metadata, known = table.metadata, earlier.metadata
    if metadata.device != known.device:
        what = f"device is {metadata.device!r}, {earlier.where} has {known.device!r}"
        raise TableError(
            what, where=table.where, hint="give them to nas.latency.device_latencies, one model for each device"
        )
    if kind_of_table(metadata) != kind_of_table(known):
        what = f"is for {metadata.settings.weights} weights, {earlier.where} for {known.settings.weights}"
        hint = "search for each kind in a study of its own: the same architecture has another quality with each"
        raise TableError(what, where=table.where, hint=hint)
    if metadata.settings == known.settings:
        what = f"has the same settings as {earlier.where}: {setting_text(metadata)}"
        raise TableError(what, where=table.where, hint="merge tables of equal settings with: nas latency merge")


def setting_text(metadata: TableMetadata) -> str:
    """The settings of a table in words: runtime, deployment target, compute unit, threads, other options."""
    threads = None if metadata.threads is None else f"{metadata.threads} threads"
    options = (f"{name}={value}" for name, value in metadata.options.items())
    return ", ".join(filter(None, (metadata.runtime, metadata.opset, metadata.compute_unit, threads, *options)))


def fastest_settings(
    space: SearchSpace, paths: Sequence[str | Path], steps: int = 4
) -> tuple[SearchSpace, FastestSetting, tuple[Removed, ...]]:
    """The part of a space that can run with the settings of any of several tables, and its latencies.

    Args:
        space: The search space.
        paths: The tables' CSV files; a fit beside a table is used for it.
        steps: Denoising steps of one clip.

    Returns:
        The space without the removed candidates, its latencies, and the removed candidates. A candidate is removed if
        it cannot run with the settings that run most, or is slower than an equal one with all settings. A table whose
        settings can run no architecture is left out with a warning.

    Raises:
        TableError: As `LatencyTable.load`, `usable_space` and `FastestSetting`.
    """
    return settings_of(space, [LatencyPredictor.open(space, path, steps) for path in paths])


def settings_of(
    space: SearchSpace, predictors: Sequence[LatencyPredictor]
) -> tuple[SearchSpace, FastestSetting, tuple[Removed, ...]]:
    """What `fastest_settings` returns, from tables that are read already; raises `TableError` as it does."""
    FastestSetting(predictors)  # tables that do not belong together are an error before any of them is left out
    able = _able(space, predictors)
    for predictor in predictors:
        if predictor not in able:
            logger.warning(
                "no architecture of %s can run with the settings of %s, which is left out",
                space.name,
                predictor.table.where,
            )
    removals = [usable_space(space, predictor.table)[1] for predictor in able]
    # All of an architecture must run with one table's settings, so the settings that run most decide.
    most = min(removals, key=lambda removed: sum(candidate.instead is None for candidate in removed))
    slower = [{(candidate.slot, candidate.candidate) for candidate in removed} for removed in removals]
    removed = tuple(
        candidate
        for candidate in most
        if candidate.instead is None or all((candidate.slot, candidate.candidate) in names for names in slower)
    )
    lost = {slot.id: [gone.candidate for gone in removed if gone.slot == slot.id] for slot in space.slots}
    searched = space.without(lost)
    return searched, FastestSetting([on_space(searched, predictor) for predictor in able]), removed


def _able(space: SearchSpace, predictors: Sequence[LatencyPredictor]) -> list[LatencyPredictor]:
    """The predictors whose settings can run at least one architecture; raises `TableError` if none can."""
    able: list[LatencyPredictor] = []
    problems: list[TableError] = []
    for predictor in predictors:
        try:
            usable_space(space, predictor.table)
        except TableError as error:
            problems.append(error)
        else:
            able.append(predictor)
    if problems and not able:
        raise problems[0]
    return able


def on_space(space: SearchSpace, predictor: LatencyPredictor) -> LatencyPredictor:
    """The same predictor for fewer architectures."""
    return LatencyPredictor(space, predictor.table, predictor.steps, predictor.fit)
