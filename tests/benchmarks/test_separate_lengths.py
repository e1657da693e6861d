import numpy as np
import pytest

from benchmarks import separate_lengths
from jaxspk import audio


@pytest.mark.parametrize("minutes", [0.01, 0.5])
def test_the_recording_has_its_length_and_is_speech_all_along(minutes, tmp_path):
    separate_lengths._write_recording(tmp_path / "a.wav", minutes)
    waveform, sample_rate = audio.read_audio(tmp_path / "a.wav")
    assert len(waveform) == round(60 * minutes * sample_rate)
    for second in np.array_split(waveform, max(1, round(30 * minutes))):
        assert np.abs(second).max() > 0.01


def test_the_peak_is_that_of_this_process():
    before = separate_lengths._peak_mb()
    held = np.ones(40_000_000)
    assert separate_lengths._peak_mb() >= before
    assert separate_lengths._peak_mb() > held.nbytes / 1e6


def test_table_and_plot_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        separate_lengths,
        "measured",
        lambda minutes: {"seconds": 2 * minutes, "processor": 3 * minutes, "memory": 800 + minutes},
    )
    assert separate_lengths.main(["-o", str(tmp_path / "costs"), "--minutes", "5", "1"]) == 0
    assert "1 min: 2.0 s, 0.0333 of real time, 0.0500 on one core, 801 MB" in capsys.readouterr().out
    page = (tmp_path / "costs.md").read_text()
    assert "](costs.svg)" in page and "| 5 | 10.0 | 0.0333 | 0.0500 | 805 |" in page
    assert (tmp_path / "costs.svg").read_bytes().startswith(b"<svg")
    assert (tmp_path / "costs.csv").read_text().splitlines()[1].startswith("1.0,2.0")


@pytest.mark.parametrize("minutes, memory, seconds", [("5", 3000, 1), ("5", 800, 60)])
def test_a_bound_that_is_passed_is_status_1(monkeypatch, minutes, memory, seconds):
    monkeypatch.setattr(
        separate_lengths, "measured", lambda minutes: {"seconds": seconds, "processor": 1, "memory": memory}
    )
    assert separate_lengths.main(["--minutes", minutes]) == 1
