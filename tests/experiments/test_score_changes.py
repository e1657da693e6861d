"""The experiment on made-up voices: settings are chosen on some people, others are scored, a page is written."""

import csv

import numpy as np
import pytest

from experiments import score_changes
from jaxspk import audio, data
from jaxspk.data import ConversationConfig
from jaxspk.systems import ChangeConfig, SpeechConfig, SpeechVectors

RATE = 16_000


@pytest.fixture
def people(tmp_path):
    """Twelve voices of one recording each, told apart by their pitch; four are held out."""
    rows = []
    time = np.arange(8 * RATE) / RATE
    rng = np.random.default_rng(0)
    for number in range(12):
        pitch = 90 * 1.13**number
        sound = 0.05 * sum(np.sin(2 * np.pi * k * pitch * time + k * k) for k in range(1, 9))
        sound[np.sin(2 * np.pi * time / 1.7) > 0.95] = 0
        waveform = (sound + 1e-4 * rng.normal(size=time.size)).astype(np.float32)
        audio.write_audio(tmp_path / f"{number}.wav", waveform, RATE, subtype="PCM_16")
        split = "test" if number % 3 == 0 else None
        rows.append(data.Utterance(tmp_path / f"{number}.wav", f"s{number}", 8.0, corpus="made up", split=split))
    data.Manifest(tuple(rows)).to_csv(tmp_path / "people.csv")
    return tmp_path / "people.csv"


def test_a_page_and_a_table(people, tmp_path, monkeypatch):
    def describe(speech):
        power = np.square(
            np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(speech, RATE // 2)[:: RATE // 10]))
        )
        return np.stack([band.sum(1) for band in np.array_split(power[:, :1000], 100, axis=1)], axis=1)

    vectors = SpeechVectors(describe, RATE, RATE // 10, RATE // 2, 64, windowed=True)
    monkeypatch.setattr(score_changes, "speech_vectors", lambda config: {score_changes.EMBEDDINGS: vectors})
    grid = [ChangeConfig(distance="cosine", window_seconds=1.0, threshold=threshold) for threshold in (0.3, 3.0)]
    monkeypatch.setattr(score_changes, "GRIDS", {"by bands": (score_changes.EMBEDDINGS, grid)})
    config = score_changes.Config(
        data=SpeechConfig(path=people, validation=0.3),
        corpora=("made up",),
        conversation=ConversationConfig(speakers=2, seconds=20.0, turn_seconds=(2.0, 4.0)),
        chosen_on=2,
        conversations=2,
        output=tmp_path / "out" / "changes",
    )
    score_changes.main(config)
    page = config.output.with_suffix(".md").read_text()
    assert "2 conversations, each of 2 of the 4 test speakers" in page
    # The other threshold finds nothing.
    assert "peaks of 0.3 and more" in page
    rows = {
        (row["detector"], row["tolerance"]): row
        for row in csv.DictReader(config.output.with_suffix(".csv").read_text().splitlines())
        if row["corpus"] == "all"
    }
    assert float(rows["by bands", "0.5"]["f1"]) > 0.8
    assert float(rows["every pause", "0.5"]["precision"]) < float(rows["by bands", "0.5"]["precision"])
