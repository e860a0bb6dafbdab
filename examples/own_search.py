"""A search with no video in it: which random features fit a curve best at which latency.

`python examples/own_search.py` takes seconds, and writes a study and a figure to runs/own_search/.
"""

from functools import partial
from pathlib import Path

import numpy as np

import nas

out = Path("runs/own_search")

# 1. The space: three branches whose features are concatenated. Their order does not matter, so a choice of three
#    represents all its orders: 125 combinations are 35 architectures.
KINDS = ["none", "relu_16", "relu_64", "sine_16", "sine_64"]
branches = {"branch_a": KINDS, "branch_b": KINDS, "branch_c": KINDS}
space = nas.ChoiceSpace(branches, name="features", canonical=sorted)

# 2. Latency: a value per choice; here an estimate of one microsecond per feature.
milliseconds = {kind: int(kind.partition("_")[2] or 0) / 1000 for kind in KINDS}
latency = nas.SumLatency(
    space,
    dict.fromkeys(branches, milliseconds),
    constant_ms=0.005,
    provenance="estimated",
    device="no machine in particular",
    runtime="numpy",
)


# 3. Quality: the error of a ridge regression on these features, on held-out points.
def error(architecture: nas.Architecture, seeds: int = 1) -> float:
    return float(np.mean([fit_error(architecture.choices, seed) for seed in range(seeds)]))


def fit_error(kinds: tuple[str, ...], seed: int) -> float:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, size=400)
    y = np.sin(3 * x) + np.abs(x) + 0.1 * rng.normal(size=400)
    features = [np.ones((400, 1))]
    for kind in kinds:
        name, _, width = kind.partition("_")
        waves = np.outer(x, 2 * rng.normal(size=int(width or 0))) + rng.uniform(-3, 3, size=int(width or 0))
        features.append(np.maximum(waves, 0) if name == "relu" else np.sin(waves))
    a = np.hstack(features)
    weights = np.linalg.solve(a[:200].T @ a[:200] + 0.1 * np.eye(a.shape[1]), a[:200].T @ y[:200])
    return float(np.mean((a[200:] @ weights - y[200:]) ** 2))


# 4. Search with one seed, score the front again with thirty, and plot both stages.
quality = nas.FunctionQuality(error, direction="minimize", name="error")
result = nas.run_search(space, latency, quality, nas.SearchConfig(evaluations=30), out / "study.db", "features")
careful = nas.FunctionQuality(partial(error, seeds=30), direction="minimize", name="error, 30 seeds")
record = nas.rescore(out / "study.db", "features", careful, members=15).record
for member in record.final.front:
    print(f"{member.latency_ms:.3f} ms  {member.quality:.4f}  {' '.join(member.architecture.choices)}")
nas.plot_front(record, out / "front.png", chosen=nas.pick(record).architecture)
