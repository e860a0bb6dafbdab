"""The steps of `full_size.py`; each returns plain data."""

from __future__ import annotations

import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from benchmarks.conversion_tasks import Target, Task, convert
from nas.latency import (
    Estimator,
    LatencyPredictor,
    LatencyTable,
    MeasurementSettings,
    estimate_table,
    get_phone,
    profile,
    space_blocks,
    usable_space,
)
from nas.latency.prediction.memory import program_forms
from nas.models import VideoUNet, block_cost, extreme_architectures, load_pretrained, network_cost, space_summary
from nas.models.memory import program_costs
from nas.progress import progress_bar
from nas.quality import FunctionQuality
from nas.runtimes import Runtime, get_runtime, memory_guard, to_arrays
from nas.runtimes.networks import plan_convertible
from nas.search import SearchConfig, run_search
from nas.space import Architecture, Plan, SearchSpace

TARGET = Target("iOS18", "fp16")

COMPRESSED = "palettized_6"


@dataclass(frozen=True)
class Settings:
    """What all steps are told.

    Args:
        space: File of the search space.
        out: Folder for what steps leave to each other.
        phone: What latencies are estimated for.
        threads: Of ONNX Runtime.
        rounds: Timed calls of each block, at least.
        evaluations: Of the search.
    """

    space: Path
    out: Path
    phone: str
    threads: int
    rounds: int
    evaluations: int

    @property
    def runtime(self) -> Runtime:
        """What executes on this machine."""
        return get_runtime("onnxruntime", threads=self.threads)

    @property
    def measurement(self) -> MeasurementSettings:
        """How finely blocks are measured: a round of this space takes minutes."""
        return MeasurementSettings(rounds=self.rounds, max_seconds=1, min_seconds=4 * self.rounds)

    @property
    def table(self) -> Path:
        """The table of this machine."""
        return self.out / "table.csv"


def measured_step(name: str, settings: Settings) -> dict[str, Any]:
    """A step with its duration and the most memory that this process has held."""
    began = time.perf_counter()
    found = STEPS[name](settings, SearchSpace.load(settings.space))
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return found | {"seconds": time.perf_counter() - began, "peak_memory_bytes": peak}


def count(_: Settings, space: SearchSpace) -> dict[str, Any]:
    """Parameters of the extremes and of what stands beside the denoising network."""
    summary = space_summary(space)
    counted = {name: summary[name]["parameters"] for name in ("smallest", "largest")}
    counted |= {name.replace("_", " "): part["parameters"] for name, part in summary["pipeline"].items()}
    return {"parameters": counted, "architectures": summary["architectures"]}


def checkpoint(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """A backbone with random weights that diffusers saves, loaded, and compared with diffusers on one frame."""
    fields = space.file.backbone.model_dump(exclude={"pretrained"})
    channels = {"in_channels": space.latent_shape[1], "out_channels": space.latent_shape[1]}
    torch.manual_seed(0)
    theirs = UNet2DConditionModel(**(fields | channels)).eval()
    with tempfile.TemporaryDirectory(dir=settings.out) as folder:
        theirs.save_pretrained(folder)
        ours = VideoUNet(space.lower(space.smallest())).eval()
        load_pretrained(ours, space, folder)
        size_bytes = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    sample, context = torch.randn(1, 1, *space.latent_shape[1:]), torch.randn(1, *space.context_shape)
    with torch.no_grad():
        made = ours(sample, torch.tensor([500.0]), context)[:, 0]
        expected = theirs(sample[:, 0], 500, context, return_dict=False)[0]
    parameters = sum(parameter.numel() for parameter in ours.parameters())
    difference = float((made - expected).abs().max())
    return {"parameters": parameters, "size_bytes": size_bytes, "largest_difference": difference}


def search(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """A front within the space's budgets, with estimated latencies and a stand-in for quality."""
    path = settings.out / f"{settings.phone}.csv"
    if not path.is_file():
        estimate_table(space, Estimator(get_phone(settings.phone), "cpu_and_ne")).save(path)
    predictor = LatencyPredictor.open(space, path, 4)
    quality = FunctionQuality(_stand_in(space), direction="maximize", name="stand-in, no quality")
    config = SearchConfig(evaluations=settings.evaluations)
    found = run_search(
        space, predictor, quality, config, settings.out / "search.db", "stand-in",
        cost=program_costs(space, program_forms([predictor.table])),
    )  # fmt: skip
    within = [each for each in found.record.evaluations if each.feasible]
    largest_fitting = max(within, key=lambda each: each.parameters or 0).architecture
    return {
        "device": predictor.table.metadata.device_text,
        "front": len(found.front),
        "scored": len(found.record.evaluations),
        "chosen": _budget(space, predictor, found.front[-1].architecture),
        "largest": _budget(space, predictor, largest_fitting),
    }


def _budget(space: SearchSpace, predictor: LatencyPredictor, architecture: Architecture) -> dict[str, Any]:
    """An architecture, its parameters, and how the latency of a clip is composed."""
    latency = predictor.predict(architecture)
    return {
        "architecture": str(architecture),
        "id": architecture.id,
        "parameters": network_cost(space.lower(architecture)).parameters,
        "ms": {
            "text encoder": latency.text_encoder_ms,
            f"{latency.steps} calls of the denoising network": latency.steps * latency.unet_ms,
            "decoder": latency.decoder_ms,
        },
    }


def profile_blocks(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """Every distinct block in ONNX Runtime, at full shapes."""
    table = profile(space, settings.runtime, settings.table, measurement=settings.measurement)
    rows = [table.rows[block.key] for block in space_blocks(space)]
    refused = {_called(row.kind, row.key): row.status for row in rows if not row.usable}
    return {"blocks": len(rows), "measured": sum(row.usable for row in rows), "refused": refused}


def network(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """A whole network, its weights in a file beside it, called, and what the sum of its blocks says."""
    plan = space.lower(_large(settings, space))
    path, runtime = settings.out / "network" / "unet.onnx", settings.runtime
    began = time.perf_counter()
    with memory_guard("convert the network"):
        item = plan_convertible(plan)
        runtime.convert(item.module, item.inputs, item.names, path)
    conversion_s = time.perf_counter() - began
    inputs = to_arrays(item.inputs)
    del item
    call = runtime.load(path).bind(inputs)
    milliseconds = [_timed_ms(call) for _ in range(1 + settings.rounds)][1:]
    table = LatencyTable.load(settings.table)
    measured_ms = statistics.median(milliseconds)
    predicted_ms = sum(table.latency_ms(node.block) for node in plan.nodes)
    return {
        "parameters": network_cost(plan).parameters,
        "size_bytes": sum(file.stat().st_size for file in path.parent.glob("unet.onnx*")),
        "conversion_s": conversion_s,
        "measured_ms": measured_ms,
        "all_ms": milliseconds,
        "predicted_ms": predicted_ms,
        "error_percent": 100 * (predicted_ms / measured_ms - 1),
    }


def coreml(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """Every distinct block, and the same network, as Core ML programs."""
    blocks = space_blocks(space)
    results = []
    with progress_bar("converting to Core ML", len(blocks)) as advance:
        for block in blocks:
            results.append(convert(Task.of_block(block, TARGET, (space.name,))))
            advance(block.kind)
    refused = {_called(each.kind, each.key): each.reason for each in results if not each.sound}
    return {
        "blocks": len(results),
        "converted": sum(each.sound for each in results),
        "size_bytes": sum(each.size_bytes or 0 for each in results),
        "refused": refused,
        "network": _coreml_network(settings, space),
    }


def coreai(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """The largest network of the space as a Core AI asset."""
    plan = space.lower(extreme_architectures(space)[1])
    return _written(get_runtime("coreai"), plan, settings.out / "network" / "unet.aimodel")


def compressed(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    """The largest network of the space as a Core ML program with compressed weights."""
    plan = space.lower(extreme_architectures(space)[1])
    runtime = get_runtime("coreml", deployment_target=TARGET.system, weights=COMPRESSED)
    written = _written(runtime, plan, settings.out / "network" / f"unet_{COMPRESSED}.mlpackage")
    return written | {"weights": COMPRESSED}


def _coreml_network(settings: Settings, space: SearchSpace) -> dict[str, Any]:
    plan = space.lower(_large(settings, space))
    return _written(TARGET.runtime, plan, settings.out / "network" / "unet.mlpackage")


def _written(runtime: Runtime, plan: Plan, path: Path) -> dict[str, Any]:
    """What converting a network took, its parameters and the size of its file."""
    began = time.perf_counter()
    item = plan_convertible(plan)
    runtime.convert(item.module, item.inputs, item.names, path)
    return {
        "parameters": network_cost(plan).parameters,
        "size_bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "conversion_s": time.perf_counter() - began,
    }


def _large(settings: Settings, space: SearchSpace) -> Architecture:
    """The architecture with the most parameters of those whose blocks all fit into the memory of this machine."""
    usable, _ = usable_space(space, LatencyTable.load(settings.table))
    return extreme_architectures(usable)[1]


def _stand_in(space: SearchSpace) -> Callable[[Architecture], float]:
    def stand_in(architecture: Architecture) -> float:
        placed = [node.block for node in space.lower(architecture).nodes if node.slot is not None]
        return sum(math.log1p(block_cost(block).parameters) for block in placed)

    return stand_in


def _called(kind: str, key: str) -> str:
    """A block in a few words: its kind and the shape of what it reads."""
    return f"{kind} of {key.partition('[')[2].partition(' ')[0].partition(':')[2]}"


def _timed_ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - began)


STEPS: Mapping[str, Callable[[Settings, SearchSpace], dict[str, Any]]] = {
    "count": count,
    "checkpoint": checkpoint,
    "search": search,
    "profile": profile_blocks,
    "network": network,
    "coreml": coreml,
    "coreai": coreai,
    "compressed": compressed,
}
