"""Does the predicted latency of a clip hold for a whole clip, made in one process?

Measures the latency table of a space and fits the predictor to a few whole networks, as `nas profile` and
`nas latency fit` do. Then it exports fresh random architectures as bundles, and makes clips with them in ONNX Runtime
as `nas generate --runtime onnxruntime` does: text encoder, one call of the denoising network per step, decoder, and the
sampler between them. Clips, their single networks and some networks of the fit are called in turn, so that all of them
meet the same state of the machine. Run it on an otherwise idle machine.

    python benchmarks/pipeline_latency.py --space search_spaces/quickstart.yaml --networks 10

Four columns compare a clip with what it was expected to take: the sum of its blocks, the predictor, the predictor times
the change of the machine since the fit (`slowdown`), and the sum of its own networks, measured beside it. The last one
shows how well a clip is the sum of its networks, whatever the table says.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from nas.export import BundleModel, export_bundle
from nas.latency import (
    FitMeasurementSettings,
    LatencyFit,
    LatencyPredictor,
    LatencyTable,
    MeasurementSettings,
    fit_networks,
    fresh_architectures,
    profile,
)
from nas.latency.measuring.rounds import Call, measure, warn_if_busy
from nas.latency.measuring.timing import Timing
from nas.latency.prediction.accuracy import accuracy
from nas.models import Generation, VideoModel, example_inputs
from nas.runtimes import Runtime, get_runtime, to_arrays
from nas.runtimes.networks import plan_convertible
from nas.space import Architecture, Plan, SearchSpace

AGAIN = 5
"""Networks of the fit that are measured again, at most: they show how fast the machine is now."""


def run(space: SearchSpace, runtime: Runtime, options: dict[str, Any], work: Path) -> dict[str, Any]:
    """Measure everything; returns what is printed."""
    table = options["table"] or profile(space, runtime, work / "table.csv", measurement=options["measurement"])
    fit = None
    if options["fitted"]:
        settings, count, seed = options["fit_measurement"], options["fitted"], options["seed"]
        fit = fit_networks(space, table, runtime, networks=count, seed=seed, measurement=settings, folder=work / "nets")
    exclude = () if fit is None else tuple(network.architecture for network in fit.networks)
    fresh = fresh_architectures(space, options["networks"], options["seed"], exclude=exclude)
    calls: dict[str, Call] = {}
    for architecture in fresh:
        calls |= clip_calls(space, architecture, runtime, options["steps"], work / architecture.id)
    again = [] if fit is None else list(fit.networks)[:: -(-len(fit.networks) // AGAIN)]
    for network in again:
        plan = space.lower(space.architecture(network.choices))
        calls[f"fit {network.architecture}"] = plan_call(plan, runtime, work / "fit" / network.architecture)
    reference = ("smallest network", plan_call(space.lower(space.smallest()), runtime, work / "reference"))
    measured = measure(calls, reference, options["measurement"])
    warn_if_busy(measured.processor_share, runtime.settings.threads)
    ratios = [measured.timings[f"fit {network.architecture}"].latency_ms / network.measured_ms for network in again]
    slowdown = float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0
    rows = [compared(space, table, fit, item, measured.timings, slowdown, options["steps"]) for item in fresh]
    return summary(rows, slowdown, measured.processor_share) | {
        "space": space.name, "device": runtime.device, "runtime": runtime.name,
        "threads": runtime.settings.threads, "steps": options["steps"], "seed": options["seed"],
        "fitted": 0 if fit is None else len(fit.networks),
    }  # fmt: skip


def clip_calls(
    space: SearchSpace, architecture: Architecture, runtime: Runtime, steps: int, folder: Path
) -> dict[str, Call]:
    """The calls of an architecture's clip and of its networks alone, from a bundle with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VideoModel.build(space, architecture, Generation(steps=steps, guidance_scale=1))
    model.unet.eval()
    export_bundle(model, folder, ["onnx"])
    bundle = BundleModel.open(folder, runtime)
    tokens, noise = bundle.tokenize(""), model.noise(1, seed=0).numpy()
    calls: dict[str, Call] = {f"clip {architecture.id}": lambda: bundle.make(tokens, noise)}
    pipeline = space.lower_pipeline(architecture)
    for name, plan in (("text_encoder", pipeline.text_encoder), ("unet", pipeline.unet), ("decoder", pipeline.decoder)):
        executable = runtime.load(folder / "onnx" / f"{name}.onnx")
        calls[f"{name} {architecture.id}"] = executable.bind(to_arrays(example_inputs(plan)))
    return calls


