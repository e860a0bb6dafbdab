"""Tables of a run's report, from what its stages noted: in the words of a reader, without what nobody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.formatting import Cell, bytes_text
from nas.pipeline.runner import stage_values

Rows = list[dict[str, Cell]]

FORMATS = {"onnx": "ONNX", "coreml": "Core ML", "coreai": "Core AI"}
"""Names of the folders of a bundle's networks."""


def check_rows(networks: Sequence[Mapping[str, Any]]) -> Rows:
    """Networks that were measured as a whole."""
    return [
        {
            "architecture": row["architecture"],
            "predicted, ms per call": row["predicted_unet_ms"],
            "from, ms": row.get("low_ms"),
            "to, ms": row.get("high_ms"),
            "measured, ms per call": row["measured_unet_ms"],
            "prediction off by, %": row["error_percent"],
        }
        for row in networks
    ]


def training_rows(root: Path, stages: Sequence[str]) -> Rows:
    """Stages that trained something."""
    noted = ((name, stage_values(root, name)) for name in stages)
    return [
        {"stage": name, "steps": values["steps"], "final loss": values["loss"], "minutes": values["elapsed_s"] / 60}
        for name, values in noted
        if values
    ]


def bundle_rows(files: Sequence[Mapping[str, Any]]) -> Rows:
    """Converted networks of the bundle."""
    return without_unknown(
        [
            {
                "network": file["file"],
                "size": bytes_text(file["size_bytes"]),
                "weights": file.get("weights"),
                "compared with torch": file["parity"],
                "largest difference": file["max_abs_error"],
                "PSNR, dB": file["psnr_db"],
            }
            for file in files
        ]
    )


def bundle_sizes(files: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Size of all networks of each format, by its name."""
    sizes: dict[str, int] = {}
    for file in files:
        name = FORMATS.get(str(file["file"]).partition("/")[0], str(file["file"]))
        sizes[name] = sizes.get(name, 0) + file["size_bytes"]
    return sizes


def flicker_rows(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Temporal flicker of generated and of real clips."""
    return without_unknown(
        [
            {
                "captions of": {"training": "training clips", "held-out": "held-out clips"}.get(
                    row["captions"], "the run's file"
                ),
                "clips": row["clips"],
                "flicker": row["flicker"],
                "flicker of real clips": row["real"],
                "ratio": row["ratio"],
            }
            for row in rows
        ]
    )


def without_unknown(rows: Rows) -> Rows:
    """The rows without the columns that none of them knows."""
    known = {name for row in rows for name, value in row.items() if value is not None}
    return [{name: value for name, value in row.items() if name in known} for row in rows]
