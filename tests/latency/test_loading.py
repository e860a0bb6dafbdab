"""Loading blocks in groups: what is measured is in memory, and what has been measured is not."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from nas.latency import space_blocks
from nas.latency.profiling import loading
from nas.latency.profiling.conversions import Conversions
from nas.latency.profiling.loading import reference_block
from nas.runtimes import block_convertible, get_runtime, memory_guard
from nas.runtimes.available import data_memory_bytes
from nas.space import Block, SearchSpace
from tests.latency.conftest import TINY


def _converted(blocks: Sequence[Block], folder: Path, runtime: str) -> Conversions:
    conversions = Conversions(folder, get_runtime(runtime))
    conversions.convert({block.key: partial(block_convertible, block) for block in blocks}, lambda _: None)
    return conversions


def test_a_group_is_released_before_the_next_one_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "GROUP_BYTES", 0)
    space = SearchSpace.from_dict(TINY)
    blocks = dict.fromkeys((reference_block(space), *space_blocks(space)[:3]))
    conversions = _converted(list(blocks), tmp_path, "torch")
    earlier: weakref.ref[loading.Call] | None = None
    seen = []
    for group in loading.groups(list(blocks), reference_block(space), conversions, None):
        assert earlier is None or earlier() is None, "the call of the group before is still in memory"
        ((key, call),) = group.calls.items()
        earlier = weakref.ref(call)
        seen.append(key)
        del call
    assert seen == [block.key for block in blocks]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing refuses memory there")
def test_what_does_not_fit_beside_others_is_loaded_by_itself(tmp_path: Path) -> None:
    """3D attention over 4,096 places, in memory for one of them and not for two, nor then for half of one."""
    slots = [{"stage": "down.0", "candidates": ["none", "self_attention_3d"]}]
    space = SearchSpace.from_dict(TINY | {"video": {"frames": 16, "height": 32, "width": 32, "fps": 8}, "slots": slots})
    attention = next(block for block in space_blocks(space) if block.kind == "self_attention_3d")
    conversions = _converted([reference_block(space), attention], tmp_path, "onnxruntime")
    before = data_memory_bytes()
    held = loading.load_call(attention, conversions)
    one = data_memory_bytes() - before
    assert one > 2 * 10**8
    del held

    def loaded(limit_bytes: int) -> list[tuple[int, dict[str, str]]]:
        with memory_guard(limit_bytes=limit_bytes):
            found = loading.groups([attention, attention], reference_block(space), conversions, None)
            return [(len(group.calls), group.refused) for group in found]

    assert loaded(one * 3 // 2) == [(1, {}), (1, {})]
    assert loaded(one // 2) == [(0, {attention.key: "out_of_memory"})]
