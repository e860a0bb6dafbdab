"""How long a teacher and a student take for a clip, in torch and exported.

Each makes clips one at a time and in a batch, with one thread. Both are also exported to ONNX, and then make clips one
at a time with ONNX Runtime, as `nas generate --runtime onnxruntime` does. Everything is timed in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.data import prompts
from nas.export import BundleModel, export_bundle
from nas.models import VideoModel
from nas.runtimes import get_runtime

BATCH = 16
ROUNDS = 9

WAYS = {"alone": "one at a time", "in_batch": f"{BATCH} at a time", "exported": "one at a time, exported to ONNX"}


def seconds_of(
    models: Mapping[str, Path], bundles: Path, exported: Collection[str], rounds: int = ROUNDS
) -> dict[str, dict[str, float]]:
    """Seconds per clip of each model and way, and the `difference` of an exported clip from torch's.

    Args:
        models: Folders of models, by name. Each makes clips in its own number of steps, with its own guidance.
        bundles: Where they are exported to.
        exported: Names of the models that are exported.
        rounds: How often each makes clips; the median counts.
    """
    torch.set_num_threads(1)
    loaded = {name: VideoModel.load(folder) for name, folder in models.items()}
    ways = {name: dict(_in_torch(model)) for name, model in loaded.items()}
    for name in loaded.keys() & set(exported):
        ways[name]["exported"] = _exported(loaded[name], bundles / name)
    taken: dict[str, dict[str, list[float]]] = {name: {key: [] for key in calls} for name, calls in ways.items()}
    clips: dict[str, dict[str, Any]] = {name: {} for name in ways}
    for _ in range(rounds):
        for name, calls in ways.items():
            for key, call in calls.items():
                began = time.perf_counter()
                clips[name][key] = call()
                taken[name][key].append((time.perf_counter() - began) / len(clips[name][key]))
    return {
        name: {key: statistics.median(each) for key, each in keys.items()} | _difference(clips[name])
        for name, keys in taken.items()
    }


def _in_torch(model: VideoModel) -> Iterator[tuple[str, Callable[[], Any]]]:
    asked = sorted(prompts(BATCH), key=lambda prompt: len(prompt.split()))  # a bundle refuses what it cannot read whole
    yield "alone", lambda: model.generate(asked[:1])
    yield "in_batch", lambda: model.generate(asked)


def _exported(model: VideoModel, bundle: Path) -> Callable[[], Any]:
    prompt = min(prompts(BATCH), key=lambda prompt: len(prompt.split()))
    export_bundle(model, bundle, ["onnx"], prompt=prompt)
    opened = BundleModel.open(bundle, get_runtime("onnxruntime"))
    opened.warm_up(model.noise(1, 0).numpy())
    return lambda: opened.make(opened.tokenize(prompt), model.noise(1, 0).numpy()).frames_BTCHW


def _difference(clips: Mapping[str, Any]) -> dict[str, float]:
    if "exported" not in clips:
        return {}
    return {"difference": float(np.abs(clips["alone"].numpy() - clips["exported"]).max())}


def sentences(seconds: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """What was measured, in words."""
    for key, what in WAYS.items():
        listed = ", ".join(f"{name} {each[key]:.4f} s" for name, each in seconds.items() if key in each)
        if listed:
            yield f"wall time of a clip, {what}: {listed}{_ratio(seconds, key, key)}"
    if ratio := _ratio(seconds, "alone", "exported"):
        yield f"one at a time, teacher in torch and student exported{ratio}"
    for name, each in seconds.items():
        if "difference" in each:
            yield f"pixels of the exported {name}'s clip, in [-1, 1]: {each['difference']:.1e} from torch's, or less"


def _ratio(seconds: Mapping[str, Mapping[str, float]], teacher: str, student: str) -> str:
    """How much less time the student takes; nothing if one of the two was not measured."""
    took, takes = seconds["teacher"].get(teacher), seconds.get("student", {}).get(student)
    return "" if took is None or takes is None else f": {took / takes:.1f} times less"
