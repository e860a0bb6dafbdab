"""The latencies of a member of a front in a run's headlines and report, on one or several devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def latency_text(member: Mapping[str, Any], how: str) -> str:
    """The latencies of a member, given as plain data, with where they come from.

    Args:
        member: The member.
        how: How the latency on this machine is predicted from its blocks.
    """
    if not member.get("devices"):
        return f"{member['latency_ms']:.1f} ms per clip ({member['provenance']} blocks, {how})"
    return f"per clip {_on_devices(member['devices'])}"


def latency_sentences(member: Mapping[str, Any]) -> str:
    """The same as the end of a sentence, and a sentence on what is added up."""
    parts = "text encoder + steps x denoising network + decoder"
    if not member.get("devices"):
        source = f"Latencies are predicted from {member['provenance']} blocks: {parts}."
        return f"{member['latency_ms']:.1f} ms per clip. {source}"
    return f"per clip {_on_devices(member['devices'])}. Latencies are predicted from blocks: {parts}."


def _on_devices(latencies: Mapping[str, Mapping[str, Any]]) -> str:
    return " and ".join(
        f"{latency['latency_ms']:.4g} ms on {device} ({latency['provenance']} blocks)"
        for device, latency in latencies.items()
    )


def latency_columns(member: Mapping[str, Any]) -> dict[str, float]:
    """The columns of a member's latencies in a table: one, or one for each of several devices."""
    if not member.get("devices"):
        return {"predicted latency, ms": member["latency_ms"]}
    share = {"share of its budget, the largest, no unit": member["share"]} if "share" in member else {}
    return share | {f"{device}, predicted, ms": latency["latency_ms"] for device, latency in member["devices"].items()}
