"""Tables of one or several devices: the architectures that run on all of them, and their latencies on each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nas.errors import TableError
from nas.latency.prediction.fastest_setting import FastestSetting, on_space, settings_of
from nas.latency.prediction.predictor import LatencyPredictor
from nas.latency.prediction.restriction import Removed, known_latencies_ns, slower_text
from nas.space import NONE, SearchSpace
from nas.space.implementations import same_function
from nas.space.slots import Slot


class DeviceLatencies(NamedTuple):
    """What `device_latencies` returns.

    Args:
        space: The space without the removed candidates.
        models: The latencies on each device, by its name.
        removed: The removed candidates, with the device that is the reason.
    """

    space: SearchSpace
    models: dict[str, FastestSetting]
    removed: tuple[Removed, ...]


def device_latencies(space: SearchSpace, paths: Sequence[str | Path], steps: int = 4) -> DeviceLatencies:
    """The part of a space that can run on each of several devices, and its latencies on each.

    One network has to run on all devices. So a candidate is removed if it cannot run on one of them. It is also removed
    if one other candidate computes the same, and is no slower on any of them. Several tables of one device are of
    different settings, and the fastest setting counts, as in `nas.latency.fastest_settings`.

    Args:
        space: The search space.
        paths: The tables' CSV files, of one or several devices; a fit beside a table is used for it.
        steps: Denoising steps of one clip.

    Raises:
        TableError: As `nas.latency.fastest_settings`; or a slot has no candidate that runs on all devices.
    """
    groups: dict[str, list[LatencyPredictor]] = {}
    for path in paths:
        predictor = LatencyPredictor.open(space, path, steps)
        groups.setdefault(predictor.table.metadata.device, []).append(predictor)
    if len(groups) < 2:
        predictors = [predictor for group in groups.values() for predictor in group]
        searched, latency, removed = settings_of(space, predictors)
        return DeviceLatencies(searched, dict.fromkeys(groups, latency), removed)
    alone = {device: settings_of(space, group) for device, group in groups.items()}
    refused = _once(
        dataclasses.replace(candidate, device=device)
        for device, (_, _, removed) in alone.items()
        for candidate in removed
        if candidate.instead is None
    )
    able = _without(space, refused)
    # The refused candidates are gone: what is slower than one of them may now be the fastest.
    again = {device: settings_of(able, _on(able, latency).predictors) for device, (_, latency, _) in alone.items()}
    slower = list(_slower_everywhere(able, {device: latency for device, (_, latency, _) in again.items()}))
    searched = _without(able, slower)
    models = {device: _on(searched, latency) for device, (_, latency, _) in again.items()}
    return DeviceLatencies(searched, models, (*refused, *slower))


def _slower_everywhere(space: SearchSpace, models: Mapping[str, FastestSetting]) -> Iterator[Removed]:
    """The candidates that one other candidate replaces: it computes the same, and is no slower on any device.

    A candidate that is slower than one on some devices and than another one on others stays, because it may be the best
    compromise between the devices.
    """
    tables = [(device, predictor.table) for device, model in models.items() for predictor in model.predictors]
    blocks = space.placed_blocks()
    for slot in space.slots:
        placed = {name: blocks[slot.id, name] for name in slot.candidates if name != NONE}
        latencies = [known_latencies_ns(placed, table) for _, table in tables]
        unknown = {name for name, block in placed.items() if any(block not in table for _, table in tables)}
        better = {
            name: [other for other in placed if _replaces(space, slot, other, name, latencies)]
            if name not in unknown
            else []
            for name in placed
        }
        for name, others in better.items():
            if others:
                instead = next(other for other in others if not better[other])
                reasons = {
                    device: f"on {device}, {slower_text(placed, name, instead, table)}"
                    for device, table in reversed(tables)
                    if name in known_latencies_ns(placed, table)
                }
                reason = "; ".join(reasons[device] for device in models if device in reasons)
                yield Removed(slot.id, name, placed[name].key, reason, instead)


def _replaces(space: SearchSpace, slot: Slot, one: str, other: str, latencies: Sequence[Mapping[str, int]]) -> bool:
    """Whether a candidate does what another one does, in no table slower, and if equally fast, comes first.

    Args:
        space: The space.
        slot: The slot of both.
        one: The candidate.
        other: The candidate to replace.
        latencies: For each table, nanoseconds of the candidates that can run with its settings.
    """
    if one == other or not same_function(space.candidates[one], space.candidates[other]):
        return False
    pairs = [(known.get(one, math.inf), known.get(other, math.inf)) for known in latencies]
    if any(first_ns > second_ns for first_ns, second_ns in pairs):
        return False
    first = slot.candidates.index(one) < slot.candidates.index(other)
    return first or any(first_ns < second_ns for first_ns, second_ns in pairs)


def _without(space: SearchSpace, removed: Sequence[Removed]) -> SearchSpace:
    """The space without some candidates; raises `TableError` if a slot would have none."""
    lost = {slot.id: [gone.candidate for gone in removed if gone.slot == slot.id] for slot in space.slots}
    for slot in space.slots:
        if len(lost[slot.id]) == len(slot.candidates):
            reasons = "; ".join(str(gone) for gone in removed if gone.slot == slot.id)
            hint = f"give {slot.id} another candidate, such as `{NONE}`, or leave a device out"
            raise TableError(f"no architecture of {space.name} can run on all devices: {reasons}", hint=hint)
    return space.without(lost)


def _once(removed: Iterable[Removed]) -> list[Removed]:
    """Each candidate once: several devices may refuse it, and the first one is named."""
    first: dict[tuple[str, str], Removed] = {}
    for gone in removed:
        first.setdefault((gone.slot, gone.candidate), gone)
    return list(first.values())


def _on(space: SearchSpace, latency: FastestSetting) -> FastestSetting:
    return FastestSetting([on_space(space, predictor) for predictor in latency.predictors])
