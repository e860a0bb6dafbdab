"""What a guide tells a user to type works; every command that a page shows is one that there is."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import NasError
from tests.pages import DOCUMENTS, GUIDES, ROOT, blocks, nas_commands
from tests.processes import run_script
from tests.tiny import ONE_LEVEL, TINY

NAS = typer.main.get_command(app)

# In the place of numbers that take hours, and of conversions: given after those of the page, they count.
SMALL = {
    "profile": "--runtime torch --rounds 3 --max-seconds 0.05 --min-seconds 0",
    "latency fit": "--networks 3 --max-seconds 0.05 --min-seconds 0",
    "latency check": "--networks 2 --times 1 --max-seconds 0.05 --min-seconds 0",
    "train": "--steps 2 --batch-size 2",
    "search": "--evaluations 4",
    "distill": "--train-steps 2 --batch-size 2 --teacher-substeps 1",
}

ONLY_TOLD = (
    "data sample search_spaces/quickstart.yaml --data my_clips/ --count 1 --out runs/seen",
    "plot --study first --storage runs/study.db --out runs/front.svg",
    "distill search_spaces/quickstart.yaml --adversarial --data my_clips/ --model runs/teacher/model --out runs/sharp",
    "generate runs/bundle --prompt 'a rabbit looks up' --out runs/bundle_by_torch.mp4",
)
"""What pages say in a sentence, or outside of the guides: they run on what the guides have made."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's files that guides name, with a space that trains in a second, and six clips."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "latency_tables").mkdir()
    spaces = folder / "search_spaces"
    shutil.copytree(ROOT / "search_spaces", spaces)
    slots = [{"stage": stage, "candidates": ["none", "conv1d", "self_attention_1d"]} for stage in ("down.0", "mid")]
    (spaces / "quickstart.yaml").write_text(yaml.safe_dump(TINY | {"backbone": ONE_LEVEL, "slots": slots}))
    clips, source = folder / "my_clips", ROOT / "examples" / "data" / "big_buck_bunny"
    clips.mkdir()
    header, *rows = (source / "captions.csv").read_text().splitlines()
    (clips / "captions.csv").write_text("\n".join([header, *rows[:6]]) + "\n")
    for row in rows[:6]:
        shutil.copy(source / row.partition(",")[0], clips)
    return folder


@pytest.fixture
def own_module() -> Iterator[None]:
    """The module that a guide has its readers write is forgotten: other tests write another one of its name."""
    sys.modules.pop("my_metrics", None)
    yield
    sys.modules.pop("my_metrics", None)


@pytest.mark.slow
@pytest.mark.usefixtures("own_module")
def test_the_guides_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as each goes on with what the one before has made."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    order = ("index", "device", "model", "data", "metric", "machines", "phone")
    assert {page.stem for page in GUIDES} == set(order), "a new guide needs a place in the order"
    ran = [words for name in order for page in GUIDES if page.stem == name for words in _run_page(page, project)]
    assert len(ran) > 25
    assert (project / "runs" / "bundle" / "manifest.json").is_file()
    assert (project / "runs" / "bundle_clip.gif").stat().st_size > 1000
    for line in ONLY_TOLD:
        _run_command(["nas", *shlex.split(line)], line, project)
    assert sorted(file.suffix for file in (project / "runs" / "seen").glob("00.*")) == [".mp4", ".png"]
    assert b"<svg" in (project / "runs" / "front.svg").read_bytes()
    assert (project / "runs" / "sharp" / "model" / "unet.safetensors").stat().st_size > 1000
    by_torch, by_onnx = (project / "runs" / f"{name}.gif" for name in ("bundle_by_torch", "bundle_clip"))
    assert 0.5 < by_torch.stat().st_size / by_onnx.stat().st_size < 2, "clips of one model and one prompt"


def _run_page(page: Path, project: Path) -> list[list[str]]:
    ran = []
    for block in blocks(page):
        if block.language in ("yaml", "python"):
            assert block.file, f"{page.name} does not say where to save\n{block.text}"
            (project / block.file).write_text(block.text)
        elif block.reason is None:
            ran += [_run_command(words, f"{page.name}: {' '.join(words)}", project) for words in block.commands()]
    return ran


def _run_command(words: list[str], where: str, project: Path) -> list[str]:
    if words[0] == "python":
        done = run_script(project, ROOT / words[1], *words[2:])
        assert done.code == 0, f"{where}\n{done.err[-2000:]}"
        return words
    assert words[0] == "nas", f"{where}: mark it with <!-- not run: reason --> if no test can run it"
    verb = next((name for name in SMALL if words[1:][: len(name.split())] == name.split()), "")
    result = CliRunner().invoke(app, [*words[1:], *([] if "--dry-run" in words else SMALL.get(verb, "").split())])
    if isinstance(result.exception, NasError) or result.exit_code:
        raise AssertionError(f"{where}\n{result.output[-2000:]}") from result.exception
    return words


def test_a_block_that_no_test_runs_says_why() -> None:
    marked = [block for page in GUIDES for block in blocks(page) if "not run" in block.before]
    assert marked
    for block in marked:
        assert block.reason is not None, f"{block.page.name}: {block.before}"
        assert len(block.reason) > 10


@pytest.mark.parametrize("page", [page for page in DOCUMENTS if any(nas_commands(page))], ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    for words in nas_commands(page):
        _parse(words, f"{page.name}: nas {' '.join(words)}")


def _parse(words: list[str], where: str) -> None:
    command: Any = NAS
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        assert words in ([], ["--help"], ["--version"]), where
        return
    given = [word for word in words if word != "..."]
    try:
        command.make_context(where, given, resilient_parsing="--help" in words)
    except Exception as problem:
        if type(problem).__name__ == "MissingParameter" and "..." in words:  # the page leaves some out
            return
        raise AssertionError(f"{where}: {problem}") from problem


def test_the_words_of_a_command_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "1. A list\n\n    nas not-this\n\nText\n\n<!-- not run: a good reason -->\n\n"
        "    nas front --study a \\\n        --json\n"
    )
    (block,) = blocks(page)
    assert (block.reason, block.commands()) == ("a good reason", [["nas", "front", "--study", "a", "--json"]])
    assert list(nas_commands(page)) == [["front", "--study", "a", "--json"]]
