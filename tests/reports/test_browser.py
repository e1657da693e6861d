"""The page in a real browser; skipped, visibly, where Playwright or Chromium is not installed."""

import shutil
import time

import pytest

from jaxspk import reports

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on the PATH", allow_module_level=True)

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(sample_report, tmp_path_factory) -> str:
    return reports.write_report(tmp_path_factory.mktemp("report") / "report.html", sample_report).as_uri()


@pytest.fixture
def page(browser, address):
    """The opened page; at the end it must have complained of nothing and asked for nothing."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()
    assert not complaints
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert [url for url in requests if url.startswith("file:")] == [address]


def wait_until(page, condition: str) -> None:
    """Asks from outside until it is so: the page's own policy refuses the evaluation of text within it."""
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"still not so after 10 s: {condition}"
        page.wait_for_timeout(50)


def test_a_sound_plays(page):
    wait_until(page, "[...document.querySelectorAll('audio')].every((a) => a.readyState >= 1)")
    durations = page.evaluate("[...document.querySelectorAll('audio')].map((a) => a.duration)")
    assert durations == [3.0] * 10
    page.evaluate("document.querySelector('audio').play()")
    wait_until(page, "document.querySelector('audio').currentTime > 0.2")


def test_one_sound_plays_at_a_time_and_the_outline_moves_it(page):
    page.evaluate("document.querySelectorAll('audio')[0].play()")
    page.evaluate("document.querySelectorAll('audio')[1].play()")
    wait_until(page, "document.querySelectorAll('audio')[0].paused")
    assert not page.evaluate("document.querySelectorAll('audio')[1].paused")
    page.evaluate("document.querySelectorAll('audio')[1].pause()")
    page.locator(".outline").nth(1).click()
    wait_until(page, "Math.abs(document.querySelectorAll('audio')[1].currentTime - 1.5) < 0.1")
    wait_until(page, "Math.abs(parseFloat(document.querySelectorAll('.cursor')[1].getAttribute('x1')) - 50) < 4")


def test_every_picture_is_drawn(page):
    widths = page.evaluate("[...document.images].map((i) => i.complete ? i.naturalWidth : 0)")
    assert len(widths) == 7 and min(widths) > 500


def test_text_from_files_is_shown(page):
    page.get_by_text("All 89 mixtures").click()
    cell = page.locator("th[scope=row]", has_text="alert")
    assert "<script>alert('x')</script> {{ 7*7 }}" in cell.inner_text()


def test_a_table_is_sorted_with_gaps_at_the_end(page):
    page.get_by_text("All 89 mixtures").click()
    table = page.locator("table[data-sortable]").last
    heading = table.get_by_role("columnheader", name="Output SDR (dB)")

    def column() -> list[str]:
        return table.locator("tbody td:nth-child(4)").all_inner_texts()

    for direction in ("descending", "ascending"):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        *texts, last = column()
        numbers = [float(text.replace("−", "-")) for text in texts]
        assert last == "NaN"
        assert numbers == sorted(numbers, reverse=direction == "descending")


@pytest.mark.parametrize("width", [320, 420, 1280])
def test_nothing_hangs_over_the_edge(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_follows_light_and_dark_mode(page):
    shots, papers = [], []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        shots.append(page.locator("img").first.screenshot())
    assert papers == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]
    # The picture too: it is an image of its own, with no access to the colours of the page.
    assert shots[0] != shots[1]


def test_the_policy_stops_what_is_not_of_the_page(browser, address):
    page = browser.new_page()
    page.goto(address)
    failures = {}
    page.on("requestfailed", lambda request: failures.update({request.url: request.failure}))
    page.evaluate("new Image().src = 'https://jaxspk.invalid/pixel.png'")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'obeyed = true'}))"
    )
    wait_until(page, "document.readyState === 'complete'")
    page.wait_for_timeout(300)
    obeyed = page.evaluate("typeof obeyed")
    page.close()
    # Refused by the policy, before any name was looked up.
    assert failures == {"https://jaxspk.invalid/pixel.png": "csp"}
    assert obeyed == "undefined"
