"""The page of speaker changes: every change is in it, and a long recording is not."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra `reports` is not installed")

from jaxspk import reports
from jaxspk.reports import _changes_report
from jaxspk.systems import Changes


def changes(count: int, points: int = 50) -> Changes:
    times = np.linspace(1.0, 18.0, count)
    curve = np.sin(np.linspace(0, 9, points)) ** 2
    return Changes(times, np.linspace(0.2, 0.9, count), np.linspace(0.5, 19.5, points), curve)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_change_is_on_the_page(tmp_path, count):
    waveform = 0.1 * np.sin(np.arange(20 * 8000)).astype(np.float32)
    page = reports.write_changes_report(tmp_path / "p.html", "<talk>.wav", waveform, 8000, changes(count)).read_text()
    assert "Speaker changes in &lt;talk&gt;.wav" in page and "data:audio/wav" in page
    for time in changes(count).times:
        assert f'<td class="number" data-value="{float(time)}">{time:.2f}</td>' in page
    assert "1 change marked" in page if count == 1 else f"{count} changes marked" in page


def test_a_long_recording_is_opened_by_the_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(_changes_report, "_LONGEST_SECONDS", 10.0)
    page = reports.write_changes_report(
        tmp_path / "p.html", "talk", np.zeros(20 * 8000, np.float32), 8000, changes(2)
    ).read_text()
    assert "data:audio" not in page and "Open the recording to listen" in page


def test_a_long_curve_is_thinned_and_keeps_its_peaks():
    found = changes(2, points=50_000)
    times, values = _changes_report._thinned(found.moments, found.curve)
    assert len(times) == _changes_report._MOST_POINTS and values.max() == found.curve.max()
