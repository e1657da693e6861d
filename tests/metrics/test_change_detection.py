"""Changes found and missed: counts by hand, and against all ways of pairing."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError
from jaxspk.metrics import ChangeErrors, change_detection_errors, speaker_changes


def test_counts_and_rates_by_hand():
    errors = change_detection_errors([4.0, (7.0, 7.4), 12.0], [4.3, 4.4, 7.6, 20.0], tolerance_seconds=0.5)
    assert errors == ChangeErrors(hits=2, reference=3, found=4)
    assert errors.precision == 0.5 and errors.recall == pytest.approx(2 / 3) and errors.f1 == pytest.approx(4 / 7)
    assert errors.miss_rate == pytest.approx(1 / 3) and errors.false_alarm_rate == pytest.approx(2 / 5)


def test_anywhere_in_the_pause_is_right_and_the_tolerance_is_exact():
    assert change_detection_errors([(2.0, 4.0)], [3.0], tolerance_seconds=0.0).hits == 1
    assert change_detection_errors([0.3], [0.1], tolerance_seconds=0.2).hits == 1
    assert change_detection_errors([0.3], [0.0999], tolerance_seconds=0.2).hits == 0


def test_nothing_found_or_nothing_there():
    assert math.isnan(change_detection_errors([], []).f1)
    assert change_detection_errors([], [1.0]).false_alarm_rate == 1
    missed = change_detection_errors([1.0], [])
    assert missed.miss_rate == 1 and missed.f1 == 0 and math.isnan(missed.precision)


def test_recordings_are_added():
    assert ChangeErrors(1, 2, 3) + ChangeErrors(4, 5, 6) == ChangeErrors(5, 7, 9)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), max_size=3),
    st.lists(st.integers(0, 24), max_size=3),
    st.integers(0, 3),
)
def test_as_many_hits_as_any_pairing_has(changes, found, tolerance):
    reference = [(float(start), float(start + length)) for start, length in changes]

    def fits(change, moment):
        return change[0] - tolerance <= moment <= change[1] + tolerance

    # Every way to give each change a moment of its own, or none.
    places = [*range(len(found)), *[None] * len(reference)]
    most = max(
        sum(at is not None and fits(change, found[at]) for change, at in zip(reference, order, strict=True))
        for order in set(itertools.permutations(places, len(reference)))
    )
    moments = [float(moment) for moment in found]
    assert change_detection_errors(reference, moments, tolerance_seconds=float(tolerance)).hits == most


def test_changes_of_turns():
    turns = [(5.5, 8.0, "ann"), (0.0, 2.0, "ann"), (2.5, 4.0, "ann"), (4.25, 6.0, "bob")]
    assert speaker_changes(turns) == ((4.0, 4.25), (5.5, 6.0))
    assert speaker_changes([]) == ()


@pytest.mark.parametrize("reference, found", [([(2.0, 1.0)], []), ([math.nan], []), ([], [math.inf])])
def test_impossible_times_are_refused(as_a_user, reference, found):
    with pytest.raises(ArgumentError, match="times"):
        change_detection_errors(reference, found)
