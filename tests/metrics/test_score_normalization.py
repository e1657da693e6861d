import numpy as np
import pytest

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.metrics import adaptive_s_norm, cohort_statistics


def test_by_hand():
    # Enrolled: the top two of (0, 1, 3) have mean 2 and deviation 1; test: of (4, 0, 2), mean 3 and deviation 1.
    scores = adaptive_s_norm([5.0], [[0.0, 1.0, 3.0]], [[4.0, 0.0, 2.0]], top=2)
    np.testing.assert_allclose(scores, [((5 - 2) + (5 - 3)) / 2])


def test_rows_by_index_are_rows_by_trial():
    rng = np.random.default_rng(0)
    cohort, scores = rng.normal(size=(7, 20)), rng.normal(size=50)
    enrol, test = rng.integers(7, size=(2, 50))
    by_index = adaptive_s_norm(scores, cohort, cohort, top=5, enrol=enrol, test=test)
    np.testing.assert_allclose(by_index, adaptive_s_norm(scores, cohort[enrol], cohort[test], top=5))
    np.testing.assert_allclose(by_index, adaptive_s_norm(scores, cohort, cohort, top=5, enrol=test, test=enrol))


def test_a_top_beyond_the_cohort_takes_all_of_it():
    values = np.random.default_rng(0).normal(size=(3, 6))
    statistics = cohort_statistics(values, top=100)
    np.testing.assert_allclose(statistics.mean, values.mean(1))
    np.testing.assert_allclose(statistics.deviation, values.std(1))


def test_the_scale_of_scores_does_not_matter():
    rng = np.random.default_rng(1)
    scores, enrol, test = rng.normal(size=4), rng.normal(size=(4, 9)), rng.normal(size=(4, 9))
    moved = adaptive_s_norm(3 * scores - 1, 3 * enrol - 1, 3 * test - 1, top=4)
    np.testing.assert_allclose(moved, adaptive_s_norm(scores, enrol, test, top=4))


@pytest.mark.parametrize(
    "cohort, options, message",
    [
        ([[1.0]], {}, "cohort of at least 2"),
        ([1.0, 2.0], {}, "must be .voices, cohort."),
        ([[1.0, 2.0]], {"top": 1}, "`top` must be at least 2"),
        ([[1.0, np.inf]], {}, "finite"),
        ([[2.0, 2.0]], {}, "voice 0 scores the same"),
        ([[1.0, 2.0]] * 2, {}, "a row a trial"),
        ([[1.0, 2.0]], {"enrol": [1]}, "rows from 0 to 0"),
    ],
)
def test_wrong_cohorts_are_refused(as_a_user, cohort, options, message):
    with pytest.raises(ArgumentError, match=message):
        adaptive_s_norm([0.0], cohort, [[0.0, 1.0]], **options)


def test_wrong_dtypes_are_refused(as_a_user):
    with pytest.raises(ArgumentTypeError, match="cohort_scores"):
        adaptive_s_norm([0.0], [["a", "b"]], [[0.0, 1.0]])
    with pytest.raises(ArgumentTypeError, match="`enrol` must hold integers"):
        adaptive_s_norm([0.0], [[0.0, 1.0]], [[0.0, 1.0]], enrol=[0.5])
    with pytest.raises(ArgumentTypeError, match="`scores`"):
        adaptive_s_norm(["a"], [[0.0, 1.0]], [[0.0, 1.0]])
