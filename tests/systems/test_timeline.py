"""Speech by energy, and windows over it."""

import numpy as np
import pytest

from jaxspk.systems import TimelineConfig, find_speech, window_spans

RATE = 8000


def conversation(plan):
    """Tones of some seconds with pauses after, in little noise; when they sound."""
    pieces, turns, time = [], [], 0.0
    for seconds, pause in plan:
        phase = 2 * np.pi * 150 * np.arange(round(seconds * RATE)) / RATE
        pieces += [0.05 * sum(np.sin(k * phase) for k in range(1, 9)), np.zeros(round(pause * RATE))]
        turns.append((time, time + seconds))
        time += seconds + pause
    clean = np.concatenate(pieces)
    return (clean + 1e-4 * np.random.default_rng(0).normal(size=clean.size)).astype(np.float32), turns


def test_speech_is_found_to_a_hundredth_of_a_second():
    waveform, reference = conversation([(3.0, 0.4), (2.5, 0.5), (1.5, 0.4), (4.0, 0.6)])
    np.testing.assert_allclose(find_speech(waveform, RATE) / RATE, reference, atol=0.03)


def test_pauses_are_bridged_and_clicks_dropped():
    waveform, _ = conversation([(1.0, 0.2), (1.0, 1.0), (0.1, 1.0)])
    assert len(find_speech(waveform, RATE)) == 1
    assert len(find_speech(waveform, RATE, TimelineConfig(bridge_seconds=0.1, shortest_speech_seconds=0.0))) == 3


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros(5000)])
def test_silence_has_no_speech(waveform):
    assert find_speech(waveform.astype(np.float32), RATE).shape == (0, 2)


@pytest.mark.parametrize("stretch", [1, 3, 4, 5, 9, 100])
def test_windows_cover_each_stretch_of_speech(stretch):
    spans = window_spans(np.array([[7, 7 + stretch]]), 4, 2)
    assert spans[0, 0] == 7 and spans[-1, 1] == 7 + stretch
    assert (np.diff(spans)[:, 0] == min(4, stretch)).all()
    assert (np.diff(spans[:, 0]) <= 2).all()
