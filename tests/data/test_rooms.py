"""Simulated rooms, where pyroomacoustics is installed; and what is said where it is not."""

import sys

import numpy as np
import pytest

from jaxspk.data import simulated_rooms
from jaxspk.errors import ArgumentError, MissingExtraError

RATE = 8000


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(MissingExtraError, match=r"Simulating rooms needs .*jaxspk\[augment\]"):
        simulated_rooms(1, RATE, seed=0)


def test_numbers_out_of_range_are_refused_first():
    with pytest.raises(ArgumentError, match="`count` must lie in"):
        simulated_rooms(0, RATE, seed=0)
    with pytest.raises(ArgumentError, match=r"`reverberation_seconds\[1\]` must lie in \[0.5, 2\]"):
        simulated_rooms(1, RATE, seed=0, reverberation_seconds=(0.5, 0.4))


def decay_seconds(response):
    """Time to fall by 60 dB, from the slope of the energy decay curve between -5 and -20 dB."""
    energy = np.cumsum(np.square(response[::-1].astype(np.float64)))[::-1]
    decay_db = 10 * np.log10(energy / energy[0])
    return 4 * (np.argmax(decay_db < -20) - np.argmax(decay_db < -5)) / RATE


def test_rooms_decay_as_asked_for_and_begin_with_the_direct_sound():
    pytest.importorskip("pyroomacoustics")
    for asked in (0.2, 0.5):
        rooms = simulated_rooms(4, RATE, seed=1, reverberation_seconds=(asked, asked))
        assert len({room.name for room in rooms}) == 4
        for room in rooms:
            assert room.waveform.dtype == np.float32
            assert np.argmax(np.abs(room.waveform)) == 40
            assert np.abs(room.waveform).max() == pytest.approx(0.9)
        # Sabine's formula is a rough one.
        assert np.median([decay_seconds(room.waveform) for room in rooms]) == pytest.approx(asked, rel=0.35)


def test_a_room_depends_on_seed_and_number_only():
    pytest.importorskip("pyroomacoustics")
    few, more, other = (
        simulated_rooms(1, RATE, seed=3),
        simulated_rooms(2, RATE, seed=3),
        simulated_rooms(1, RATE, seed=4),
    )
    np.testing.assert_array_equal(few[0].waveform, more[0].waveform)
    assert not np.array_equal(few[0].waveform[:500], other[0].waveform[:500])
