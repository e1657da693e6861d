"""Diarization errors against the definition on a grid of time steps, all ways of giving names tried."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError
from jaxspk.metrics import DiarizationErrors, diarization_error_rate

STEPS = 16


def turns(names: str):
    """Turns that begin and end at whole seconds."""
    turn = st.tuples(st.integers(0, STEPS - 1), st.integers(1, 6), st.sampled_from(names))
    return st.lists(
        turn.map(lambda drawn: (float(drawn[0]), float(min(drawn[0] + drawn[1], STEPS)), drawn[2])), max_size=6
    )


def by_definition(reference, hypothesis, skip_overlap=False):
    """Missed, false alarm, confusion and total, second by second."""

    def grid(turns):
        names = sorted({name for _, _, name in turns})
        table = np.zeros((len(names), STEPS), bool)
        for start, end, name in turns:
            table[names.index(name), int(start) : int(end)] = True
        return table

    said, heard = grid(reference), grid(hypothesis)
    if skip_overlap:
        keep = said.sum(0) < 2
        said, heard = said[:, keep], heard[:, keep]
    size = max(len(said), len(heard))
    padded = [np.pad(table, ((0, size - len(table)), (0, 0))) for table in (said, heard)]
    correct = max((padded[0] & padded[1][list(order)]).sum() for order in itertools.permutations(range(size)))
    r, h = said.sum(0), heard.sum(0)
    parts = np.maximum(r - h, 0).sum(), np.maximum(h - r, 0).sum(), np.minimum(r, h).sum() - correct, r.sum()
    return [float(part) for part in parts]


@given(reference=turns("abc"), hypothesis=turns("1234"), skip_overlap=st.booleans())
def test_parts_are_those_of_the_definition(reference, hypothesis, skip_overlap):
    found = diarization_error_rate(reference, hypothesis, skip_overlap=skip_overlap)
    np.testing.assert_allclose(found[:4], by_definition(reference, hypothesis, skip_overlap), atol=1e-9)


@given(reference=turns("abc"), hypothesis=turns("12"), scale=st.floats(0.01, 100.0))
def test_neither_names_nor_order_nor_the_unit_of_time_matter(reference, hypothesis, scale):
    found = diarization_error_rate(reference, hypothesis)
    renamed = [(start * scale, end * scale, "xy"[int(name) % 2]) for start, end, name in reversed(hypothesis)]
    scaled = [(start * scale, end * scale, name) for start, end, name in reversed(reference)]
    other = diarization_error_rate(scaled, renamed)
    np.testing.assert_allclose(other[:4], np.multiply(found[:4], scale), rtol=1e-6, atol=1e-6 * scale)


def test_the_same_turns_are_no_error():
    reference = [(0.0, 2.0, "ann"), (1.5, 4.0, "bob"), (5.0, 6.0, "ann")]
    found = diarization_error_rate(reference, [(start, end, name.upper()) for start, end, name in reference])
    assert found.rate == 0.0
    assert found.total == 5.5
    assert found.speakers == (("ANN", "ann"), ("BOB", "bob"))


def test_a_collar_forgives_errors_at_the_edges_of_turns():
    reference = [(0.0, 4.0, "ann"), (4.0, 8.0, "bob")]
    hypothesis = [(0.1, 4.2, "1"), (4.2, 8.2, "2")]
    strict = diarization_error_rate(reference, hypothesis)
    np.testing.assert_allclose(strict[:4], [0.1, 0.2, 0.2, 8.0])
    lenient = diarization_error_rate(reference, hypothesis, collar_seconds=0.25)
    np.testing.assert_allclose(lenient[:4], [0.0, 0.0, 0.0, 7.0], atol=1e-12)


def test_turns_of_one_speaker_that_touch_have_no_collar_between():
    apart = [(0.0, 1.0, "ann"), (1.0, 2.0, "ann")]
    whole = [(0.0, 2.0, "ann")]
    assert diarization_error_rate(apart, [], collar_seconds=0.25) == diarization_error_rate(
        whole, [], collar_seconds=0.25
    )


def test_nobody_speaks():
    assert math.isnan(diarization_error_rate([], []).rate)
    alarm = diarization_error_rate([], [(0.0, 1.0, "1")])
    assert (alarm.false_alarm, alarm.total) == (1.0, 0.0)
    missed = diarization_error_rate([(0.0, 2.0, "ann"), (1.0, 1.0, "bob")], [])
    assert (missed.rate, missed.missed) == (1.0, 2.0)


def test_errors_of_recordings_add_up():
    one = diarization_error_rate([(0, 4, "a")], [(0, 3, "1")])
    two = diarization_error_rate([(0, 6, "a")], [(0, 8, "1")])
    assert (one + two) == DiarizationErrors(1.0, 2.0, 0.0, 10.0)
    assert (one + two).rate == pytest.approx(0.3)


def test_turns_that_cannot_be_are_refused(as_a_user):
    with pytest.raises(ArgumentError, match=r"`hypothesis` must hold turns that end after they start, got 2 to 1 s"):
        diarization_error_rate([], [(2.0, 1.0, "1")])
    with pytest.raises(ArgumentError, match="`reference` must hold turns"):
        diarization_error_rate([(0.0, math.inf, "a")], [])
    with pytest.raises(ArgumentError, match="`collar_seconds` must lie in"):
        diarization_error_rate([], [], collar_seconds=-1.0)
