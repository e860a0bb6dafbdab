"""The content of the report at the end of a run, read from the results of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.formatting import counted
from nas.pipeline.latencies import latency_columns, latency_sentences
from nas.pipeline.runner import stage_values
from nas.pipeline.samples import LABELS, SHEET
from nas.pipeline.tables import bundle_rows, check_rows, flicker_rows, training_rows, without_unknown
from nas.report import Picture, Section
from nas.search.noise.agreement import HalvesAgreement
from nas.search.results.neighbours import step_text


def run_sections(root: Path, trainings: Sequence[str]) -> list[Section]:
    """The sections of a run's report, in the order of reading.

    Args:
        root: The run's folder, with all stages before the report done.
        trainings: Names of the stages that trained something.
    """
    return [_front(root), _check(root), _training(root, trainings), _export(root), _samples(root)]


def _front(root: Path) -> Section:
    picked = stage_values(root, "front")
    rows = [
        {
            "architecture": member["id"],
            "layers": member["layers"],
            picked["metric"]: member["quality"],
            "standard error": member.get("standard_error"),
            "from the one before": step_text(member.get("from_previous")),
            **latency_columns(member),
            "parameters": member["parameters"],
        }
        for member in picked["members"]
    ]
    text = f"Picked: {picked['id']} ({picked['layers']}), {latency_sentences(picked)}"
    said = [f"{picked[name]}." if picked.get(name) else "" for name in ("reason", "noise")]
    paragraphs = [text, *said, _counts(picked), _agreements(picked)]
    picture = Picture(root / "front" / "front.png", "Quality against predicted latency of all scored architectures.")
    return Section("The Pareto front", "\n\n".join(filter(None, paragraphs)), without_unknown(rows), [picture])


def _counts(picked: Mapping[str, Any]) -> str:
    """How many architectures were scored; empty if an earlier version did not record it."""
    if "searched" not in picked:
        return ""
    scored, rescored, members = picked["searched"], picked["rescored"], counted(len(picked["members"]), "architecture")
    again = "" if rescored is None else f", and {rescored['architectures']} of them were scored again"
    return f"{counted(scored['architectures'], 'architecture')} were scored{again}; the front has {members}."


def _agreements(picked: Mapping[str, Any]) -> str:
    """How well the scores of the search, and the second scores, agree between two halves of the held-out data."""
    stages = {"In the search": picked.get("searched"), "In the second scoring": picked.get("rescored")}
    known = {name: stage["agreement"] for name, stage in stages.items() if stage is not None and stage["agreement"]}
    if not known:
        return ""
    sentences = " ".join(f"{name}, {HalvesAgreement(**values).sentence()}." for name, values in known.items())
    return f"{sentences} At 1 both halves give the same order; near 0 the order is noise."


def _check(root: Path) -> Section:
    values = stage_values(root, "check")
    text = (
        f"Predictions for whole networks are off by {values['mape_percent']:.1f}% on average, and by "
        f"{values['worst_percent']:.1f}% at worst."
    )
    picture = Picture(root / "check" / "check.png", "Predicted against measured latency of one network call.")
    return Section("Predicted and measured latency", text, check_rows(values["networks"]), [picture])


def _training(root: Path, stages: Sequence[str]) -> Section:
    rows = training_rows(root, stages)
    text = "The losses of these stages measure different things and cannot be compared with each other."
    return Section("Training", "\n\n".join(filter(None, [_start(root, stages), text])), rows)


def _start(root: Path, stages: Sequence[str]) -> str:
    """Which model of images the supernet started from; empty if there was none, or an earlier version wrote it."""
    values = stage_values(root, "train") if "train" in stages else {}
    if not values.get("backbone"):
        return ""
    frozen = "was kept frozen" if values["freeze_backbone"] else "was trained further"
    return f"The supernet started from the backbone in {values['backbone']}, which {frozen}."


def _export(root: Path) -> Section:
    text = "Each converted network was compared with torch, if its runtime can execute on this machine."
    return Section("The bundle", text, bundle_rows(stage_values(root, "export")["files"]))


def _samples(root: Path) -> Section:
    values = stage_values(root, "samples")
    pictures = [
        Picture((root / "samples" / clip["file"]).with_suffix(".gif"), f"{LABELS[clip['captions']]}: {clip['prompt']}")
        for clip in values["clips"]
    ]
    sheet = "Frames of these clips, beside real clips of the same captions if there are any."
    pictures.append(Picture(root / "samples" / SHEET, sheet))
    text = (
        f"Each clip was generated in {values['steps']} denoising steps without guidance. Flicker is the mean absolute "
        "difference of consecutive frames, from 0 to 1, and includes motion."
    )
    return Section("Samples", text, flicker_rows(values["flicker"]), pictures)
