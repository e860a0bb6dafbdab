"""The pages a newcomer copies from have to work as they stand."""

from __future__ import annotations

import re
import runpy
import textwrap
from pathlib import Path

import pytest
import yaml

from nas.data import DataFile
from nas.files import load_yaml
from nas.models import make_codec
from nas.space import SearchSpace
from nas.training import open_clips
from tests.processes import run_script
from tests.tiny import ONE_LEVEL, TINY

ROOT = Path(__file__).parents[1]


def _code(page: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


@pytest.mark.slow
def test_the_python_page_runs(tmp_path: Path) -> None:
    code = _code("python.md")
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 40
    space = tmp_path / "search_spaces" / "quickstart.yaml"
    space.parent.mkdir()
    slots = [{"stage": stage, "candidates": ["none", "conv1d"]} for stage in ("down.0", "mid")]
    # In the place of one that takes half a minute.
    space.write_text(yaml.safe_dump(TINY | {"backbone": ONE_LEVEL, "slots": slots}))
    (tmp_path / "page.py").write_text(code)
    done = run_script(tmp_path, tmp_path / "page.py")
    assert done.code == 0, done.err[-3000:]
    out = tmp_path / "runs" / "python"
    assert (out / "front.png").stat().st_size > 5000
    assert (out / "bundle" / "onnx" / "unet.onnx").is_file()
    assert list((out / "samples").glob("*.mp4"))
    assert f"{SearchSpace.load(space).count()} architectures" in done.out


@pytest.mark.slow
def test_the_search_page_shows_an_example_that_runs(tmp_path: Path) -> None:
    example = ROOT / "examples" / "own_search.py"
    assert example.read_text().endswith(f"\n\n{_code('search.md')}")
    done = run_script(tmp_path, example)
    assert done.code == 0, done.err[-3000:]
    front = [line.split() for line in done.out.splitlines()]
    assert len(front) >= 4
    # Features come in any order, and a slower member of a front is a better one.
    assert all(row[3:] == sorted(row[3:]) for row in front)
    assert [row[2] for row in front] == sorted((row[2] for row in front), reverse=True)
    assert (tmp_path / "runs" / "own_search" / "front.png").stat().st_size > 5000


def test_the_data_page_packs_tars_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "page.py").write_text(_code("data.md"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("page.py", run_name="__main__")
    page = (ROOT / "docs" / "data.md").read_text()
    buckets = textwrap.dedent(page[page.index("    data:\n") : page.index("**Choice of size.**")])
    (tmp_path / "runs" / "buckets.yaml").write_text(buckets)
    space = SearchSpace.load(ROOT / "search_spaces" / "quickstart.yaml")
    for name, sizes in (("tars", {"8x32x64"}), ("buckets", {"8x32x64"})):
        config = load_yaml(tmp_path / "runs" / f"{name}.yaml", DataFile).data
        clips = open_clips(config, space, base=tmp_path / "runs")
        assert {source.size.text for source in clips.train.latents(make_codec(space))} == sizes
        assert len(clips.train) + len(clips.validation) == 44


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_each_promise_names_a_test_that_there_is() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "reliability.md").read_text())
    assert len(named) > 30
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(), test
