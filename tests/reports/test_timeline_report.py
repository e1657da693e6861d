"""The page of who speaks when, as text and in a real browser."""

import shutil
import time

import numpy as np
import pytest

from jaxspk import audio, reports
from jaxspk.data import Turn
from jaxspk.errors import ArgumentError
from jaxspk.reports import CompressedSound, Lane, Timeline
from jaxspk.systems import ClusteredRecording, ClusteredSpeaker, Clustering

RATE = 16_000
HOSTILE = """"><script>alert('x')</script> {{ 7*7 }} .wav"""
TURNS = (Turn(0.5, 2.0, "1"), Turn(2.5, 3.0, "2"), Turn(3.5, 5.5, "1"))


def clustering(source, name="talk.wav", *, named=True, estimated=True):
    speakers = (
        ClusteredSpeaker(
            cluster="1", name="Ann" if named else None, probability=0.9 if named else None, seconds=3.5, turns=2
        ),
        ClusteredSpeaker(cluster="2", name=None, probability=None, seconds=0.5, turns=1),
    )
    recording = ClusteredRecording(
        recording=name, source=source, seconds=6.0, turns=TURNS, outline=np.ones(100, np.float32)
    )
    return Clustering(recordings=(recording,), speakers=speakers, estimated=estimated)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    tones = 0.2 * np.sin(2 * np.pi * 300 * np.arange(6 * RATE) / RATE)
    path = tmp_path_factory.mktemp("sound") / "talk.wav"
    audio.write_audio(path, tones.astype(np.float32), RATE)
    return path


@pytest.fixture(scope="module")
def page_file(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return reports.write_timeline_report(folder / "report.html", [clustering(recording)])


def test_the_page_says_who_and_how_much(page_file):
    page = page_file.read_text()
    for words in ("Who speaks when", "Ann", "Speaker 2", "0:03, 2 turns", "their number estimated", "0:02.5", "0.90"):
        assert words in page
    assert 'data-turns="0.5 2,3.5 5.5"' in page and 'src="data:audio/mpeg;base64,' in page
    assert "media-src data:;" in page


def test_long_recordings_are_opened_by_the_reader(recording, tmp_path):
    together = [clustering(recording), clustering(recording, HOSTILE, named=False, estimated=False)]
    page = reports.write_timeline_report(
        tmp_path / "a.html", together, sound_seconds=7.0, transductive=True
    ).read_text()
    assert page.count("data:audio/mpeg") == 1 and page.count('type="file"') == 1
    assert "media-src data: blob:;" in page and "1 of the recordings are too long" in page
    assert "<script>alert" not in page and "{{ 7*7 }}" in page
    assert "transductive" in page
    alone = reports.write_timeline_report(tmp_path / "b.html", together[1:], sound_seconds=0.0).read_text()
    assert "This recording is too long" in alone and "data:audio" not in alone and "Probability" not in alone
    assert "their number given" in alone


def test_a_timeline_must_fit_its_recording(as_a_user):
    with pytest.raises(ArgumentError, match=r"`lanes` must lie within the 2 s of 'talk', got 1 to 3 s"):
        Timeline("talk", 2.0, [Lane("Ann", "", 0, [(1.0, 3.0)])])
    with pytest.raises(ArgumentError, match="`seconds`"):
        Timeline("talk", 0.0, [])


def test_a_compressed_recording_is_as_long_as_it_was():
    tones = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE).astype(np.float32)
    sound = audio.compressed([tones[:1000], tones[1000:]], gain=2.0)
    assert len(sound) == pytest.approx(5 * audio.COMPRESSED_BYTES, rel=0.05)
    assert CompressedSound(sound, "audio/mpeg").data[:2] in (b"\xff\xf3", b"\xff\xf2", b"ID")


# --- In a browser. ---

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Opens pages; at the end none may have complained, or asked for anything but itself."""
    pages, complaints, requests = [], [], []

    def open_page(path, width=1000):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not complaints
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "blob"}


def wait_until(page, condition):
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"still not so after 10 s: {condition}"
        page.wait_for_timeout(50)


def test_a_turn_that_is_clicked_is_played_to_its_end(opened, page_file):
    page = opened(page_file)
    wait_until(page, "document.querySelector('audio').readyState >= 1")
    assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(6.0, abs=0.2)
    lane = page.locator(".lane").nth(1)
    width = lane.bounding_box()["width"]
    lane.click(position={"x": 2.7 / 6.0 * width, "y": 10})
    wait_until(page, "document.querySelector('audio').currentTime >= 2.5")
    assert page.locator(".speaking").inner_text() == "Speaker 2"
    wait_until(page, "document.querySelector('audio').paused")
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(3.0, abs=0.25)
    page.locator(".level").click(position={"x": 0.75 * width, "y": 5})
    wait_until(page, "document.querySelector('audio').currentTime >= 4.5")
    assert page.locator(".play").inner_text() == "Pause"
    page.locator(".play").click()
    wait_until(page, "document.querySelector('audio').paused")


@pytest.mark.slow
def test_keys_go_from_turn_to_turn_and_zoom_shows_more(opened, page_file):
    page = opened(page_file)
    page.locator(".track").focus()
    for place in ("0:00", "0:02", "0:03"):
        page.keyboard.press("ArrowRight")
        page.keyboard.press(" ")
        assert page.locator(".clock").inner_text() in (place, f"0:0{int(place[-1]) + 1}")
    before = page.evaluate("document.querySelector('.stretch').clientWidth")
    page.locator(".zoom .in").click()
    # Six seconds are shown whole.
    assert page.evaluate("document.querySelector('.stretch').clientWidth") == before


@pytest.mark.slow
def test_the_reader_opens_a_long_recording(opened, recording, tmp_path):
    path = reports.write_timeline_report(tmp_path / "report.html", [clustering(recording)], sound_seconds=0.0)
    page = opened(path)
    assert not page.locator(".play").is_visible()
    page.locator("input[type=file]").set_input_files(recording)
    page.locator(".play").click()
    wait_until(page, "document.querySelector('audio').currentTime > 0.2")


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_hangs_over_the_edge(opened, page_file, width):
    assert opened(page_file, width).evaluate("document.documentElement.scrollWidth") <= width