def plan_call(plan: Plan, runtime: Runtime, folder: Path) -> Call:
    """One call of a network."""
    folder.mkdir(parents=True)
    made = plan_convertible(plan)
    return runtime.prepare(made.module, made.inputs, made.names, folder).bind(to_arrays(made.inputs))


def compared(
    space: SearchSpace, table: LatencyTable, fit: LatencyFit | None, architecture: Architecture,
    timings: Mapping[str, Timing], slowdown: float, steps: int,
) -> dict[str, Any]:  # fmt: skip
    """What the clip of an architecture took, and what it was expected to take."""
    parts = {name: timings[f"{name} {architecture.id}"].latency_ms for name in ("text_encoder", "unet", "decoder")}
    predicted_ms = LatencyPredictor(space, table, steps, fit).predict(architecture).pipeline_ms
    return {
        "architecture": architecture.id,
        "clip_ms": timings[f"clip {architecture.id}"].latency_ms,
        "interval_percent": timings[f"clip {architecture.id}"].summary.interval_percent,
        "sum_of_blocks_ms": LatencyPredictor(space, table, steps).predict(architecture).pipeline_ms,
        "predictor_ms": predicted_ms,
        "corrected_ms": predicted_ms * slowdown,
        "own_networks_ms": parts["text_encoder"] + steps * parts["unet"] + parts["decoder"],
        "parts_ms": parts,
    }


METHODS = ("sum_of_blocks_ms", "predictor_ms", "corrected_ms", "own_networks_ms")


def summary(rows: Sequence[Mapping[str, Any]], slowdown: float, processor_share: float) -> dict[str, Any]:
    """Errors of each expectation over all clips."""
    measured = [row["clip_ms"] for row in rows]
    errors = {name: asdict(accuracy([row[name] for row in rows], measured)) for name in METHODS}
    return {"rows": list(rows), "errors": errors, "slowdown": slowdown, "processor_share": processor_share}


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
    names = ("sum of blocks", "predictor", "corrected", "own networks")
    lines = [
        f"{report['space']}, {report['runtime']}, {report['threads']} thread(s), {report['device']}, "
        f"{report['steps']} steps, seed {report['seed']}, fitted to {report['fitted']} networks",
        f"slowdown since the fit: {report['slowdown']:.3f}; share of the processor: {report['processor_share']:.0%}",
        "",
        f"{'architecture':<16}{'clip, ms':>12}" + "".join(f"{name:>24}" for name in names),
    ]
    for row in report["rows"]:
        clip_ms = row["clip_ms"]
        cells = [f"{row[name]:.2f} ({row[name] / clip_ms - 1:+.1%})" for name in METHODS]
        lines.append(f"{row['architecture']:<16}{clip_ms:>12.2f}" + "".join(f"{cell:>24}" for cell in cells))
    for title, key in (("mean error", "mape"), ("worst", "worst"), ("within 5%", "within_5_percent")):
        lines.append(f"{title:<28}" + "".join(f"{report['errors'][name][key]:>24.1%}" for name in METHODS))
    return "\n".join(lines) + "\n"


def main(
    space: Annotated[Path, typer.Option(help="Search space (YAML).")] = Path("search_spaces/quickstart.yaml"),
    networks: Annotated[int, typer.Option(min=1, help="Architectures whose clips are measured.")] = 10,
    fitted: Annotated[int, typer.Option(min=0, help="Networks to fit on; 0 for plain sums.")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of a clip.")] = 4,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
    table: Annotated[Path | None, typer.Option(help="Latency table; measured anew when left out.")] = None,
    max_seconds: Annotated[float, typer.Option(help="As of nas profile.")] = 3.0,
    min_seconds: Annotated[float, typer.Option(help="Likewise.")] = 20.0,
    fit_max_seconds: Annotated[float, typer.Option(help="As of nas latency fit.")] = 10.0,
    fit_min_seconds: Annotated[float, typer.Option(help="Likewise.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the architectures.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print measured against predicted milliseconds of whole clips."""
    options = {
        "networks": networks, "fitted": fitted, "steps": steps, "seed": seed,
        "table": None if table is None else LatencyTable.load(table),
        "measurement": MeasurementSettings(max_seconds=max_seconds, min_seconds=min_seconds),
        "fit_measurement": FitMeasurementSettings(max_seconds=fit_max_seconds, min_seconds=fit_min_seconds),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        report = run(SearchSpace.load(space), get_runtime("onnxruntime", threads=threads), options, Path(work))
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if as_json else as_text(report))


if __name__ == "__main__":
    typer.run(main)
