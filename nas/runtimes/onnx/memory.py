"""Memory of an ONNX model: its weights as stored, and the peak that a session's profile reports."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime

_SAME_AS_REQUESTED = 1


@contextlib.contextmanager
def profiling(options: onnxruntime.SessionOptions) -> Iterator[onnxruntime.SessionOptions]:
    """Options for one short-lived session that writes a profile, with an allocator that counts exactly.

    A session's own allocator grows in powers of two and may count a value at twice its size. This allocator is new,
    allocates the exact size, and is freed afterwards. The profile is written to a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.add_session_config_entry("session.use_env_allocators", "1")
        _renew_shared_allocator()
        try:
            yield options
        finally:
            _renew_shared_allocator()


def _renew_shared_allocator() -> None:
    """Replace the allocator that sessions may share; the old one is freed with its sessions."""
    kinds = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    arena = onnxruntime.OrtArenaCfg(
        {
            "arena_extend_strategy": _SAME_AS_REQUESTED,
            "max_dead_bytes_per_chunk": 1,  # the rest of a free chunk is not counted as the value's
        }
    )
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", *kinds), arena)


def weight_bytes(path: Path) -> int:
    """Bytes of all constant tensors of an ONNX file, including weights in a second file."""
    graph = onnx.load(path, load_external_data=False).graph
    return sum(math.prod(tensor.dims) * _item_bytes(tensor.data_type) for tensor in graph.initializer)


def peak_value_bytes(profile: Path) -> int | None:
    """Peak memory of one call, from the profile of a session that made only this call.

    It is the allocator's own peak: values between operations, the output, and scratch memory within an operation.
    The sizes of inputs and outputs, which a profile also has, leave out scratch memory, which is most of the memory
    of some convolutions.

    Args:
        profile: The file that `InferenceSession.end_profiling` has written.

    Returns:
        Bytes; `None` with releases of ONNX Runtime before 1.28, whose profiles do not report it.
    """
    events = json.loads(profile.read_text(encoding="utf-8"))
    nodes = sorted((event for event in events if event["cat"] == "Node"), key=lambda event: event["ts"])
    values = [event["args"] for event in nodes if "mem_in_use_peak" in event["args"]]
    if not values:
        return None
    # The allocator also holds weights that the session rearranged before the call.
    before = int(values[0]["mem_bytes_in_use"]) - int(values[0]["mem_in_use_delta"])
    return max(int(value["mem_in_use_peak"]) for value in values) - before


def _item_bytes(data_type: int) -> int:
    return onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize
