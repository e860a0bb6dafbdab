"""Optical flow between frames: RAFT of torchvision, or any network as a TorchScript file.

A flow (N, 2, H, W) says for each pixel of the first frame how far it is to the right and below in the second frame, in
pixels.

Shape suffixes: N pairs of frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.errors import CheckpointError, ConfigError
from nas.models.weight_files import read_weights
from nas.models.weights import load_into
from nas.quality.clips.scripts import call_script, is_script, load_script

OpticalFlow = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`f(first_NCHW, second_NCHW)`: the flow of pairs of frames with pixels from 0 to 255."""

UPDATES = 20
"""Iterations of RAFT, as many as in VBench."""

_BATCH = 4
_STRIDE = 8  # RAFT works on an eighth of the resolution, and halves it three times more for correlations
_SMALLEST = 16 * _STRIDE


def load_flow(path: str | Path) -> OpticalFlow:
    """The flow of a file: weights of torchvision's RAFT (large or small), or a TorchScript file.

    Raises:
        CheckpointError: There is no such file, or it is something else.
        ConfigError: torchvision is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError("no such file", where=file, hint="give weights of RAFT, see docs/quality.md")
    if file.suffix != ".safetensors" and is_script(file):
        script = load_script(file)
        return _in_batches(lambda first, second: _checked(call_script(script, file, first, second), first, file))
    weights = read_weights(file)
    network = _raft(weights)
    load_into(network, weights, where=file)
    return _in_batches(RaftFlow(network.eval().requires_grad_(False)))


def _raft(weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """The RAFT that weights belong to, with random weights: nothing is downloaded."""
    try:
        from torchvision.models.optical_flow import raft_large, raft_small
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
        hint = 'install the extra: pip install "nas-video[flow]"; its torchvision must belong to your torch'
        raise ConfigError(f"weights of RAFT need torchvision: {error}", hint=hint) from error
    # The large network has a predictor of masks for upsampling, the small one does not.
    large = any(name.startswith("mask_predictor.") for name in weights)
    network: nn.Module = (raft_large if large else raft_small)(weights=None, progress=False)
    return network


class RaftFlow:
    """RAFT (Teed and Deng 2020, arXiv 2003.12039).

    Frames are padded at their edges to multiples of 8 pixels. RAFT needs sides of 128 pixels or more: smaller frames
    are enlarged, and the flow is reduced again.

    Args:
        network: torchvision's RAFT, or a module that is called as it is.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network

    @torch.no_grad()
    def __call__(self, first_NCHW: torch.Tensor, second_NCHW: torch.Tensor) -> torch.Tensor:
        """The flow of pairs of frames."""
        height, width = first_NCHW.shape[-2:]
        scale = max(_SMALLEST / min(height, width), 1.0)
        size = (round(height * scale), round(width * scale))
        pair = [_padded(_resized(frame_NCHW, size) / 127.5 - 1) for frame_NCHW in (first_NCHW, second_NCHW)]
        flow_N2HW: torch.Tensor = self.network(*pair, num_flow_updates=UPDATES)[-1]
        flow_N2HW = flow_N2HW[..., : size[0], : size[1]]
        return flow_N2HW if scale == 1 else _resized(flow_N2HW, (height, width)) / scale


def _resized(tensor_NCHW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(tensor_NCHW.shape[-2:]) == size:
        return tensor_NCHW
    return F.interpolate(tensor_NCHW, size, mode="bilinear", align_corners=False, antialias=True)


def _padded(frame_NCHW: torch.Tensor) -> torch.Tensor:
    """The edges repeated below and to the right, to a multiple of RAFT's stride."""
    bottom, right = (-extent % _STRIDE for extent in frame_NCHW.shape[-2:])
    return F.pad(frame_NCHW, (0, right, 0, bottom), mode="replicate")


def _in_batches(flow: OpticalFlow) -> OpticalFlow:
    """The same with few pairs at a time: correlations of all pairs of pixels take much memory."""

    def call(first_NCHW: torch.Tensor, second_NCHW: torch.Tensor) -> torch.Tensor:
        pairs = zip(torch.split(first_NCHW.float(), _BATCH), torch.split(second_NCHW.float(), _BATCH), strict=True)
        return torch.cat([flow(first, second) for first, second in pairs])

    return call


def _checked(flow_N2HW: torch.Tensor, frame_NCHW: torch.Tensor, where: Path) -> torch.Tensor:
    count, _, height, width = frame_NCHW.shape
    if tuple(flow_N2HW.shape) != (count, 2, height, width):
        what = f"returns {tuple(flow_N2HW.shape)} for {tuple(frame_NCHW.shape)}"
        raise CheckpointError(what, where=where, hint=f"a flow has the shape {(count, 2, height, width)}")
    return flow_N2HW


def warped(frame_NCHW: torch.Tensor, flow_N2HW: torch.Tensor) -> torch.Tensor:
    """The frame as seen from pixels that look along a flow: `out(x) = frame(x + flow(x))`, bilinear, edges repeated."""
    height, width = frame_NCHW.shape[-2:]
    y_H, x_W = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    x_NHW, y_NHW = x_W + flow_N2HW[:, 0].float(), y_H[:, None] + flow_N2HW[:, 1].float()
    # Places from -1 to 1, which are the centres of the outermost pixels.
    place_NHW2 = torch.stack([2 * x_NHW / max(width - 1, 1) - 1, 2 * y_NHW / max(height - 1, 1) - 1], dim=-1)
    return F.grid_sample(frame_NCHW.float(), place_NHW2, padding_mode="border", align_corners=True)
