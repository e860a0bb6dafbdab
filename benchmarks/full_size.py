"""The full size on this machine: costs of the 0.6 B space, which blocks convert, and how well its latency is predicted.

    python benchmarks/full_size.py --out runs/full_size [--steps count,checkpoint,...] [--json]

Each step runs in its own process, whose peak memory is part of its result:

count       parameters of the extremes and of the text encoder and decoder, counted on the meta device;
checkpoint  a backbone with random weights, saved by diffusers, loaded strictly;
search      with estimated latencies of an iPhone and a placeholder for quality, within the space's budgets;
profile     every distinct block at full shapes, measured in ONNX Runtime; blocks that exceed memory are marked;
network     the largest whole network, converted to ONNX and called, compared with the sum of its blocks;
coreml      every distinct block, and that network, converted to Core ML programs;
coreai      the largest network of the space as a Core AI asset; `conversion.py` converts and calls the blocks;
compressed  the largest network of the space as a Core ML program with weights of 6 bits.

The placeholder for quality means nothing: it grows with the temporal parameters of each stage, with diminishing
returns, so that a search can trade it against latency. The same command resumes with the results in --out. Measurements
need an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from benchmarks.full_size_steps import STEPS, Settings, measured_step
from nas.files import read_json, write_json
from nas.formatting import bytes_text

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = "SnapGen-V (arXiv 2412.10494), published: 4 steps, 0.6 B parameters, under 5 s on an iPhone 16 Pro Max"


def main() -> None:
    """Run the benchmark."""
    options = _options()
    settings = Settings(options.space, options.out, options.phone, options.threads, options.rounds, options.evaluations)
    report: dict[str, Any] = {}
    for name in options.steps:
        file = options.out / f"{name}.json"
        if not file.is_file():
            write_json(file, _in_own_process(name, settings))
        report[name] = read_json(file)
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else _show(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "snapgen_v.yaml")
    parser.add_argument("--steps", type=lambda text: text.split(","), default=list(STEPS))
    parser.add_argument("--phone", default="iphone-16-pro-max", help="phone that latencies are estimated for")
    parser.add_argument("--threads", type=int, default=2, help="threads of ONNX Runtime")
    parser.add_argument("--rounds", type=int, default=5, help="minimum number of timed calls of each block")
    parser.add_argument("--evaluations", type=int, default=300, help="evaluations of the search")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := [name for name in options.steps if name not in STEPS]:
        parser.error(f"--steps: no step {unknown[0]!r} (there are {', '.join(STEPS)})")
    if min(options.threads, options.rounds, options.evaluations) < 1:
        parser.error("at least 1 thread, round and evaluation")
    return options


def _in_own_process(name: str, settings: Settings) -> dict[str, Any]:
    """Run a step in its own process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured_step, name, settings).result()


def _show(report: Mapping[str, Mapping[str, Any]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    for name, found in report.items():
        table = Table("", "", title=name, title_justify="left", show_header=False)
        for title, fact in _FACTS[name](found).items():
            table.add_row(title, fact)
        table.add_row("took", f"{found['seconds']:.0f} s, {bytes_text(found['peak_memory_bytes'])} of memory at most")
        console.print(table)


def _count(found: Mapping[str, Any]) -> dict[str, str]:
    return {f"parameters, {name}": f"{value:,}" for name, value in found["parameters"].items()} | {
        "architectures": f"{found['architectures']:,}"
    }


def _checkpoint(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        "weights loaded strictly": f"{found['parameters']:,}",
        "file": bytes_text(found["size_bytes"]),
        "largest difference to diffusers": f"{found['largest_difference']:.2g}",
    }


def _search(found: Mapping[str, Any]) -> dict[str, str]:
    chosen, largest = found["chosen"], found["largest"]
    total, largest_ms = (sum(one["ms"].values()) for one in (chosen, largest))
    parts = {f"{part}, estimated": f"{ms:,.0f} ms ({ms / total:.0%})" for part, ms in chosen["ms"].items()}
    return {
        "device": found["device"],
        "front": f"{found['front']} architectures within the budgets, of {found['scored']} scored by a stand-in",
        "chosen": chosen["architecture"],
        "parameters": f"{chosen['parameters']:,}",
        **parts,
        "clip, estimated": f"{total:,.0f} ms",
        "the largest within the budgets": f"{largest['parameters']:,} parameters, {largest_ms:,.0f} ms, estimated",
        "to compare": PUBLISHED,
    }


def _profile(found: Mapping[str, Any]) -> dict[str, str]:
    refused = {f"refused: {kind}": reason for kind, reason in found["refused"].items()}
    return {"blocks measured": f"{found['measured']} of {found['blocks']}"} | refused


def _network(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        "parameters": f"{found['parameters']:,}",
        "files": bytes_text(found["size_bytes"]),
        "conversion": f"{found['conversion_s']:.0f} s",
        "call, measured": f"{found['measured_ms'] / 1e3:.2f} s, median of {len(found['all_ms'])}",
        "sum of its blocks": f"{found['predicted_ms'] / 1e3:.2f} s ({found['error_percent']:+.1f}%)",
    }


def _coreml(found: Mapping[str, Any]) -> dict[str, str]:
    refused = {f"refused: {kind}": reason for kind, reason in found["refused"].items()}
    network = found["network"]
    return {
        "blocks converted": f"{found['converted']} of {found['blocks']}, {bytes_text(found['size_bytes'])}",
        **refused,
        "network": f"{network['parameters']:,} parameters in {bytes_text(network['size_bytes'])}",
        "its conversion": f"{network['conversion_s']:.0f} s",
    }


def _coreai(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        "network": f"{found['parameters']:,} parameters in {bytes_text(found['size_bytes'])}",
        "its conversion": f"{found['conversion_s']:.0f} s",
    }


def _compressed(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        "network": f"{found['parameters']:,} parameters in {bytes_text(found['size_bytes'])}, {found['weights']}",
        "its conversion": f"{found['conversion_s']:.0f} s",
    }


_FACTS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "count": _count,
    "checkpoint": _checkpoint,
    "search": _search,
    "profile": _profile,
    "network": _network,
    "coreml": _coreml,
    "coreai": _coreai,
    "compressed": _compressed,
}


if __name__ == "__main__":
    main()
