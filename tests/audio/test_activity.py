"""Active-speech level against the meter of P.56 written out, and activity against librosa."""

import math

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.audio import active_intervals, active_level, speech_level, voice_activity
from jaxspk.errors import ArgumentError


def standards_meter(x, sample_rate):
    """P.56, clause 7, sample by sample: sixteen thresholds from one 16-bit step to full scale, interpolation in dB."""
    g = math.exp(-1 / (0.03 * sample_rate))
    hangover = math.ceil(0.2 * sample_rate)
    thresholds = [2.0**-15 * 2**j for j in range(16)]
    active, since = [0] * 16, [hangover] * 16
    p = q = energy = 0.0
    for sample in x.tolist():
        energy += sample * sample
        p = g * p + (1 - g) * abs(sample)
        q = g * q + (1 - g) * p
        for j, threshold in enumerate(thresholds):
            if q >= threshold:
                active[j], since[j] = active[j] + 1, 0
            elif since[j] < hangover:
                active[j], since[j] = active[j] + 1, since[j] + 1
    previous = None
    for count, threshold in zip(active, thresholds, strict=True):
        level_db, threshold_db = 10 * math.log10(energy / count), 20 * math.log10(threshold)
        excess = level_db - threshold_db - 15.9
        if excess <= 0:
            share = previous[1] / (previous[1] - excess)
            return 10 ** ((previous[0] + share * (level_db - previous[0])) / 20)
        previous = level_db, excess
    raise AssertionError("the margin was not reached")


