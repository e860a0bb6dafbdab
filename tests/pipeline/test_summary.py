"""What the report of a run says of its front, from what the stages noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.files import write_json
from nas.pipeline.summary import run_sections

MEMBER = {"id": "a", "layers": "none", "quality": 0.5, "latency_ms": 9.0, "parameters": 10}
FRONT = MEMBER | {"members": [MEMBER], "metric": "loss", "provenance": "measured"}
AGREEMENT = {"tau": 0.714, "architectures": 58, "parts": 16}
VALUES: dict[str, dict[str, Any]] = {
    "check": {"mape_percent": 1.0, "worst_percent": 2.0, "networks": []},
    "export": {"files": []},
    "samples": {"steps": 4, "clips": [], "flicker": []},
}


def _front_text(root: Path, **values: Any) -> str:
    for name, each in (VALUES | {"front": FRONT | values}).items():
        write_json(root / "stages" / f"{name}.json", {"digest": "d", "done": True, "values": each})
    return run_sections(root, [])[0].text


def test_samples_are_shown_with_what_their_captions_are(tmp_path: Path) -> None:
    clips = [
        {"prompt": "rain", "file": "00-rain.mp4", "captions": "training"},
        {"prompt": "snow", "file": "01-snow.mp4", "captions": "held-out"},
        {"prompt": "fog", "file": "02-fog.mp4", "captions": "given"},
    ]
    flicker = [{"captions": "training", "clips": 1, "flicker": 0.02, "real": 0.01, "ratio": 2.0}]
    notes = VALUES | {"front": FRONT, "samples": {"steps": 4, "clips": clips, "flicker": flicker}}
    for name, each in notes.items():
        write_json(tmp_path / "stages" / f"{name}.json", {"digest": "d", "done": True, "values": each})
    section = run_sections(tmp_path, [])[-1]
    assert section.rows == [
        {"captions of": "training clips", "clips": 1, "flicker": 0.02, "flicker of real clips": 0.01, "ratio": 2.0}
    ]
    assert [(each.path.name, each.caption) for each in section.pictures[:3]] == [
        ("00-rain.gif", "Caption of a training clip: rain"),
        ("01-snow.gif", "Caption of a held-out clip: snow"),
        ("02-fog.gif", "Prompt: fog"),
    ]
    assert section.pictures[3].path == tmp_path / "samples" / "samples.png"


@pytest.mark.parametrize(("frozen", "words"), [(True, "was kept frozen"), (False, "was trained further")])
def test_what_the_supernet_started_from(frozen: bool, words: str, tmp_path: Path) -> None:
    trained = {"steps": 1, "loss": 0.5, "elapsed_s": 6.0}
    for start, expected in (
        ({"backbone": "images/model", "freeze_backbone": frozen}, f"from the backbone in images/model, which {words}."),
        ({"backbone": None, "freeze_backbone": frozen}, None),
        ({}, None),  # as an earlier version noted it
    ):
        for name, each in (VALUES | {"front": FRONT, "train": trained | start}).items():
            write_json(tmp_path / "stages" / f"{name}.json", {"digest": "d", "done": True, "values": each})
        section = run_sections(tmp_path, ["train"])[2]
        assert section.rows[0]["minutes"] == 0.1
        assert ("started" in section.text) == (expected is not None)
        assert (expected or "") in section.text


def test_latencies_have_their_intervals(tmp_path: Path) -> None:
    known = {"low_ms": 8.5, "high_ms": 9.75, "interval_percent": 90}
    for name, each in (VALUES | {"front": FRONT | known | {"members": [MEMBER | known, MEMBER]}}).items():
        write_json(tmp_path / "stages" / f"{name}.json", {"digest": "d", "done": True, "values": each})
    section = run_sections(tmp_path, [])[0]
    assert "9.0 ms (90%: 8.5 to 9.75) per clip" in section.text
    assert [row["interval, ms"] for row in section.rows] == ["8.5 to 9.75 (90%)", None]
    assert "interval" not in _front_text(tmp_path)


def test_a_search_alone(tmp_path: Path) -> None:
    text = _front_text(tmp_path, searched={"architectures": 60, "agreement": AGREEMENT}, rescored=None)
    assert "60 architectures were scored; the front has 1 architecture." in text
    assert "rank 58 architectures at a Kendall tau of 0.71. At 1" in text
    assert text.count("Kendall") == 1


def test_each_stage_says_what_it_knows(tmp_path: Path) -> None:
    unknown = {"architectures": 60, "agreement": None}
    known = {"architectures": 20, "agreement": AGREEMENT | {"tau": -0.1, "architectures": 20}}
    text = _front_text(tmp_path, searched=unknown, rescored=known)
    assert "60 architectures were scored, and 20 of them were scored again; the front has 1 architecture." in text
    assert "In the search" not in text
    assert "In the second scoring, two halves of the held-out probes, 16 parts in all, rank 20 " in text
    assert "tau of -0.10." in text


@pytest.mark.parametrize("values", [{}, {"searched": {"architectures": 3, "agreement": None}, "rescored": None}])
def test_what_is_not_known_is_left_out(tmp_path: Path, values: dict[str, Any]) -> None:
    """As it is of a metric without parts, and of a front that an earlier version noted."""
    text = _front_text(tmp_path, **values)
    assert text.startswith("Picked: a (none)")
    assert "Kendall" not in text
    assert "noise" not in text
