"""The latencies of a member of a front in a run's headlines and report, on one or several devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.formatting import cell_text


def latency_text(member: Mapping[str, Any], how: str) -> str:
    """The latencies of a member, given as plain data, with where they come from.

    Args:
        member: The member.
        how: How the latency on this machine is predicted from its blocks.
    """
    if not member.get("devices"):
        return f"{member['latency_ms']:.1f} ms{_interval(member)} per clip ({member['provenance']} blocks, {how})"
    return f"per clip {_on_devices(member['devices'])}"


def latency_sentences(member: Mapping[str, Any]) -> str:
    """The same as the end of a sentence, and a sentence on what is added up."""
    parts = "text encoder + steps x denoising network + decoder"
    if not member.get("devices"):
        source = f"Latencies are predicted from {member['provenance']} blocks: {parts}."
        return f"{member['latency_ms']:.1f} ms{_interval(member)} per clip. {source}"
    return f"per clip {_on_devices(member['devices'])}. Latencies are predicted from blocks: {parts}."


def _on_devices(latencies: Mapping[str, Mapping[str, Any]]) -> str:
    return " and ".join(
        f"{latency['latency_ms']:.4g} ms{_interval(latency)} on {device} ({latency['provenance']} blocks)"
        for device, latency in latencies.items()
    )


def latency_columns(member: Mapping[str, Any]) -> dict[str, float | str | None]:
    """The columns of a member's latencies in a table: one and its interval, or the same for each of several devices."""
    if not member.get("devices"):
        return {
            "predicted latency, ms": member["latency_ms"],
            "interval, ms": _span(member, "{low} to {high} ({percent}%)"),
        }
    columns: dict[str, float | str | None] = {}
    if "share" in member:
        columns["share of its budget, the largest, no unit"] = member["share"]
    for device, latency in member["devices"].items():
        columns[f"{device}, predicted, ms"] = latency["latency_ms"]
        columns[f"{device}, interval, ms"] = _span(latency, "{low} to {high} ({percent}%)")
    return columns


def _interval(latency: Mapping[str, Any]) -> str:
    """The interval of a latency within a sentence; empty if it is unknown."""
    return _span(latency, " ({percent}%: {low} to {high})") or ""


def _span(latency: Mapping[str, Any], pattern: str) -> str | None:
    """The interval of a latency, written by a pattern; `None` if it is unknown."""
    low_ms, high_ms = latency.get("low_ms"), latency.get("high_ms")
    if low_ms is None or high_ms is None:
        return None
    return pattern.format(low=cell_text(low_ms), high=cell_text(high_ms), percent=latency["interval_percent"])
