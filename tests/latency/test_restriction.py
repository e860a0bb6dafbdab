"""What cannot run on a device is left out of the space, and the rest is as it was."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli import main
from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.errors import ArchitectureError, TableError
from nas.latency import LatencyPredictor, LatencyRow, LatencyTable, TableMetadata, space_blocks, usable_space
from nas.space import NONE, Architecture, SearchSpace
from nas.space.implementations import same_function
from nas.training import SuperNetConfig, train_supernet
from tests.latency.conftest import TINY


def blocked(table: LatencyTable, keys: Iterable[str]) -> LatencyTable:
    """The table, with blocks that ran out of memory."""
    kinds = {key: table.rows[key].kind for key in keys}
    return table.add(
        LatencyRow(key=key, kind=kind, status="out_of_memory", provenance="measured") for key, kind in kinds.items()
    )


def keys_of(space: SearchSpace, architecture: Architecture) -> set[str]:
    return {block.key for block in space.lower_pipeline(architecture).blocks}


def temporal_keys(space: SearchSpace) -> list[str]:
    """Keys of the blocks that not every architecture has."""
    found = [keys_of(space, architecture) for architecture in space.enumerate()]
    return sorted(set.union(*found) - set.intersection(*found))


def the_key(table: LatencyTable, kind: str) -> str:
    (key,) = (key for key, row in table.rows.items() if row.kind == kind)
    return key


def test_what_is_left_is_every_architecture_without_a_blocked_block(space: SearchSpace, table: LatencyTable) -> None:
    keys = temporal_keys(space)
    blocks = {architecture: keys_of(space, architecture) for architecture in space.enumerate()}
    subsets = [set(some) for size in range(len(keys) + 1) for some in itertools.combinations(keys, size)]
    assert len(subsets) == 2**5
    ends = set()
    for bad in subsets:
        left = [architecture for architecture, used in blocks.items() if not used & bad]
        ends.add(bool(left))
        if not left:
            with pytest.raises(TableError, match=r"no architecture of tiny can run: up\.1/0 cannot hold conv1d: "):
                usable_space(space, blocked(table, bad))
            continue
        usable, removed = usable_space(space, blocked(table, bad))
        assert list(usable.enumerate()) == left
        assert {each.key for each in removed} == bad
        assert usable.fingerprint == space.fingerprint
    assert ends == {True, False}


def test_one_block_may_stand_in_many_slots_and_each_is_named(space: SearchSpace, table: LatencyTable) -> None:
    key = the_key(table, "conv1d")
    usable, removed = usable_space(space, blocked(table, [key]))
    assert [str(each) for each in removed] == [
        f"{slot} cannot hold conv1d: block {key} ran out of memory when it was measured"
        for slot in ("down.0/0", "up.1/0", "up.1/1")
    ]
    assert usable.removed == {each.slot: (each.candidate,) for each in removed}


def test_a_block_over_the_memory_budget_is_left_out_with_both_figures(space: SearchSpace, table: LatencyTable) -> None:
    key = the_key(table, "conv3d")
    row = LatencyRow(key=key, kind="conv3d", status="over_memory_budget", memory_bytes=3_000_001, provenance="measured")
    _, (removed,) = usable_space(space, table.add([row], memory_budget_bytes=2_000_000))
    assert (removed.slot, removed.candidate, removed.key) == ("mid/0", "conv3d", key)
    assert "3000001" in str(removed)
    assert "2000000" in str(removed)


def test_a_block_that_is_not_in_the_table_stays(space: SearchSpace, table: LatencyTable) -> None:
    rows = {key: row for key, row in table.rows.items() if row.kind != "conv3d"}
    usable, removed = usable_space(space, replace(table, rows=rows))
    assert removed == ()
    assert usable.slots == space.slots
    with pytest.raises(TableError, match=r"no latency for block conv3d\(.*measure it with"):
        LatencyPredictor(usable, replace(table, rows=rows)).fastest()


@pytest.mark.parametrize("part", ["text_encoder", "unet", "decoder"])
def test_no_architecture_can_run_without_the_blocks_all_have(
    space: SearchSpace, table: LatencyTable, part: str
) -> None:
    common = next(
        node.block.key for node in getattr(space.lower_pipeline(space.smallest()), part).nodes if node.slot is None
    )
    with pytest.raises(TableError) as caught:
        usable_space(space, replace(blocked(table, [common]), where=Path("phone.csv")))
    assert str(caught.value).startswith(f"phone.csv: no architecture of tiny can run: block {common} ran out of memory")


def test_predictions_are_as_before_and_never_ask_for_a_blocked_block(space: SearchSpace, table: LatencyTable) -> None:
    key = the_key(table, "conv3d")
    less = blocked(table, [key])
    usable, _ = usable_space(space, less)
    before, after = LatencyPredictor(space, table), LatencyPredictor(usable, less)
    left = [architecture for architecture in space.enumerate() if "conv3d" not in architecture.choices]
    pipeline_ms = [before.predict(architecture).pipeline_ms for architecture in left]
    assert [after.predict(architecture).pipeline_ms for architecture in left] == pipeline_ms
    assert after.predict_many(left).tolist() == before.predict_many(left).tolist()
    assert after.bounds() == (min(pipeline_ms), max(pipeline_ms))
    assert {after.fastest(), after.slowest()} <= set(left)


def test_predicting_an_architecture_that_cannot_run_is_an_error(space: SearchSpace, table: LatencyTable) -> None:
    less = blocked(table, [the_key(table, "conv3d")])
    usable, _ = usable_space(space, less)
    predictor = LatencyPredictor(usable, less)
    with_conv3d = next(item for item in space.enumerate() if "conv3d" in item.choices)
    with pytest.raises(ArchitectureError, match="got 'conv3d'; conv3d was removed from mid/0"):
        predictor.predict(with_conv3d)
    with pytest.raises(ArchitectureError, match="got 'conv3d'; conv3d was removed from mid/0"):
        predictor.predict_many([space.smallest(), with_conv3d])


def test_a_search_says_what_it_leaves_out_and_keeps_to_the_rest(
    space_file: Path, space: SearchSpace, table: LatencyTable, tmp_path: Path, nas: Nas
) -> None:
    video = space.file.video
    shape = ClipShape.of(video)
    clips = open_data(MovingShapesConfig(kind="moving_shapes", clips=20), shape, base=".")
    settings = SuperNetConfig(steps=1, batch_size=2, image_batch_size=1)
    train_supernet(space, clips.train, settings, tmp_path / "supernet")
    key = the_key(table, "conv3d")
    less, full = blocked(table, [key]).save(tmp_path / "less.csv"), table.save(tmp_path / "full.csv")
    command = ("search", space_file, "--supernet", tmp_path / "supernet", "--data", "moving_shapes", "--study", "s",
               "--storage", tmp_path / "s.db", "--batches", 1, "--sampler", "exhaustive")  # fmt: skip

    code, out, err = nas(*command, "--table", less.where, "--evaluations", 3)
    assert code == 0, err
    reason = f"block {key} ran out of memory when it was measured"
    assert out.startswith(f"left out: mid/0 cannot hold conv3d: {reason}\nended: ")

    code, out, err = nas(*command, "--table", less.where, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["removed"] == [{"slot": "mid/0", "candidate": "conv3d", "key": key, "reason": reason, "instead": None}]
    assert found["reason"] == "all 24 architectures of the space are scored"
    assert "conv3d" not in json.dumps(found["front"])

    code, out, err = nas(*command, "--table", full.where, "--json")
    assert (code, out) == (2, "")
    assert "another set of candidates" in err


VARIED = TINY | {
    "layers": {
        "as_conv3d": {"kind": "conv1d", "form": "conv3d"},
        "wide": {"kind": "conv1d", "kernel_size": 5},
        "split": {"kind": "self_attention_1d", "form": "split_heads"},
        "matmul": {"kind": "self_attention_1d", "form": "matmul"},
    },
    "slots": [
        {"stage": "down.0", "candidates": ["none", "conv1d", "wide", "as_conv3d"]},
        {"stage": "mid", "candidates": ["self_attention_1d", "split", "matmul"]},
    ],
}


@pytest.fixture
def varied() -> SearchSpace:
    return SearchSpace.from_dict(VARIED, where="varied.yaml")


def timed(space: SearchSpace, **latencies_ms: float) -> LatencyTable:
    """A table in which these candidates take so long, all else a millisecond; 0 leaves a block out of it."""
    placed = {block: name for (_, name), block in space.placed_blocks().items()}
    given = {block: latencies_ms.get(placed.get(block, ""), 1.0) for block in space_blocks(space)}
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=latency_ms, provenance="estimated")
        for block, latency_ms in given.items()
        if latency_ms
    ]
    return LatencyTable(TableMetadata(device="a phone", runtime="coreml")).add(rows)


def left(space: SearchSpace, table: LatencyTable) -> list[tuple[str, ...]]:
    return [slot.candidates for slot in usable_space(space, table)[0].slots]


def test_of_the_implementations_of_a_layer_the_fastest_stays(varied: SearchSpace) -> None:
    table = timed(varied, conv1d=1.24, as_conv3d=0.812, wide=0.5, self_attention_1d=3, split=2, matmul=2.5)
    usable, removed = usable_space(varied, table)
    assert [slot.candidates for slot in usable.slots] == [("none", "wide", "as_conv3d"), ("split",)]
    assert [str(each) for each in removed] == [
        "down.0/0 does without conv1d: as_conv3d computes the same in 0.812 ms, this takes 1.24 ms",
        "mid/0 does without self_attention_1d: split computes the same in 2 ms, this takes 3 ms",
        "mid/0 does without matmul: split computes the same in 2 ms, this takes 2.5 ms",
    ]
    assert [each.instead for each in removed] == ["as_conv3d", "split", "split"]
    assert usable.fingerprint == varied.fingerprint
    assert usable_space(usable, table)[1] == ()


@given(st.lists(st.sampled_from([0, 0.5, 1.0, 1.5]), min_size=6, max_size=6))
@settings(max_examples=40)
def test_no_latency_is_lost_and_no_function(times: list[float]) -> None:
    """Every architecture has one of the same function left, which is as fast or faster."""
    space = SearchSpace.from_dict(VARIED)
    names = ("conv1d", "wide", "as_conv3d", "self_attention_1d", "split", "matmul")
    table = timed(space, **dict(zip(names, times, strict=True)))
    usable, removed = usable_space(space, table)
    known = {name for name, latency_ms in zip(names, times, strict=True) if latency_ms}
    assert {each.candidate for each in removed} <= known
    if known < set(names):
        assert set(names) - known <= {name for slot in usable.slots for name in slot.candidates}
        return
    before, after = LatencyPredictor(space, table), LatencyPredictor(usable, table)
    assert after.bounds()[0] == before.bounds()[0]
    assert usable.count() == 3
    for architecture in space.enumerate():
        same = [one for one in usable.enumerate() if _same(space, one, architecture)]
        assert len(same) == 1
        assert after.predict(same[0]).pipeline_ms <= before.predict(architecture).pipeline_ms


def _same(space: SearchSpace, one: Architecture, other: Architecture) -> bool:
    return all(
        a == b or (NONE not in (a, b) and same_function(space.candidates[a], space.candidates[b]))
        for a, b in zip(one.choices, other.choices, strict=True)
    )


def test_equally_fast_implementations_leave_the_first(varied: SearchSpace) -> None:
    assert left(varied, timed(varied)) == [("none", "conv1d", "wide"), ("self_attention_1d",)]


def test_an_implementation_of_unknown_latency_stays_beside_the_fastest_known_one(varied: SearchSpace) -> None:
    table = timed(varied, conv1d=9, as_conv3d=0, self_attention_1d=0, split=2, matmul=1)
    assert left(varied, table) == [("none", "conv1d", "wide", "as_conv3d"), ("self_attention_1d", "matmul")]


def test_an_implementation_that_cannot_run_competes_with_none(varied: SearchSpace) -> None:
    keys = {name: block.key for (_, name), block in varied.placed_blocks().items()}
    table = blocked(timed(varied, split=0.5, as_conv3d=2), [keys["split"], keys["conv1d"]])
    usable, removed = usable_space(varied, table)
    assert [slot.candidates for slot in usable.slots] == [("none", "wide", "as_conv3d"), ("self_attention_1d",)]
    assert {each.candidate: each.instead for each in removed} == {
        "conv1d": None, "split": None, "matmul": "self_attention_1d",
    }  # fmt: skip


def test_a_given_architecture_is_predicted_in_its_own_implementation(
    varied: SearchSpace, tmp_path: Path, nas: Nas
) -> None:
    space_file, table = tmp_path / "varied.yaml", timed(varied, conv1d=1.25, as_conv3d=5.25, split=2)
    space_file.write_text(yaml.safe_dump(VARIED), encoding="utf-8")
    table.save(tmp_path / "phone.csv")
    varied.architecture(["as_conv3d", "split"]).save(tmp_path / "slow.yaml")
    varied.architecture(["conv1d", "self_attention_1d"]).save(tmp_path / "fast.yaml")
    command = ("latency", "predict", space_file, "--table", tmp_path / "phone.csv", "--steps", 1, "--json")
    found = {}
    for name in ("slow", "fast"):
        code, out, err = nas(*command, "--architecture", tmp_path / f"{name}.yaml")
        assert code == 0, err
        (found[name],) = json.loads(out)["architectures"]
    assert found["slow"]["unet_ms"] - found["fast"]["unet_ms"] == pytest.approx(5.25 - 1.25 + 2 - 1)
    code, out, err = nas(*command[:-1])
    assert code == 0, err
    assert "left out: down.0/0 does without as_conv3d: conv1d computes the same in 1.25 ms, this takes 5.25 ms" in out


class Nas:
    """Runs the command line; the exit code, standard output and standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self.capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    return Nas(monkeypatch, capsys)
