from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas.errors import StorageError
from nas.files import hold
from nas.pipeline.runner import Stage, StageResult, run_stages, stage_values


class Recorder:
    """Stages that write a file each and say that they ran."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ran: list[str] = []
        self.lines: list[str] = []
        self.fail_in: str | None = None

    def stage(self, name: str, settings: Any = None, needs: tuple[str, ...] = ()) -> Stage:
        def run(folder: Path) -> StageResult:
            self.ran.append(name)
            (folder / "begun").touch()
            if name == self.fail_in:
                raise KeyboardInterrupt
            (folder / "made").write_text(str(settings))
            return StageResult(f"made {settings}", ("made",), {"settings": settings})

        return Stage(name, [settings], needs, run)

    def run(self, **settings: Any) -> list[str]:
        """Run a -> b -> c (c needs a and b), return the names that really ran."""
        self.ran.clear()
        stages = [
            self.stage("a", settings.get("a", 1)),
            self.stage("b", settings.get("b", 1), ("a",)),
            self.stage("c", settings.get("c", 1), ("a", "b")),
            self.stage("d", settings.get("d", 1)),
        ]
        with hold(self.root):
            run_stages(stages, self.root, self.lines.append)
        return list(self.ran)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def test_a_second_run_does_nothing(recorder: Recorder) -> None:
    assert recorder.run() == ["a", "b", "c", "d"]
    assert recorder.run() == []
    assert recorder.lines[-1] == "[4/4] d: made 1 (already done)"


def test_an_interrupted_stage_goes_on_in_its_own_folder(recorder: Recorder) -> None:
    recorder.fail_in = "b"
    with pytest.raises(KeyboardInterrupt):
        recorder.run()
    assert recorder.ran == ["a", "b"]
    recorder.fail_in = None
    assert recorder.run() == ["b", "c", "d"]
    assert (recorder.root / "b" / "begun").exists()


def test_changed_settings_redo_the_stage_and_what_builds_on_it(recorder: Recorder) -> None:
    recorder.run()
    (recorder.root / "b" / "notes").touch()
    assert recorder.run(b=2) == ["b", "c"]
    assert not (recorder.root / "b" / "notes").exists()
    assert (recorder.root / "b" / "made").read_text() == "2"
    assert recorder.run(b=2, a=5) == ["a", "b", "c"]


def test_what_a_changed_stage_had_made_is_kept(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    recorder.run()
    (recorder.root / "b" / "notes").write_text("mine")
    recorder.run(b=2)
    recorder.run(b=3)
    kept = recorder.root / "replaced"
    assert sorted(path.name for path in kept.iterdir()) == ["b-1", "b-2", "c-1", "c-2"]
    assert [(kept / name / "made").read_text() for name in ("b-1", "b-2")] == ["1", "2"]
    assert (kept / "b-1" / "notes").read_text() == "mine"
    assert "replaced/b-1 until you remove it" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": 3}', '{"digest": "x", "files": "made"}', "NaN", "\0"])
def test_a_damaged_note_is_one_line_that_says_how_to_go_on(recorder: Recorder, text: str) -> None:
    recorder.run()
    note = recorder.root / "stages" / "b.json"
    note.write_text(text)
    with pytest.raises(StorageError, match=r"b\.json: is damaged: .*remove it together with the folder b") as error:
        recorder.run()
    assert "\n" not in str(error.value)
    note.unlink()
    shutil.rmtree(recorder.root / "b")
    assert recorder.run() == ["b", "c"]


def test_changed_files_outside_the_run_redo_the_stage(recorder: Recorder) -> None:
    def run(contents: str) -> list[str]:
        recorder.ran.clear()
        first = dataclasses.replace(recorder.stage("a"), contents=contents)
        with hold(recorder.root):
            run_stages([first, recorder.stage("b", needs=("a",))], recorder.root, recorder.lines.append)
        return list(recorder.ran)

    assert run("one") == ["a", "b"]
    assert run("one") == []
    assert run("") == []  # the files are gone, and the stage does not need them any more
    assert run("two") == ["a", "b"]
    assert run("one") == ["a", "b"]


def test_a_run_of_an_earlier_version_notices_changes_from_now_on(recorder: Recorder) -> None:
    def run(contents: str) -> list[str]:
        recorder.ran.clear()
        with hold(recorder.root):
            stages = [dataclasses.replace(recorder.stage("a"), contents=contents)]
            run_stages(stages, recorder.root, recorder.lines.append)
        return list(recorder.ran)

    run("one")
    note = recorder.root / "stages" / "a.json"
    note.write_text(
        json.dumps({key: value for key, value in json.loads(note.read_text()).items() if key != "contents"})
    )
    assert run("one") == []
    assert run("two") == ["a"]


def test_a_lost_file_is_made_again(recorder: Recorder) -> None:
    recorder.run()
    (recorder.root / "c" / "made").unlink()
    assert recorder.run() == ["c"]


def test_values_are_kept_for_later_stages(recorder: Recorder) -> None:
    recorder.run(b=7)
    assert stage_values(recorder.root, "b") == {"settings": 7}


def test_a_marker_is_plain_json(recorder: Recorder) -> None:
    recorder.run()
    marker = json.loads((recorder.root / "stages" / "a.json").read_text())
    assert marker["done"] is True
    assert marker["files"] == ["made"]
    assert marker["seconds"] >= 0


def test_a_folder_of_somebody_else_is_left_alone(recorder: Recorder) -> None:
    (recorder.root / "b").mkdir()
    (recorder.root / "b" / "holiday.mp4").touch()
    with pytest.raises(StorageError, match="b: exists, but a run would write to it; choose another `out`"):
        recorder.run()
    assert (recorder.root / "b" / "holiday.mp4").exists()


def test_what_builds_on_a_stage_that_was_made_again_is_made_again(recorder: Recorder) -> None:
    recorder.run()
    (recorder.root / "b" / "made").unlink()
    assert recorder.run() == ["b", "c"]


def test_two_runs_do_not_share_a_folder(recorder: Recorder) -> None:
    with hold(recorder.root), pytest.raises(StorageError, match="another process is using this folder: process"):
        recorder.run()
    assert recorder.run() == ["a", "b", "c", "d"]


def test_a_stage_that_always_runs_is_done_once_per_content(recorder: Recorder) -> None:
    content = "first"

    def look(folder: Path) -> StageResult:
        return StageResult("looked", token=content)

    def run() -> list[bool]:
        recorder.ran.clear()
        stages = [Stage("look", [], (), look, always=True), recorder.stage("use", 1, ("look",))]
        return [report.skipped for report in run_stages(stages, recorder.root, recorder.lines.append)]

    assert run() == [False, False]
    assert run() == [True, True]
    content = "second"
    assert run() == [False, False]


def test_only_what_a_run_had_under_way_is_cleared(recorder: Recorder) -> None:
    recorder.run()
    left = recorder.root / "a" / "deeper" / ".nas-tmp-1-x"
    others = recorder.root / "mine" / ".nas-tmp-1-x"  # where another run may be at work
    for path in (left, others):
        path.mkdir(parents=True)
    recorder.run()
    assert not left.exists()
    assert others.exists()
