"""The contents of a bundle's `report.json`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from nas.errors import CheckpointError
from nas.files import StrictModel, parse, read_json
from nas.runtimes.parity import Parity

REPORT = "report.json"

Part = Literal["text_encoder", "unet", "decoder"]


class ParityReport(StrictModel):
    """Difference between a converted network and torch, over all inputs tried.

    Args:
        status: `measured`, or why it is not measured.
        max_abs_error: Largest absolute difference.
        psnr_db: Lowest peak signal-to-noise ratio in dB; `None` if the outputs are equal, or not measured.
        inputs: Number of inputs tried.
    """

    status: str
    max_abs_error: float | None = None
    psnr_db: float | None = None
    inputs: int = 0


def worst(parities: list[Parity]) -> ParityReport:
    """The worst of several comparisons, all with finite outputs."""
    psnr_db = min(parity.psnr_db for parity in parities)
    return ParityReport(
        status="measured",
        max_abs_error=max(parity.max_abs_error for parity in parities),
        psnr_db=None if psnr_db == math.inf else psnr_db,
        inputs=len(parities),
    )


class ConvertedFile(StrictModel):
    """One converted network.

    Args:
        path: File or package, relative to the bundle.
        part: The network in it.
        runtime: The runtime that executes it.
        precision: Type of its arithmetic.
        opset: Version of the operations in it: an ONNX opset, or a Core ML deployment target.
        size_bytes: Its size on disk.
        parity: Comparison with torch.
    """

    path: str
    part: Part
    runtime: str
    precision: str
    opset: str | None
    size_bytes: int
    parity: ParityReport


class BundleReport(StrictModel):
    """Contents of a bundle.

    Args:
        kind: Marks the file as the report of a bundle.
        schema_version: Version of this format.
        space: Name of the search space.
        architecture: Canonical id of the architecture.
        parameters: Number of weights of each part.
        steps: Denoising steps that the model is made for.
        guidance_scale: Classifier-free guidance that it is made for; 1 means none.
        files: Sizes in bytes of the model's own files.
        converted: The converted networks.
        latency: Predicted latency with its provenance, if a table was given.
        versions: Versions of the system and the libraries that made the bundle.
    """

    kind: Literal["nas bundle"] = "nas bundle"
    schema_version: Literal[1] = 1
    space: str
    architecture: str
    parameters: dict[Part, int]
    steps: int
    guidance_scale: float
    files: dict[str, int]
    converted: tuple[ConvertedFile, ...]
    latency: dict[str, float | int | str | None] | None = None
    versions: dict[str, str]

    @classmethod
    def load(cls, folder: str | Path) -> BundleReport:
        """Read the report of a bundle.

        Raises:
            CheckpointError: The folder holds none, or it is not JSON.
            ConfigError: It has an unknown, missing or impossible key.
        """
        file = Path(folder) / REPORT
        return parse(read_json(file, error=CheckpointError), cls, where=file)