def bursts(sample_rate=8000, seconds=6.0, seed=0):
    """Noise in syllables of changing loudness with pauses between, over a faint ground."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    loudness = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1) * (np.sin(2 * np.pi * 0.3 * time + seed) > -0.3)
    return (0.1 * loudness + 1e-4) * rng.standard_normal(len(time))


@pytest.mark.parametrize("seed", range(3))
def test_the_active_level_is_the_standards(seed):
    x = bursts(seed=seed)
    difference_db = 20 * math.log10(active_level(x, 8000) / standards_meter(x, 8000))
    assert abs(difference_db) < 0.1


@pytest.mark.speech
def test_the_active_level_of_speech_is_the_standards(speech):
    for path in sorted(speech.rglob("*.flac"))[::400][:3]:
        x, sample_rate = soundfile.read(path)
        difference_db = 20 * math.log10(active_level(x, sample_rate) / standards_meter(x, sample_rate))
        assert abs(difference_db) < 0.2


@pytest.mark.parametrize("sample_rate", [8000, 16_000])
def test_a_tone_is_active_throughout_and_a_half_silent_one_half(sample_rate):
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(10 * sample_rate) / sample_rate)
    level = speech_level(tone, sample_rate)
    np.testing.assert_allclose(level, (0.5 / math.sqrt(2), 1, 0.5 / math.sqrt(2)), rtol=0.01)
    half = speech_level(np.concatenate([tone, np.zeros_like(tone)]), sample_rate)
    # The hangover of 0.2 s counts as active.
    np.testing.assert_allclose(half.activity, 10.2 / 20, rtol=0.01)
    np.testing.assert_allclose(half.active_level, level.active_level, rtol=0.02)
    np.testing.assert_allclose(half.level, level.level / math.sqrt(2), rtol=0.01)


@given(gain=st.sampled_from([1e-12, 1e-4, 0.37, 25.0]))
def test_the_level_scales_with_the_signal(gain):
    x = bursts(seconds=2.0)
    np.testing.assert_allclose(active_level(gain * x, 8000), gain * active_level(x, 8000), rtol=1e-6)


def test_pauses_and_sign_change_nothing_much():
    x = bursts()
    with_pause = np.concatenate([np.zeros(40_000), -x, np.zeros(40_000)])
    np.testing.assert_allclose(active_level(with_pause, 8000), active_level(x, 8000), rtol=0.02)


def test_float32_is_measured_as_float64():
    x = bursts(seconds=2.0)
    np.testing.assert_allclose(active_level(x.astype(np.float32), 8000), active_level(x, 8000), rtol=1e-6)


def test_silence_has_level_zero_and_a_click_that_of_its_hangover():
    assert speech_level(np.zeros(100), 8000) == (0, 0, 0)
    click = np.zeros(16_000)
    click[4000] = 1
    level = speech_level(click, 8000)
    np.testing.assert_allclose(level.active_level, 1 / math.sqrt(1601), rtol=0.2)
    assert speech_level(np.ones(1), 8000).active_level == 1


@pytest.mark.parametrize(
    "frame_length, hop_length, threshold_db", [(2048, 512, 60.0), (400, 160, 16.0), (256, 64, 40.0)]
)
def test_intervals_are_librosas(frame_length, hop_length, threshold_db):
    for seed in range(5):
        x = bursts(seed=seed).astype(np.float32)
        actual = active_intervals(x, frame_length=frame_length, hop_length=hop_length, threshold_db=threshold_db)
        expected = librosa.effects.split(x, top_db=threshold_db, frame_length=frame_length, hop_length=hop_length)
        np.testing.assert_array_equal(actual, expected)


@given(st.lists(st.tuples(st.integers(1, 3000), st.sampled_from([0.0, 1e-4, 0.01, 1.0])), min_size=1, max_size=6))
def test_intervals_of_any_steps_are_librosas_but_in_silence(steps):
    x = np.concatenate([np.full(length, value, np.float32) for length, value in steps])
    actual = active_intervals(x, threshold_db=50.0, frame_length=256, hop_length=100)
    if not x.any():
        assert len(actual) == 0
        return
    # librosa's floor of 1e-5 is absolute; a full-scale copy is clear of it.
    expected = librosa.effects.split(x / x.max(), top_db=50.0, frame_length=256, hop_length=100)
    np.testing.assert_array_equal(actual, expected)


def test_frames_are_centred_and_counted():
    x = np.zeros(1000)
    x[500] = 1
    active = voice_activity(x, frame_length=50, hop_length=50)
    assert len(active) == 1 + 1000 // 50
    assert np.flatnonzero(active).tolist() == [10]
    assert not voice_activity(np.zeros(10)).any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: active_level(np.zeros(0), 8000), "`waveform` must be"),
        (lambda: active_level(np.zeros((2, 9)), 8000), "`waveform` must be"),
        (lambda: active_level(np.full(9, np.nan), 8000), "must be finite"),
        (lambda: active_level(np.ones(9), 0), "`sample_rate` must lie in"),
        (lambda: voice_activity(np.zeros(0)), "`waveform` must be"),
        (lambda: voice_activity(np.ones(9), threshold_db=0.0), "`threshold_db` must lie in"),
        (lambda: active_intervals(np.ones(9), hop_length=0), "`hop_length` must lie in"),
    ],
)
def test_what_does_not_fit_is_refused(make, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("sample_rate", [8000, 16_000])
def test_what_lies_below_an_edge_does_not_count(sample_rate):
    time = np.arange(4 * sample_rate) / sample_rate
    tone, hum = 0.1 * np.sin(2 * np.pi * 1000 * time), 0.3 * np.sin(2 * np.pi * 50 * time)
    assert active_level(tone + hum, sample_rate) > 3 * active_level(tone, sample_rate)
    level = active_level(tone + hum, sample_rate, high_pass_hz=200)
    assert level == pytest.approx(0.1 / math.sqrt(2), rel=0.01)


def test_the_edge_is_where_a_quarter_of_a_decibel_is_lost():
    time = np.arange(10 * 8000) / 8000
    for frequency, loss_db, tolerance in ((200, 0.25, 0.01), (400, 0.0, 0.01), (75, 50, 3.0)):
        tone = np.sin(2 * np.pi * frequency * time)
        lost = 20 * math.log10(speech_level(tone, 8000).level / speech_level(tone, 8000, high_pass_hz=200).level)
        assert lost == pytest.approx(loss_db, abs=tolerance)


@pytest.mark.parametrize("edge", [0, -1, 4000, float("nan")])
def test_an_edge_beyond_the_sample_rate_is_refused(edge):
    with pytest.raises(ArgumentError, match="`high_pass_hz` must lie in"):
        active_level(bursts(), 8000, high_pass_hz=edge)
