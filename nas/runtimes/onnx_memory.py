"""Memory of an ONNX model: its weights as stored, and the peak of a session's allocator as its profile reports it."""

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

    A session's own allocator grows in powers of two and may count a value at twice its size. This one is new, takes
    what is asked for, and is gone afterwards with all it holds. The profile is written to a temporary folder.
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
    """Put a new allocator in place of the one that sessions share which ask for it; the old one goes with them."""
    kinds = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    arena = onnxruntime.OrtArenaCfg(
        {
            "arena_extend_strategy": _SAME_AS_REQUESTED,
            "max_dead_bytes_per_chunk": 1,  # what a value leaves of a free chunk is not counted as the value's
        }
    )
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", *kinds), arena)


def weight_bytes(path: Path) -> int:
    """Bytes of all constant tensors of an ONNX file, weights in a second file included."""
    graph = onnx.load(path, load_external_data=False).graph
    return sum(math.prod(tensor.dims) * _item_bytes(tensor.data_type) for tensor in graph.initializer)


def peak_value_bytes(profile: Path) -> int | None:
    """The most memory that one call took at one time, from the profile of a session that made this one call.

    It is the allocator's own peak, which holds values between operations, the output, and scratch memory within an
    operation. Sizes of inputs and outputs alone, which a profile has as well, miss scratch memory, which in some
    convolutions is most of it.

    Args:
        profile: What `InferenceSession.end_profiling` has written.

    Returns:
        Bytes; `None` from releases of ONNX Runtime before 1.28, whose profiles do not say.
    """
    events = json.loads(profile.read_text(encoding="utf-8"))
    nodes = sorted((event for event in events if event["cat"] == "Node"), key=lambda event: event["ts"])
    values = [event["args"] for event in nodes if "mem_in_use_peak" in event["args"]]
    if not values:
        return None
    # Weights that the session has rearranged for speed are the allocator's too, from before the call.
    before = int(values[0]["mem_bytes_in_use"]) - int(values[0]["mem_in_use_delta"])
    return max(int(value["mem_in_use_peak"]) for value in values) - before


def _item_bytes(data_type: int) -> int:
    return onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize
