"""Who speaks when, with an embedding that tells two pitches apart."""

import itertools

import numpy as np
import pytest

from jaxspk.errors import AudioError
from jaxspk.metrics import diarization_error_rate
from jaxspk.systems import TimelineConfig, find_speech, find_turns, window_spans

RATE = 8000


def voice(pitch: float, seconds: float, seed: int = 0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    phases = np.random.default_rng(seed).uniform(0, 6, 8)
    return 0.05 * sum(np.sin(2 * np.pi * k * pitch * time + phase) for k, phase in enumerate(phases, 1))


def pitch_of(windows: np.ndarray) -> np.ndarray:
    """Where the power lies, in sixty bands."""
    power = np.square(np.abs(np.fft.rfft(windows, axis=1)))
    bands = np.array_split(power[:, : power.shape[1] // 2], 60, axis=1)
    return np.stack([band.sum(1) for band in bands], axis=1)


def conversation(plan, *, noise=1e-4, level=1.0):
    """Turns of (speaker, seconds, pause after), and who speaks when."""
    pitches = {"ann": 210.0, "bob": 120.0, "cleo": 330.0}
    pieces, turns, time = [], [], 0.0
    for speaker, seconds, pause in plan:
        pieces += [voice(pitches[speaker], seconds), np.zeros(round(pause * RATE))]
        turns.append((time, time + seconds, speaker))
        time += seconds + pause
    clean = np.concatenate(pieces)
    noisy = clean + noise * np.random.default_rng(0).normal(size=clean.size)
    return (level * noisy).astype(np.float32), turns


PLAN = [("ann", 3.0, 0.4), ("bob", 2.5, 0.5), ("ann", 1.5, 0.4), ("cleo", 4.0, 0.6), ("bob", 3.0, 0.4)]


@pytest.mark.parametrize("speakers", [3, "auto"])
@pytest.mark.parametrize("noise, level", [(1e-4, 1.0), (2e-2, 1.0), (1e-4, 0.005)], ids=["clean", "noisy", "quiet"])
def test_turns_are_found_whatever_level_and_noise(speakers, noise, level):
    waveform, reference = conversation(PLAN, noise=noise, level=level)
    turns = find_turns(waveform, RATE, pitch_of, speakers=speakers)
    errors = diarization_error_rate(reference, turns, collar_seconds=0.1)
    assert errors.rate < 0.03
    assert [turn.speaker for turn in turns] == ["1", "2", "1", "3", "2"]


def test_speakers_that_follow_without_a_pause_are_parted():
    waveform, reference = conversation([("ann", 4.0, 0.0), ("bob", 4.0, 0.0), ("ann", 3.0, 1.0)])
    turns = find_turns(waveform, RATE, pitch_of, speakers=2)
    assert diarization_error_rate(reference, turns, collar_seconds=0.3).rate < 0.05
    assert [turn.speaker for turn in turns] == ["1", "2", "1"]
    assert all(one.end <= following.start for one, following in itertools.pairwise(turns))


def test_speech_is_found_to_a_hundredth_of_a_second():
    waveform, reference = conversation(PLAN)
    found = find_speech(waveform, RATE) / RATE
    np.testing.assert_allclose(found, [turn[:2] for turn in reference], atol=0.03)


def test_pauses_are_bridged_and_clicks_dropped():
    waveform, _ = conversation([("ann", 1.0, 0.2), ("ann", 1.0, 1.0), ("bob", 0.1, 1.0)])
    assert len(find_speech(waveform, RATE)) == 1
    assert len(find_speech(waveform, RATE, TimelineConfig(bridge_seconds=0.1, shortest_speech_seconds=0.0))) == 3


@pytest.mark.parametrize("stretch", [1, 3, 4, 5, 9, 100])
def test_windows_cover_each_stretch_of_speech(stretch):
    spans = window_spans(np.array([[7, 7 + stretch]]), 4, 2)
    assert spans[0, 0] == 7 and spans[-1, 1] == 7 + stretch
    assert (np.diff(spans)[:, 0] == min(4, stretch)).all()
    assert (np.diff(spans[:, 0]) <= 2).all()


def test_windows_are_embedded_some_at_a_time():
    sizes = []

    def embed(windows):
        sizes.append(windows.shape)
        return pitch_of(windows)

    waveform, _ = conversation([("ann", 80.0, 1.0), ("bob", 70.0, 1.0)])
    find_turns(waveform, RATE, embed, speakers=2)
    assert max(count for count, _ in sizes) <= 256
    assert {samples for _, samples in sizes} == {12_000}


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros(50_000), conversation([("ann", 1.0, 5.0)])[0]])
def test_too_little_speech_is_refused_with_the_reason(as_a_user, waveform):
    with pytest.raises(AudioError, match=r"s of speech in .* s of sound, at least 2 s are needed"):
        find_turns(waveform.astype(np.float32), RATE, pitch_of)
