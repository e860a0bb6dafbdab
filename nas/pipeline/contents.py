"""Digests of what a run's stages read from outside the run: weights of others, tables, networks of metrics.

The settings of a stage hold only the paths of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.errors import NasError
from nas.files import file_digest, fingerprint, sampled_digest
from nas.latency import LatencyTable
from nas.latency.prediction.fit import fit_path
from nas.models.weights import folder_digest
from nas.space import SearchSpace


def digest_of_paths(paths: Iterable[str | Path]) -> str:
    """Digest of the contents of files and folders; empty if there are none, or one is not there any more."""
    try:
        parts = [folder_digest(path) if Path(path).is_dir() else sampled_digest(path) for path in paths]
    except NasError:  # a stage that needs it says so
        return ""
    return fingerprint(parts) if parts else ""


def digest_of_layouts(space: SearchSpace) -> str:
    """Digest of the layouts that a space reads from folders of weights: other layouts are other blocks to measure."""
    if not space.outside_paths:
        return ""
    try:
        pipeline = space.lower_pipeline(space.smallest())
    except NasError:
        return ""
    return fingerprint([node.block.key for plan in (pipeline.text_encoder, pipeline.decoder) for node in plan.nodes])


def digest_of_tables(tables: Iterable[Path], space: SearchSpace) -> str:
    """Digest of what decides predictions from tables beside their rows: the time of a call, intervals, and fits."""
    parts = []
    for table in tables:
        metadata, fit = LatencyTable.load(table).metadata, fit_path(table, space.name)
        basis = None if metadata.estimate is None else metadata.estimate.model_dump(mode="json")
        parts.append([metadata.call_overhead_ms, basis, file_digest(fit) if fit.is_file() else None])
    return fingerprint(parts) if parts else ""
