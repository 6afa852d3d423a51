"""The page in a real browser: headless Chromium, from a file, with the network watched."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic_run
from playwright.sync_api import Browser, Page, sync_playwright

from seatrial import report

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DRAWN_WITHIN_MS = 60_000

#: In one process, so that one browser and one report serve them all.
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on PATH (apt-get install chromium)"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    results = [synthetic_run.failing(folder), synthetic_run.passing(folder)]
    return report.write(folder, results, "seatrial run L5 F8 --seed 7")


@pytest.fixture(scope="module")
def opened(browser: Browser, path: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page at 1280 px, and everything it complained of or asked for."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    noise: list[str] = []
    page.on("console", lambda message: noise.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: noise.append(f"error: {error}"))
    page.on("request", lambda request: noise.append(f"request: {request.url[:200]}"))
    page.goto(path.as_uri())
    assert noise.pop(0) == f"request: {path.as_uri()}"
    yield page, noise
    page.close()


def test_it_opens_without_an_error_or_a_request_and_draws(opened: tuple[Page, list[str]]) -> None:
    page, noise = opened

    box = page.locator("#drill-L5 .figure-box")
    box.scroll_into_view_if_needed()
    page.wait_for_selector("#drill-L5 .figure-box[data-drawn]", timeout=DRAWN_WITHIN_MS)

    assert box.locator(".bars .point").count() > 5
    assert box.locator(".heatmaplayer image").count() == 3 + 6 + 1
    assert box.locator(".scatterlayer .trace").count() == 6
    assert "back after 2.4 s" in (box.text_content() or "")
    assert page.locator("table.events tr.named").count() >= 2
    assert noise == []


def test_a_closed_drill_draws_when_it_is_opened(opened: tuple[Page, list[str]]) -> None:
    page, noise = opened
    assert page.locator("#drill-F8 .figure-box").get_attribute("data-drawn") is None

    page.locator("table.verdicts a[href='#drill-F8']").click()
    page.locator("#drill-F8 .figure-box").scroll_into_view_if_needed()
    page.wait_for_selector("#drill-F8 .figure-box[data-drawn]", timeout=DRAWN_WITHIN_MS)

    assert page.locator("#drill-F8 .main-svg").count() > 0
    assert noise == []


def test_dark_and_light_follow_the_reader(opened: tuple[Page, list[str]]) -> None:
    page, noise = opened
    page.locator("#drill-L5 .figure-box").scroll_into_view_if_needed()
    page.wait_for_selector("#drill-L5 .figure-box[data-drawn]", timeout=DRAWN_WITHIN_MS)
    ink = "getComputedStyle(document.querySelector('#drill-L5 .ytick text')).fill"
    grounds: list[str] = []
    inks: list[str] = []

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "(old) => getComputedStyle(document.querySelector('#drill-L5 .ytick text')).fill !== old",
            arg=inks[-1] if inks else "",
        )
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inks.append(page.evaluate(ink))

    assert len(set(grounds)) == 2
    assert len(set(inks)) == 2
    assert noise == []


def test_it_fits_the_screen(browser: Browser, path: Path) -> None:
    """Opened on a narrow one, and as that one grows."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(path.as_uri())
    page.locator("#drill-L5 .figure-box").scroll_into_view_if_needed()
    page.wait_for_selector("#drill-L5 .figure-box[data-drawn]", timeout=DRAWN_WITHIN_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    for width_px in (760, 1280):
        page.set_viewport_size({"width": width_px, "height": 800})
        page.wait_for_function(
            "(px) => document.querySelector('#drill-L5 .main-svg').clientWidth > px / 2"
            " && document.documentElement.scrollWidth <= px",
            arg=width_px,
        )
    page.close()
