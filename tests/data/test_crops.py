"""Crops: of the length asked for, from where they may come, each start as likely as another."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.data import crop, evenly_spaced_crops, wrap
from jaxspk.data._crops import draw_starts, first_in_speech
from jaxspk.errors import ArgumentError


def ramp(samples):
    return np.arange(samples, dtype=np.float32)


@given(st.integers(1, 50), st.integers(1, 120))
def test_wrapping_goes_round_and_leaves_what_is_long_enough(length, samples):
    wrapped = wrap(ramp(length), samples)
    assert len(wrapped) == max(length, samples)
    np.testing.assert_array_equal(wrapped, np.arange(len(wrapped)) % length)


def test_wrapping_copies_nothing_that_is_long_enough():
    waveform = ramp(10)
    assert wrap(waveform, 10) is waveform


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32))
def test_a_crop_is_a_stretch_of_the_recording_gone_round(length, samples, seed):
    cropped = crop(ramp(length), samples, np.random.default_rng(seed))
    assert cropped.shape == (samples,)
    np.testing.assert_array_equal(cropped, (cropped[0] + np.arange(samples)) % length)
    assert cropped[0] <= max(0, length - samples)


def test_every_start_is_as_likely_as_another():
    rng = np.random.default_rng(0)
    starts = np.bincount([int(crop(ramp(14), 10, rng)[0]) for _ in range(2000)], minlength=5)
    assert len(starts) == 5
    assert starts.min() > 330  # of 400, with a deviation of 18


def test_ten_crops_reach_from_the_start_to_the_end():
    # As the public code: numpy.linspace(0, samples - crop, 10), cut to integers.
    crops = evenly_spaced_crops(ramp(100), 64)
    assert crops.shape == (10, 64)
    np.testing.assert_array_equal(crops[:, 0], [0, 4, 8, 12, 16, 20, 24, 28, 32, 36])
    np.testing.assert_array_equal(np.diff(crops), 1)


def test_crops_of_a_short_recording_are_all_the_same():
    crops = evenly_spaced_crops(ramp(3), 5, 4)
    np.testing.assert_array_equal(crops, np.tile([0, 1, 2, 0, 1], (4, 1)))


def test_a_single_crop_starts_where_the_recording_does():
    np.testing.assert_array_equal(evenly_spaced_crops(ramp(9), 4, 1), [[0, 1, 2, 3]])


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 6), st.integers(0, 2**32))
def test_crops_apart_do_not_overlap_where_there_is_room(length, samples, count, seed):
    starts = sorted(draw_starts(length, samples, count, np.random.default_rng(seed), apart=True))
    assert starts[0] >= 0
    assert starts[-1] <= max(0, length - samples)
    farthest = min(samples, max(0, length - samples) // max(1, count - 1))
    assert all(later - earlier >= farthest for earlier, later in pairwise(starts))


def test_crops_apart_come_in_any_order_and_take_every_place():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_starts(10, 3, 2, rng, apart=True) for _ in range(3000)])
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    # 0 to 7 and at least 3 apart: 15 pairs, each in two orders.
    assert len(pairs) == 30
    assert (np.abs(np.diff(pairs)) >= 3).all()
    assert counts.min() > 20


def test_a_crop_that_holds_speech_is_taken_before_pauses():
    waveform = np.concatenate([np.zeros(50), np.ones(50)]).astype(np.float32)
    candidates = [np.array([0]), np.array([20]), np.array([60]), np.array([70])]
    assert first_in_speech(waveform, 1.0, candidates, 10) == 60


def test_where_all_are_pauses_the_loudest_is_taken():
    waveform = np.concatenate([np.full(50, 0.01), np.full(50, 0.02)]).astype(np.float32)
    candidates = [np.array([0, 80]), np.array([60, 70]), np.array([80, 10])]
    np.testing.assert_array_equal(first_in_speech(waveform, 1.0, candidates, 10), [60, 70])


def test_no_more_candidates_are_asked_for_than_it_takes():
    def candidates():
        yield np.array([0])
        raise AssertionError

    assert first_in_speech(np.ones(20, np.float32), 1.0, candidates(), 10) == 0


@pytest.mark.usefixtures("as_a_user")
def test_what_is_refused():
    nothing = np.zeros(0, np.float32)
    with pytest.raises(ArgumentError, match="at least one sample"):
        wrap(nothing, 5)
    with pytest.raises(ArgumentError, match="`samples` must lie in"):
        crop(ramp(5), 0, np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="`count` must lie in"):
        evenly_spaced_crops(ramp(5), 2, 0)
