"""What cannot run on a device is left out of the space, and the rest is as it was."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from nas.cli import main
from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.errors import ArchitectureError, TableError
from nas.latency import LatencyPredictor, LatencyRow, LatencyTable, usable_space
from nas.space import Architecture, SearchSpace
from nas.training import TrainingConfig, train_supernet


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
    shape = ClipShape(video.frames, video.height, video.width, video.fps)
    clips = open_data(MovingShapesConfig(kind="moving_shapes", clips=20), shape, base=".")
    settings = TrainingConfig(steps=1, batch_size=2, image_batch_size=1)
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
    assert found["removed"] == [{"slot": "mid/0", "candidate": "conv3d", "key": key, "reason": reason}]
    assert found["reason"] == "all 24 architectures of the space are scored"
    assert "conv3d" not in json.dumps(found["front"])

    code, out, err = nas(*command, "--table", full.where, "--json")
    assert (code, out) == (2, "")
    assert "another set of candidates" in err


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
