"""The processes of a run."""

from __future__ import annotations

import torch
from accelerate import PartialState


def only_cpu() -> bool:
    """Whether there is no accelerator; accelerate joins processes on CPUs only when it is told so."""
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def processes() -> PartialState:
    """The processes that a launcher (`accelerate launch`, `torchrun`) has started, or this one alone.

    Whoever asks accelerate first decides for the whole program, so everything in nas asks here.
    """
    return PartialState(cpu=only_cpu())
