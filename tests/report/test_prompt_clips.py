"""`nas generate --prompts`: many clips in the names that VBench looks for, by a command that can be repeated."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import pytest
import torch

from nas.cli import main
from nas.models import Generation, VideoModel
from nas.report.prompt_clips import clips_of, read_prompts
from nas.space import SearchSpace
from tests.tiny import TINY


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    space = SearchSpace.from_dict(TINY)
    VideoModel.build(space, space.smallest(), Generation(steps=1, guidance_scale=1.0)).save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("A dog, running.\n\nA dog, running.\nAn étude in blue\n")

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["nas", "generate", "model", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out + said.err

    return call


MANY = ("--prompts", "prompts.txt", "--out", "clips", "--per-prompt", 2)


def test_a_stopped_command_makes_the_clips_that_are_missing(nas) -> None:
    code, said = nas(*MANY)
    assert (code, "4 clips made, 0 there before" in said) == (0, True)
    files = {file.name: file.read_bytes() for file in Path("clips").iterdir()}
    assert sorted(files) == sorted(f"{prompt}-{index}.mp4" for prompt in ("A dog, running.", "An étude in blue")
                                   for index in (0, 1))  # fmt: skip
    assert len(set(files.values())) == 4
    with av.open("clips/A dog, running.-1.mp4") as video:
        assert (sum(1 for _ in video.decode(video=0)), video.streams.video[0].average_rate) == (4, 8)
    Path("clips/A dog, running.-1.mp4").unlink()
    Path("clips/An étude in blue-0.mp4").unlink()
    code, said = nas(*MANY)
    assert (code, "2 clips made, 2 there before" in said) == (0, True)
    assert {file.name: file.read_bytes() for file in Path("clips").iterdir()} == files


def test_a_file_of_prompts_from_windows_is_read_as_any_other(tmp_path: Path) -> None:
    """The byte order mark would be part of the first caption and of the name of its file."""
    (tmp_path / "p.txt").write_bytes("\ufeffA dog\r\nUn été\u2028bleu\r\n\r\nA dog\r\n".encode())
    assert read_prompts(tmp_path / "p.txt") == ("A dog", "Un été\u2028bleu")


def test_a_seed_depends_on_its_prompt_and_index_alone(nas) -> None:
    one, two = clips_of(["a", "b"], 2, seed=0), clips_of(["b", "c"], 3, seed=0)
    assert one[2:] == two[:2]
    assert len({clip.seed for clip in (*one, *two)}) == 8
    assert set(one).isdisjoint(clips_of(["a", "b"], 2, seed=1))
    nas(*MANY)
    seeds = json.loads(Path("clips.json").read_text())["seeds"]
    assert seeds == {clip.file_name: clip.seed for clip in clips_of(["A dog, running.", "An étude in blue"], 2, seed=0)}


def test_clips_of_other_settings_are_not_mixed(nas) -> None:
    nas(*MANY)
    for other, what in (("--steps", "steps"), ("--seed", "seed")):
        code, said = nas(*MANY, other, 2)
        assert (code, f"clips were made with another {what}" in said) == (2, True), said


def test_a_file_of_the_users_is_not_replaced_by_the_record(nas) -> None:
    Path("clips.json").write_text('["mine"]')
    code, said = nas(*MANY)
    assert (code, "clips.json: does not say how clips were made, and would be replaced" in said) == (2, True), said
    assert (Path("clips.json").read_text(), Path("clips").exists()) == ('["mine"]', False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "clip.mp4"), "--prompt or --prompts gives what the clip should show"),
        (("--out", "clip.mp4", "--prompt", "a", "--per-prompt", 2), "--per-prompt needs --prompts"),
        (("--out", "clip", "--prompt", "a"), "the name has no suffix"),
        (("--out", "clips", "--prompts", "empty.txt"), "holds no prompts"),
        (("--out", "clips", "--prompts", "slash.txt"), "line 2: 'a/b' cannot be the name of a file"),
        (("--out", "clips", "--prompts", "long.txt"), "cannot be the name of a file"),
        (("--out", "mine", "--prompts", "prompts.txt"), "does not say how they were made"),
        ((*MANY, "--prompt", "a"), "--prompt: has no effect with --prompts"),
    ],
)
def test_what_cannot_be_done_is_one_line(nas, arguments: tuple[object, ...], message: str) -> None:
    Path("empty.txt").write_text(" \n")
    Path("slash.txt").write_text("fine\na/b\n")
    Path("long.txt").write_text("x" * 250)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    code, said = nas(*arguments)
    assert (code, message in said.splitlines()[-1]) == (2, True), said
