"""What is done to sounds many at a time: the same as one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxspk.data import Sound, change_speed, equalize, equalize_randomly, reverberate
from jaxspk.data._effects import at_distance, reverberate_crop, samples_to_play

RATE = 8000


def room(taps, direct=40, seed=0):
    rng = np.random.default_rng(seed)
    response = 0.05 * rng.normal(size=taps) * np.exp(-np.arange(taps) / (taps / 5))
    response[direct] = 0.9
    return Sound("hall", "hall", response.astype(np.float32))


@pytest.mark.parametrize("taps", [60, 900, 5000], ids=lambda taps: f"{taps} taps")
@pytest.mark.parametrize("tail_db", [0.0, -9.0, 3.0])
def test_many_crops_in_a_room_sound_as_each_by_itself(taps, tail_db):
    hall = room(taps)
    for seed in (1, 2):
        voice = np.random.default_rng(seed).normal(size=1600).astype(np.float32)
        wet = reverberate_crop(voice, hall, tail_db=tail_db, sample_rate=RATE)
        assert wet.dtype == np.float32
        expected = reverberate(voice, at_distance(hall.waveform, tail_db, RATE))
        np.testing.assert_allclose(wet, expected, atol=2e-5)


def test_crops_of_another_length_or_room_are_not_mixed_up():
    for samples, hall in ((1600, room(900)), (800, room(900)), (1600, room(900, direct=0, seed=5))):
        voice = np.random.default_rng(0).normal(size=samples).astype(np.float32)
        wet = reverberate_crop(voice, hall, tail_db=0.0, sample_rate=RATE)
        np.testing.assert_allclose(wet, reverberate(voice, hall.waveform), atol=2e-5)


@settings(max_examples=60)
@given(st.floats(0.5, 2.0), st.sampled_from([8000, 11025, 44100]), st.integers(1, 60_000))
def test_so_many_samples_are_enough_at_any_speed_and_no_more(speed, rate, samples):
    taken = samples_to_play(samples, speed, rate)
    played = len(change_speed(np.ones(taken, np.float32), speed, rate))
    assert samples <= played <= samples + 4


def test_silence_stays_silent():
    silence = np.zeros(500, np.float32)
    np.testing.assert_array_equal(reverberate_crop(silence, room(900), tail_db=0.0, sample_rate=RATE), 0)


def test_an_equalizer_without_gains_changes_nothing():
    voice = np.random.default_rng(0).normal(size=1601).astype(np.float32)
    np.testing.assert_allclose(equalize(voice, np.zeros(8), RATE), voice, atol=1e-5)
    # The level is kept, so that the same gain everywhere is none.
    np.testing.assert_allclose(equalize(voice, np.full(8, 6.0), RATE), voice, atol=1e-5)
    np.testing.assert_array_equal(equalize(np.zeros(9, np.float32), np.ones(8), RATE), 0)


def test_an_equalizer_lifts_what_it_is_told_to():
    # Two of four points evenly spaced in mel.
    points = 700 * np.expm1(np.array([1, 2]) / 3 * np.log1p(RATE / 2 / 700))
    first, second = points.round().astype(int)
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (first, second))
    heard = equalize(low + high, np.array([0.0, 0.0, 20.0, 20.0]), RATE)
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert 10 * np.log10(power[second] / power[first]) == pytest.approx(20.0, abs=0.5)
    assert np.dot(heard, heard) == pytest.approx(np.dot(low + high, low + high), rel=1e-4)


def test_an_equalizer_is_drawn_by_its_generator():
    voice = np.random.default_rng(0).normal(size=800).astype(np.float32)
    one, same, other = (equalize_randomly(voice, np.random.default_rng(seed), 5.0, RATE) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1
