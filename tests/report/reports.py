"""A report of a search that was not run: random architectures of the quickstart, with scores by a formula."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from nas.data import write_mp4
from nas.latency import LatencyPredictor, LatencyTable, TableMetadata, space_blocks
from nas.report.page.document import CheckedNetwork, Clip, ClipRow, Curve, Report, Table
from nas.report.page.study import study_report
from nas.search import StudyRecord
from nas.search.latencies.devices import DeviceLatency
from nas.search.results.evaluation import Evaluation
from nas.search.storage.contents import StudyDevice
from nas.space import SearchSpace
from tests.latency.strategies import measured

SPACE = SearchSpace.load(Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NASTY = "</script><script>window.hacked = 1</script> & <b>bold</b>"


def predictor() -> LatencyPredictor:
    """Latencies of all blocks, each another one."""
    rows = [measured(block.key, 0.1 + 0.01 * place, NOON) for place, block in enumerate(space_blocks(SPACE))]
    return LatencyPredictor(SPACE, LatencyTable(TableMetadata(device="test bench", runtime="formula")).add(rows), 4)


def record(count: int = 40, *, budget_ms: float | None = 19.0) -> StudyRecord:
    """Scored architectures, the uniform ones among them: `mid` decides the score, and noise of 0.01 is in each part."""
    rng, latency = random.Random(0), predictor()
    layers = dict.fromkeys(name for slot in SPACE.slots for name in slot.candidates)
    uniform = [
        SPACE.architecture([name if name in slot.candidates else "none" for slot in SPACE.slots]) for name in layers
    ]
    scored = []
    for trial, one in enumerate(dict.fromkeys([*uniform, *SPACE.sample_distinct(rng, count)])):
        quality = 1.0 - 0.2 * (one.choices[2] == "conv3d") - 0.01 * sum(name != "none" for name in one.choices)
        parts = tuple(quality + rng.gauss(0, 0.01) for _ in range(8))
        predicted = latency.predict(one)
        scored.append(
            Evaluation(
                one, sum(parts) / 8, predicted.pipeline_ms, predicted.unet_ms, 10**6 + trial, "measured", "formula",
                trial, budget_ms is None or predicted.pipeline_ms <= budget_ms, quality_parts=parts,
            )
        )  # fmt: skip
    return StudyRecord("first", "study.db", SPACE.name, f"loss {NASTY}", "minimize", 4, "test bench", "formula",
                       budget_ms, tuple(scored), 1)  # fmt: skip


def record_of_shares(count: int = 40) -> StudyRecord:
    """The same of two devices, a bench and a phone that is half as fast, and the largest share of a budget.

    The phone decides, because its budget is tighter. The bench's interval is wide: its upper end is above the phone's.
    """
    of_one, limits_ms = record(count, budget_ms=None), {"bench": 40.0, "phone": 70.0}
    scored = tuple(
        replace(
            one,
            latency_ms=2 * one.latency_ms,
            share=2 * one.latency_ms / limits_ms["phone"],
            device="phone",
            devices={
                "bench": DeviceLatency(one.latency_ms, one.unet_ms, "estimated", "formula",
                                       one.latency_ms / 1.5, one.latency_ms * 1.5, 80),
                "phone": DeviceLatency(2 * one.latency_ms, 2 * one.unet_ms, "measured", "formula",
                                       1.9 * one.latency_ms, 2.1 * one.latency_ms, 90),
            },
        )
        for one in of_one.evaluations
    )  # fmt: skip
    devices = {name: StudyDevice(name, "formula") for name in limits_ms}
    return replace(of_one, evaluations=scored, devices=devices, limits_ms=limits_ms, which="worst")


def clip_source(folder: Path, seed: int) -> str:
    """A clip of eight frames as a data URI."""
    video_TCHW = torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    write_mp4(video_TCHW, folder / f"{seed}.mp4", 8)
    return f"data:video/mp4;base64,{base64.b64encode((folder / f'{seed}.mp4').read_bytes()).decode()}"


def whole_report(folder: Path) -> Report:
    """A report with every part."""
    study = record()
    made = study_report(study, space=SPACE, predictor=predictor())
    checked = [
        CheckedNetwork(one.architecture.id, one.unet_ms * 1.01, one.unet_ms * 0.98, one.unet_ms * 1.04, one.unet_ms)
        for one in study.front[:4]
    ]
    rows = tuple(
        ClipRow(
            f"rain {NASTY}", "Prompt", tuple(Clip(name, clip_source(folder, seed)) for seed, name in enumerate(names))
        )
        for names in [("teacher", "teacher in as few steps", "student, 4 steps")] * 2
    )
    return replace(
        made,
        title=f"{made.title} {NASTY}",
        clips=rows,
        clips_text="Made from the same noise.",
        curves=(Curve("Supernet", "training steps", (1, 10, 20), {"loss": (1.0, 0.1, 0.05)}),),
        checks=tuple(checked),
        checks_text="Off by 1%.",
        tables=(Table("The bundle", "", [{"network": "unet.onnx", "PSNR, dB": 90.5, "weights": None}]),),
        settings=f"space: {NASTY}\n",
    )
