"""Several tables of one device: of each architecture, the settings it is fastest with.

A phone runs a network for one deployment target and on the compute units it is told, and which are best is not the
same for all networks: the target decides what operations attention becomes, and letting Core ML choose among all units
is not always the fastest. Each setting has a table of its own; an architecture's latency is that of the best.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from nas.errors import TableError
from nas.latency.prediction.predictor import LatencyPredictor, PipelineLatency
from nas.latency.prediction.restriction import Removed, usable_space
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.table import LatencyTable
from nas.space import Architecture, SearchSpace

logger = logging.getLogger("nas")


class FastestSetting:
    """Latencies of architectures, each with the settings it is fastest with.

    Args:
        predictors: One for each table, all of one space; the first wins where two are equally fast.

    Raises:
        TableError: There are none, or two tables are of different devices or of the same settings.
    """

    def __init__(self, predictors: Sequence[LatencyPredictor]) -> None:
        if not predictors:
            raise TableError("no table to predict from", hint="name at least one")
        for place, each in enumerate(predictors):
            for other in predictors[:place]:
                _check_differ(each.table, other.table)
        self.predictors = tuple(predictors)

    def predict(self, architecture: Architecture) -> PipelineLatency:
        """Latency with the fastest setting; of several, it stands in the place of the runtime.

        Raises:
            TableError: It can run with none of them, or a block is in none of the tables; as the first table says.
        """
        found: list[PipelineLatency] = []
        refused: list[TableError] = []
        for each in self.predictors:
            try:
                found.append(self._named(each.predict(architecture), each.table.metadata))
            except TableError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return min(found, key=lambda each: each.pipeline_ms)

    def _named(self, found: PipelineLatency, metadata: TableMetadata) -> PipelineLatency:
        """The figure with its settings, where there is a choice of them."""
        return found if len(self.predictors) == 1 else dataclasses.replace(found, runtime=setting_text(metadata))

    def fastest(self) -> Architecture:
        """The architecture of least latency with any setting."""
        able = _able(self.predictors[0].space, self.predictors)
        candidates = [_on(usable_space(each.space, each.table)[0], each).fastest() for each in able]
        return min(candidates, key=lambda one: self.predict(one).pipeline_ms)

    @property
    def runtime(self) -> str:
        """All settings that there are to choose from."""
        return " or ".join(setting_text(each.table.metadata) for each in self.predictors)


def _check_differ(table: LatencyTable, other: LatencyTable) -> None:
    metadata, others = table.metadata, other.metadata
    if metadata.device != others.device:
        what = f"device is {metadata.device!r}, {other.where} has {others.device!r}"
        raise TableError(what, where=table.where, hint="search for one device at a time")
    if metadata.settings == others.settings:
        what = f"of the same settings as {other.where}: {setting_text(metadata)}"
        raise TableError(what, where=table.where, hint="unite tables of equal settings with: nas latency merge")


def setting_text(metadata: TableMetadata) -> str:
    """What a table was made with, beside the device: runtime, target, compute unit, threads."""
    threads = None if metadata.threads is None else f"{metadata.threads} threads"
    return ", ".join(filter(None, (metadata.runtime, metadata.opset, metadata.compute_unit, threads)))


def fastest_settings(
    space: SearchSpace, paths: Sequence[str | Path], steps: int = 4
) -> tuple[SearchSpace, FastestSetting, tuple[Removed, ...]]:
    """What of a space can run with any of several tables' settings, and how fast.

    Args:
        space: The search space.
        paths: The tables' CSV files; a fit beside one is used for it.
        steps: Denoising steps of one clip.

    Returns:
        The space without the candidates that cannot run with the settings that run most, or are slower with all
        of them; the latencies; and those candidates. A table whose settings run nothing is left out with a warning.

    Raises:
        TableError: As `LatencyTable.load`, `usable_space` and `FastestSetting`.
    """
    predictors = [LatencyPredictor.open(space, path, steps) for path in paths]
    FastestSetting(predictors)  # what does not go together is a mistake, whatever of it can run
    able = _able(space, predictors)
    for each in predictors:
        if each not in able:
            logger.warning("no architecture of %s can run as %s says: it is left out", space.name, each.table.where)
    found = [usable_space(space, each.table)[1] for each in able]
    # What runs with one table's settings, and what with another's, need not run together: one table has to run it all.
    most = min(found, key=lambda removed: sum(each.instead is None for each in removed))
    slower = [{(each.slot, each.candidate) for each in removed} for removed in found]
    removed = tuple(
        each for each in most if each.instead is None or all((each.slot, each.candidate) in one for one in slower)
    )
    lost = {slot.id: [each.candidate for each in removed if each.slot == slot.id] for slot in space.slots}
    searched = space.without(lost)
    return searched, FastestSetting([_on(searched, each) for each in able]), removed


def _able(space: SearchSpace, predictors: Sequence[LatencyPredictor]) -> list[LatencyPredictor]:
    """Those whose settings can run any architecture at all; raises `TableError` where none can."""
    found: list[LatencyPredictor] = []
    problems: list[TableError] = []
    for each in predictors:
        try:
            usable_space(space, each.table)
        except TableError as error:
            problems.append(error)
        else:
            found.append(each)
    if problems and not found:
        raise problems[0]
    return found


def _on(space: SearchSpace, predictor: LatencyPredictor) -> LatencyPredictor:
    """The same predictor for fewer architectures."""
    return LatencyPredictor(space, predictor.table, predictor.steps, predictor.fit)
