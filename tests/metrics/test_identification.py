import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.metrics import identification_accuracy


def test_by_hand():
    scores = [[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 5.0], [1.0, 1.0, 1.0]]
    own = [0, 1, 2, 0]
    np.testing.assert_allclose(identification_accuracy(scores, own), (1 + 0 + 1 / 2 + 1 / 3) / 4)
    np.testing.assert_allclose(identification_accuracy(scores, own, top=2), (1 + 0 + 1 + 2 / 3) / 4)
    assert identification_accuracy(scores, own, top=3) == 1


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(0, 3), st.integers(1, 4))
def test_ties_count_with_the_chance_of_a_random_order(row, own, top):
    hits = []
    for order in itertools.permutations(range(4)):
        ranked = sorted(range(4), key=lambda speaker: (-row[speaker], order[speaker]))
        hits.append(own in ranked[:top])
    np.testing.assert_allclose(identification_accuracy([row], [own], top=top), np.mean(hits))


@pytest.mark.parametrize(
    "scores, own, top, message",
    [
        ([[1.0]], [0, 0], 1, r"\(1, 1\) and \(2,\)"),
        ([1.0], [0], 1, "must be"),
        ([[1.0, 2.0]], [2], 1, r"0\.\.1"),
        ([[1.0, np.nan]], [0], 1, "finite"),
        ([[1.0, 2.0]], [0], 3, "`top`"),
    ],
)
def test_wrong_arguments_are_refused(as_a_user, scores, own, top, message):
    with pytest.raises(ArgumentError, match=message):
        identification_accuracy(scores, own, top=top)


def test_wrong_dtypes_are_refused(as_a_user):
    with pytest.raises(ArgumentTypeError, match="`speakers` must hold integers"):
        identification_accuracy([[1.0]], ["a"])
    with pytest.raises(ArgumentTypeError, match="`scores`"):
        identification_accuracy([["a"]], [0])
