"""The interactive report in Chromium: without a network, on two widths, light and dark, with a pointer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.report import study_report, write_report
from tests.report import reports

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return write_report(reports.whole_report(folder), folder / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


def _open(browser: Any, report: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """The page of the report, and what it complains about."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url[:100]))
    page.goto(report.as_uri())
    page.wait_for_selector("#time-plot .trace, #time-plot .bars")
    return page, complaints


@pytest.fixture(scope="module")
def wide(browser: Any, report: Path) -> Iterator[tuple[Any, list[str]]]:
    page, complaints = _open(browser, report, 1600, "light")
    yield page, complaints
    page.context.close()


def _point(page: Any, trace: str, number: int) -> tuple[float, float, str]:
    """Where a point of the front's figure is on the screen, and the architecture that it stands for."""
    page.locator("#front-plot").scroll_into_view_if_needed()
    return tuple(
        page.evaluate(
            """([name, number]) => {
                const plot = document.getElementById("front-plot"), layout = plot._fullLayout;
                const trace = plot.data.find((each) => each.name === name), box = plot.getBoundingClientRect();
                return [box.x + layout.xaxis._offset + layout.xaxis.d2p(trace.x[number]),
                        box.y + layout.yaxis._offset + layout.yaxis.d2p(trace.y[number]), trace.customdata[number]];
            }""",
            [trace, number],
        )
    )


@pytest.mark.parametrize(("width", "scheme"), [(1600, "light"), (400, "dark")])
def test_the_page_loads_without_a_network_or_a_complaint(browser: Any, report: Path, width: int, scheme: str) -> None:
    page, complaints = _open(browser, report, width, scheme)
    page.wait_for_function("[...document.querySelectorAll('video')].every((video) => video.readyState >= 2)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("window.hacked") is None
    for plot in ("front", "importance", "parallel", "time", "check"):
        assert page.locator(f"#{plot}-plot .main-svg").count() > 0, plot
    light = sum(map(int, page.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")))
    assert (light > 600) == (scheme == "light")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"report-{width}-{scheme}.png", full_page=True)
    assert complaints == []
    page.context.close()


def test_bars_of_shares_reach_to_the_ends_of_their_intervals(browser: Any, tmp_path: Path) -> None:
    shares = reports.record_of_shares()
    report = write_report(study_report(shares, space=reports.SPACE, predictor=reports.predictor()), tmp_path / "r.html")
    page, complaints = _open(browser, report, 1600, "light")
    bars = page.evaluate(
        """(({ x, error_x, customdata }) => x.map((share, place) =>
            [customdata[place], share - error_x.arrayminus[place], share + error_x.array[place], error_x.visible]))(
            document.getElementById("front-plot").data.find((trace) => trace.name === "front"))"""
    )
    expected = {
        one.architecture.id: (max(one.devices["bench"].low_ms / 40, one.devices["phone"].low_ms / 70),
                              max(one.devices["bench"].high_ms / 40, one.devices["phone"].high_ms / 70))
        for one in shares.front
    }  # fmt: skip
    assert {name: (low, high) for name, low, high, _ in bars} == {
        name: pytest.approx(ends) for name, ends in expected.items()
    }
    assert all(visible for *_, visible in bars)
    assert "share within 80% and 90% intervals" in page.locator("#front-plot .legend").text_content()
    assert complaints == []
    page.context.close()


def test_a_pointer_over_a_point_shows_its_choices_and_figures(wide: tuple[Any, list[str]]) -> None:
    page, _ = wide
    x, y, name = _point(page, "front", 2)
    page.mouse.move(x, y)
    page.wait_for_selector("#front-plot .hoverlayer .hovertext")
    text = page.locator("#front-plot .hoverlayer").text_content()
    (scored,) = [one for one in reports.record().evaluations if one.architecture.id == name]
    assert f"{scored.latency_ms:.4g} ms" in text
    assert f"{scored.quality:.4g} ± " in text
    assert all(layer in text for layer in scored.architecture.choices if layer != "none")


def test_a_click_selects_an_architecture_everywhere(wide: tuple[Any, list[str]]) -> None:
    page, complaints = wide
    x, y, name = _point(page, "front", 1)
    page.mouse.click(x, y)
    page.wait_for_function("(name) => document.getElementById('selected').textContent.includes(name)", arg=name)
    (scored,) = [one for one in reports.record().evaluations if one.architecture.id == name]
    assert page.locator("#selected .layer").all_text_contents() == list(scored.architecture.choices)
    assert f"Architecture {name}: {scored.latency_ms:.4g} ms for one clip." in page.locator("#time").text_content()
    ends = page.evaluate(
        """document.getElementById("time-plot").data.flatMap(
            (trace) => trace.x.map((ms, place) => trace.base[place] + ms))"""
    )
    assert max(ends) == pytest.approx(scored.latency_ms)
    assert complaints == []


def test_switches_change_the_axes(wide: tuple[Any, list[str]]) -> None:
    page, _ = wide
    page.locator('[data-key="x"] [data-value="log"]').click()
    assert page.evaluate("document.getElementById('front-plot').layout.xaxis.type") == "log"
    page.locator('[data-key="view"] [data-value="all"]').click()
    low, high = page.evaluate("document.getElementById('front-plot').layout.xaxis.range")
    slowest = max(one.latency_ms for one in reports.record().evaluations)
    assert low <= high
    assert 10**high >= slowest


def test_clips_play_in_step_and_stop_together(wide: tuple[Any, list[str]]) -> None:
    page, _ = wide
    page.wait_for_function("[...document.querySelectorAll('video')].every((video) => !video.paused)")
    page.locator("#play").click()
    assert page.locator("#play").text_content() == "Play"
    page.wait_for_function("[...document.querySelectorAll('video')].every((video) => video.paused && !video.seeking)")
    times = page.evaluate("[...document.querySelectorAll('video')].map((video) => video.currentTime)")
    assert max(times) - min(times) < 0.07
