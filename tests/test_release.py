"""What a release states about itself, and the files that are built for it elsewhere."""

from __future__ import annotations

import subprocess
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

import nas
from nas.pipeline.config import load_run
from release.statements import NotReady, check_changelog, check_tag, version
from tests.pages import ROOT

DATED = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-02-03\n\n- New.\n\n## [1.1.0] - 2026-01-02\n\n- Old.\n"


def test_the_version_is_that_of_the_package() -> None:
    assert version() == nas.__version__


@pytest.mark.parametrize("text", ['__version__ = "1"\n', "", '__version__ = "1.2.3"\n__version__ = "1.2.4"\n'])
def test_a_version_that_is_not_stated_once_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "__init__.py").write_text(text)
    with pytest.raises(NotReady, match="state it once"):
        version(tmp_path)


def test_a_changelog_needs_a_day_and_nothing_unreleased() -> None:
    assert check_changelog(DATED, "1.2.0") == "2026-02-03"
    more = DATED.replace("## [1.2.0]", "- More.\n\n## [1.2.0]")
    day = date(2026, 3, 4)
    with pytest.raises(NotReady, match=r"rename `## \[Unreleased\]` to `## \[1.3.0\] - 2026-03-04`.* CHECK=--preview"):
        check_changelog(more, "1.3.0", day)
    with pytest.raises(NotReady, match=r"under Unreleased, but 1.2.0 is dated 2026-02-03 already; raise __version__"):
        check_changelog(more, "1.2.0", day)
    with pytest.raises(NotReady, match=r"has no day; make it `## \[1.2.0\] - 2026-03-04`"):
        check_changelog(DATED.replace(" - 2026-02-03", ""), "1.2.0", day)
    # What the first message says is enough.
    renamed = more.replace("## [Unreleased]\n", "## [Unreleased]\n\n## [1.3.0] - 2026-03-04\n")
    assert check_changelog(renamed, "1.3.0", day) == "2026-03-04"


def test_the_tag_is_on_this_commit_or_on_none(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "one")
    assert check_tag("1.0.0", tmp_path) == "no tag yet; name it v1.0.0"
    git("tag", "v1.0.0")
    assert check_tag("1.0.0", tmp_path) == "v1.0.0 is on this commit"
    with pytest.raises(NotReady, match=r"has the tag v1.0.0, and its version is 1.1.0"):
        check_tag("1.1.0", tmp_path)
    git("commit", "--quiet", "--allow-empty", "--message", "two")
    with pytest.raises(NotReady, match=r"v1.0.0 is on another commit"):
        check_tag("1.0.0", tmp_path)


def test_the_changelog_of_this_project_has_a_place_for_what_comes_next() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_smallest_example_is_a_run_of_the_space_beside_it() -> None:
    config, space = load_run(ROOT / "examples" / "smallest" / "run.yaml")
    assert space.count() == 9
    assert config.export.formats == ("safetensors", "onnx")


def test_the_image_copies_files_that_there_are_and_that_are_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_workflow_is_a_call_for_each_supported_python() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"].values()
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = [name.rpartition(" ")[2] for name in classifiers if name.startswith("Programming Language :: Python")]
    assert job["strategy"]["matrix"]["python"] == supported
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
