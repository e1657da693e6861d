"""``jaxspk changes``: tables, labels, pages and JSON; a bad file costs a line."""

import csv
import json

import numpy as np
import pytest

from jaxspk import audio
from jaxspk.cli import main
from jaxspk.systems import ChangeConfig, ChangeDetector, SpeechVectors

RATE = 8000


def voice(pitch: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.05 * sum(np.sin(2 * np.pi * k * pitch * time + k * k) for k in range(1, 9))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A talk in which the speaker changes at 3.25 s, one in which he does not, and no recording."""
    folder = tmp_path_factory.mktemp("talks")
    pause, rng = np.zeros(RATE // 2), np.random.default_rng(0)
    talks = {
        "two": [voice(210.0, 3.0), pause, voice(120.0, 4.0), pause],
        "one": [voice(210.0, 3.0), pause, voice(210.0, 4.0), pause],
    }
    for name, pieces in talks.items():
        clean = np.concatenate(pieces)
        audio.write_audio(folder / f"{name}.wav", (clean + 1e-4 * rng.normal(size=clean.size)).astype(np.float32), RATE)
    (folder / "none.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture
def by_bands(monkeypatch):
    """A detector without a network; remembers how it was asked for."""
    asked = []

    def describe(speech):
        power = np.square(np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(speech, 4000)[::800], axis=1)))
        return np.stack([band.sum(1) for band in np.array_split(power[:, :1000], 60, axis=1)], axis=1)

    def load(path=None, *, method="distance", sensitivity=1.0):
        asked.append((path, method, sensitivity))
        config = ChangeConfig(distance="cosine", window_seconds=1.0, threshold=0.3).with_sensitivity(sensitivity)
        return ChangeDetector(SpeechVectors(describe, RATE, 800, 4000, 64, windowed=True), config)

    monkeypatch.setattr(ChangeDetector, "load", load)
    return asked


def test_a_line_a_change_in_table_and_labels(recordings, by_bands, tmp_path, capsys):
    assert main(["changes", str(recordings / "two.wav"), "-o", str(tmp_path), "--sensitivity", "1.5"]) == 0
    assert by_bands == [(None, "distance", 1.5)]
    rows = list(csv.DictReader((tmp_path / "two-changes.csv").read_text().splitlines()))
    assert len(rows) == 1 and abs(float(rows[0]["seconds"]) - 3.25) < 0.05 and float(rows[0]["strength"]) > 0.2
    start, end, label = (tmp_path / "two-changes.txt").read_text().removesuffix("\n").split("\t")
    assert start == end and float(start) == pytest.approx(float(rows[0]["seconds"])) and label == "change"
    assert "1 change; " in capsys.readouterr().out


def test_json_and_a_bad_file_among_good_ones(recordings, by_bands, tmp_path, capsys):
    assert main(["changes", str(recordings), "-o", str(tmp_path), "--json"]) == 1
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert [len(one["changes"]) for one in facts["done"]] == [0, 1]
    assert [one["seconds"] for one in facts["done"]] == [8.0, 8.0]
    assert "none.wav" in facts["failed"][0]["error"] and "none.wav" in printed.err
    assert (tmp_path / "one-changes.csv").read_text() == "seconds,strength\n"
    assert not list(tmp_path.glob("none*"))


def test_the_page_plays_the_changes(recordings, by_bands, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra `reports` is not installed")
    assert main(["changes", str(recordings / "two.wav"), "-o", str(tmp_path), "--report"]) == 0
    page = (tmp_path / "two-changes.html").read_text()
    assert "Speaker changes in two.wav" in page and "data:audio/wav" in page and "0:03.2" in page


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name at least one recording"),
        (["x.wav", "--sensitivity", "0"], "--sensitivity must be positive"),
        (["x.wav", "--method", "bic", "--model", "m"], "leave --model out"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message, capsys):
    assert main(["changes", *arguments]) == 2
    assert message in capsys.readouterr().err
