"""Training: the flow-matching objective, one loop for all trainers, supernets, single models, distillation."""

from nas.training.distillation import (
    AdversarialConfig,
    DistillationConfig,
    DistillationLoop,
    DistillationSettings,
    distill,
)
from nas.training.dry_run.run import DryRun, dry_run_distillation, dry_run_model, dry_run_supernet
from nas.training.encoding import EncodingRequest, EncodingSettings, encode_clips
from nas.training.engine.settings import LoopConfig
from nas.training.engine.task import TrainingTask
from nas.training.engine.trainer import Trainer, TrainingResult
from nas.training.flow.clips import open_clips
from nas.training.flow.config import SuperNetConfig, TrainingConfig
from nas.training.flow.tasks import FlowTask, SuperNetTask
from nas.training.recipes.classifier import train_classifier
from nas.training.recipes.inheriting import inherit_model
from nas.training.recipes.runs import (
    finetune_model,
    load_supernet,
    supernet_quality,
    train_model,
    train_supernet,
)
from nas.training.recipes.scoring import FinetunedFlowLoss, held_out_quality, sampled_quality
from nas.training.recipes.starting import check_start

__all__ = [
    "AdversarialConfig",
    "DistillationConfig",
    "DistillationLoop",
    "DistillationSettings",
    "DryRun",
    "EncodingRequest",
    "EncodingSettings",
    "FinetunedFlowLoss",
    "FlowTask",
    "LoopConfig",
    "SuperNetConfig",
    "SuperNetTask",
    "Trainer",
    "TrainingConfig",
    "TrainingResult",
    "TrainingTask",
    "check_start",
    "distill",
    "dry_run_distillation",
    "dry_run_model",
    "dry_run_supernet",
    "encode_clips",
    "finetune_model",
    "held_out_quality",
    "inherit_model",
    "load_supernet",
    "open_clips",
    "sampled_quality",
    "supernet_quality",
    "train_classifier",
    "train_model",
    "train_supernet",
]
