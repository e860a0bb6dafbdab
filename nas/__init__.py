"""nas: hardware-aware search for the temporal layers of video-diffusion models that run on a phone.

The whole job is here as functions on typed objects; each name is loaded when it is first used, so that
`import nas` is cheap::

    import nas

    space = nas.SearchSpace.load("search_spaces/quickstart.yaml")
    table = nas.profile(space, nas.get_runtime("onnxruntime"), "table.csv")
    latency = nas.LatencyPredictor(space, table, steps=4)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.data import ClipShape as ClipShape
    from nas.data import MovingShapes as MovingShapes
    from nas.data import MovingShapesConfig as MovingShapesConfig
    from nas.data import VideoDataset as VideoDataset
    from nas.data import VideoFolderConfig as VideoFolderConfig
    from nas.data import open_data as open_data
    from nas.errors import NasError as NasError
    from nas.export import export_bundle as export_bundle
    from nas.latency import LatencyPredictor as LatencyPredictor
    from nas.latency import LatencyTable as LatencyTable
    from nas.latency import check_networks as check_networks
    from nas.latency import profile as profile
    from nas.models import Generation as Generation
    from nas.models import SuperNet as SuperNet
    from nas.models import VideoModel as VideoModel
    from nas.models import VideoUNet as VideoUNet
    from nas.models import network_cost as network_cost
    from nas.pipeline import run_pipeline as run_pipeline
    from nas.quality import FunctionQuality as FunctionQuality
    from nas.quality import HeldOutFlowLoss as HeldOutFlowLoss
    from nas.quality import QualityMetric as QualityMetric
    from nas.report import plot_front as plot_front
    from nas.report import plot_latency_check as plot_latency_check
    from nas.report.samples import write_samples as write_samples
    from nas.runtimes import get_runtime as get_runtime
    from nas.search import ChoiceSpace as ChoiceSpace
    from nas.search import SearchConfig as SearchConfig
    from nas.search import SumLatency as SumLatency
    from nas.search import TableLatency as TableLatency
    from nas.search import load_front as load_front
    from nas.search import load_study as load_study
    from nas.search import pick as pick
    from nas.search import rescore as rescore
    from nas.search import run_search as run_search
    from nas.space import Architecture as Architecture
    from nas.space import Plan as Plan
    from nas.space import SearchSpace as SearchSpace
    from nas.space import lower as lower
    from nas.training import AdversarialConfig as AdversarialConfig
    from nas.training import DistillationConfig as DistillationConfig
    from nas.training import DistillationLoop as DistillationLoop
    from nas.training import FinetunedFlowLoss as FinetunedFlowLoss
    from nas.training import LoopConfig as LoopConfig
    from nas.training import SuperNetConfig as SuperNetConfig
    from nas.training import TrainingConfig as TrainingConfig
    from nas.training import distill as distill
    from nas.training import finetune_model as finetune_model
    from nas.training import inherit_model as inherit_model
    from nas.training import supernet_quality as supernet_quality
    from nas.training import train_model as train_model
    from nas.training import train_supernet as train_supernet

__version__ = "0.1.0"

_HOME = {
    "nas.data": ("ClipShape", "MovingShapes", "MovingShapesConfig", "VideoDataset", "VideoFolderConfig", "open_data"),
    "nas.errors": ("NasError",),
    "nas.export": ("export_bundle",),
    "nas.latency": ("LatencyPredictor", "LatencyTable", "Protocol", "check_networks", "fit_networks", "profile"),
    "nas.models": ("Generation", "SuperNet", "VideoModel", "VideoUNet", "network_cost"),
    "nas.pipeline": ("run_pipeline",),
    "nas.quality": ("FunctionQuality", "HeldOutFlowLoss", "QualityMetric"),
    "nas.report": ("plot_front", "plot_latency_check"),
    "nas.report.samples": ("write_samples",),
    "nas.runtimes": ("get_runtime",),
    "nas.search": (
        "ChoiceSpace",
        "SearchConfig",
        "SumLatency",
        "TableLatency",
        "load_front",
        "load_study",
        "pick",
        "rescore",
        "run_search",
    ),
    "nas.space": ("Architecture", "Plan", "SearchSpace", "lower"),
    "nas.training": (
        "AdversarialConfig",
        "DistillationConfig",
        "DistillationLoop",
        "FinetunedFlowLoss",
        "LoopConfig",
        "SuperNetConfig",
        "TrainingConfig",
        "distill",
        "finetune_model",
        "inherit_model",
        "supernet_quality",
        "train_model",
        "train_supernet",
    ),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604 - all of them are names


def __getattr__(name: str) -> Any:
    if f"nas.{name}" in _HOME:
        return importlib.import_module(f"nas.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
