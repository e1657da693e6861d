import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxspk import audio
from jaxspk.data import Manifest, Utterance
from jaxspk.errors import CorpusError
from jaxspk.systems import calibration_trials

RATE = 8000


class BandEncoder:
    """Log powers of eight bands, of unit length; remembers how long what it heard was."""

    sample_rate = RATE
    shortest_seconds = 0.1

    def __init__(self):
        self.lengths = []

    def embed(self, waveform, sample_rate):
        self.lengths += [len(recording) / sample_rate for recording in waveform]
        return np.stack([self._one(recording) for recording in waveform])

    def embed_crops(self, waveform, sample_rate, *, seconds, count):
        return self.embed([waveform] * count, sample_rate)

    @staticmethod
    def _one(waveform):
        power = np.square(np.abs(np.fft.rfft(waveform))) / len(waveform)
        bands = np.log(np.array([band.mean() for band in np.array_split(power, 8)]) + 1e-6)
        bands -= bands.mean()
        return (bands / np.linalg.norm(bands)).astype(np.float32)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """Three voices of 1, 3 and 5 seconds, each in two sessions."""
    folder: Path = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for number, speaker in enumerate(("ann", "bob", "cid")):
        for take, seconds in enumerate((1.0, 3.0, 5.0)):
            time = np.arange(round(seconds * RATE)) / RATE
            loudness = np.clip(np.sin(2 * np.pi * 2 * time) + 0.3, 0, None)
            waveform = 0.3 * np.sin(2 * np.pi * 600 * (2 * number + 1) * time) * loudness
            waveform += 0.01 * rng.standard_normal(len(time))
            path = folder / f"{speaker}{take}.wav"
            audio.write_audio(path, waveform.astype(np.float32), RATE)
            utterances.append(Utterance(path, speaker, seconds, session=str(take // 2), split="validation"))
    return Manifest(tuple(utterances))


@pytest.mark.parametrize("protocol", ["whole", "ten_crops"])
def test_recordings_are_cut_to_every_duration(manifest, protocol):
    encoder, told = BandEncoder(), []
    trials = calibration_trials(encoder, manifest, protocol=protocol, durations=(2.0, None), progress=told.append)
    # At 2 s six recordings are long enough: 3 pairs of one speaker, across sessions, and 12 of two; whole, 6 and 27.
    assert trials.labels.sum() == 3 + 6 and (~trials.labels).sum() == 12 + 27
    assert told == [9, 18]
    assert set(encoder.lengths) == {2.0, 1.0, 3.0, 5.0}
    assert trials.scores[trials.labels].min() > trials.scores[~trials.labels].max()
    assert (trials.speech_seconds[:15] <= 2).all() and trials.speech_seconds.max() > 2


def test_the_same_seed_cuts_at_the_same_places(manifest):
    first, again, other = (calibration_trials(BandEncoder(), manifest, durations=(2.0,), seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.scores, again.scores)
    assert (first.scores != other.scores).any()


def test_filtered_copies_come_beside_the_recordings(manifest):
    plain, both = (calibration_trials(BandEncoder(), manifest, durations=(2.0,), equalizer_db=db) for db in (0.0, 9.0))
    count = len(plain.scores)
    assert len(both.scores) == 2 * count
    np.testing.assert_array_equal(both.scores[:count], plain.scores)
    np.testing.assert_array_equal(both.labels[count:], plain.labels)
    # Another microphone makes a voice less like itself.
    assert both.scores[count:][plain.labels].mean() < plain.scores[plain.labels].mean()


def test_a_duration_that_no_recording_has_makes_no_trials(manifest):
    assert len(calibration_trials(BandEncoder(), manifest, durations=(60.0,)).scores) == 0


def test_speakers_kept_for_testing_are_refused(manifest):
    tested = Manifest(tuple(dataclasses.replace(utterance, split="test") for utterance in manifest))
    with pytest.raises(CorpusError, match=r"3 speakers are held out for testing \(ann, bob, cid\)"):
        calibration_trials(BandEncoder(), tested)
