import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.metrics import actual_dcf, cllr, det_curve, equal_error_rate, min_cllr, min_dcf

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_scoring.json").read_text())["lists"]


def same_and_different(trials: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=trials)
    return rng.normal(size=trials) + shift * labels, labels


@st.composite
def tied_trials(draw):
    """Scores of few distinct values, and at least one trial of each kind."""
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=30))]
    scores = draw(st.lists(st.integers(-4, 4), min_size=len(labels), max_size=len(labels)))
    return np.array(scores, float), np.array(labels)


def errors_at(threshold: float, scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    accepted = scores >= threshold
    return float(np.mean(~accepted[labels == 1])), float(np.mean(accepted[labels == 0]))


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_values(name: str):
    case = GOLDEN[name]
    eer, _ = equal_error_rate(case["scores"], case["labels"])
    np.testing.assert_allclose(100 * eer, case["eer_percent_linear_interpolation_for_comparison"], atol=1e-9)
    for p_target in (0.05, 0.01):
        cost, threshold = case[f"mindcf_p{p_target}"]
        np.testing.assert_allclose(min_dcf(case["scores"], case["labels"], p_target=p_target), cost, atol=1e-9)
        # The threshold that the golden file names accepts from the score above it on, or from it on.
        miss, false_alarm = errors_at(threshold, np.array(case["scores"]), np.array(case["labels"]))
        above = errors_at(np.nextafter(threshold, np.inf), np.array(case["scores"]), np.array(case["labels"]))
        costs = [miss + (1 - p_target) / p_target * false_alarm, above[0] + (1 - p_target) / p_target * above[1]]
        np.testing.assert_allclose(min(costs), cost, atol=1e-9)


# --- By hand. ---


def test_rates_at_every_threshold_by_hand():
    curve = det_curve([3.0, 1.0, 2.0, 2.0], [1, 0, 1, 0])
    np.testing.assert_array_equal(curve.thresholds, [1, 2, 3, np.inf])
    np.testing.assert_array_equal(curve.miss_rates, [0, 0, 0.5, 1])
    np.testing.assert_array_equal(curve.false_alarm_rates, [1, 0.5, 0, 0])


@pytest.mark.parametrize(
    "scores, labels, eer, threshold",
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 0.0, 3),
        ([1, 2, 3, 4], [1, 1, 0, 0], 1.0, 3),
        # One same-speaker trial below both others, one above: 1/2 missed, 1/2 alarmed at 3.
        ([1, 2, 3, 4], [1, 0, 0, 1], 0.5, 3),
        # Tied trials go together: half of the group of equal scores cannot be taken.
        ([0, 0, 0, 0], [0, 1, 0, 1], 0.5, 0),
        ([7], [1], None, None),
        # From (miss 0, alarm 1/2) at 2 to (miss 1/2, alarm 0) at 3: they meet half way.
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.25, 2.5),
        # From (0, 1/3) at 2 to (1/2, 1/3) at 3, where a third of the way up is 2/3 of the step.
        ([1, 1, 2, 3, 4], [0, 0, 1, 0, 1], 1 / 3, 2 + 2 / 3),
    ],
)
def test_equal_error_rate_by_hand(scores, labels, eer, threshold):
    if eer is None:
        with pytest.raises(ArgumentError):
            equal_error_rate(scores, labels)
        return
    measured = equal_error_rate(scores, labels)
    np.testing.assert_allclose(measured.eer, eer, atol=1e-12)
    np.testing.assert_allclose(measured.threshold, threshold, atol=1e-12)


def test_detection_cost_by_hand():
    # At 2: nothing missed, 1 of 4 alarmed. At 3: 1 of 2 missed, none alarmed.
    scores, labels = [0, 0, 0, 2, 2, 3], [0, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(min_dcf(scores, labels, p_target=0.5), 0.25)
    np.testing.assert_allclose(min_dcf(scores, labels, p_target=0.1), 0.5)
    np.testing.assert_allclose(min_dcf(scores, labels, p_target=0.5, cost_miss=1, cost_false_alarm=3), 0.5)


def test_accepting_all_and_rejecting_all_cost_one():
    wrong = [2.0, 1.0], [0, 1]
    for p_target in (0.01, 0.5, 0.99):
        np.testing.assert_allclose(min_dcf(*wrong, p_target=p_target), 1)


def test_detection_cost_of_a_threshold_by_hand():
    scores, labels = [0, 0, 0, 2, 2, 3], [0, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(actual_dcf(scores, labels, p_target=0.5, threshold=2), 0.25)
    np.testing.assert_allclose(actual_dcf(scores, labels, p_target=0.5, threshold=2.5), 0.5)
    np.testing.assert_allclose(actual_dcf(scores, labels, p_target=0.1, threshold=0), 9)
    # Bayes's threshold of p = 0.1 is log 9 = 2.2: both of 2 are rejected.
    np.testing.assert_allclose(actual_dcf(scores, labels, p_target=0.1), 0.5)
    # And log 3 where a false alarm costs three times a miss.
    np.testing.assert_allclose(actual_dcf(scores, labels, p_target=0.5, cost_false_alarm=3), 0.75)


@given(tied_trials())
def test_no_threshold_costs_less_than_the_minimum(trials):
    scores, labels = trials
    costs = [actual_dcf(scores, labels, p_target=0.2, threshold=t) for t in (*map(float, scores), np.inf)]
    np.testing.assert_allclose(min(costs), min_dcf(scores, labels, p_target=0.2), atol=1e-12)


@pytest.mark.parametrize(
    "scores, labels, bits",
    [
        ([np.log(3), -np.log(3)], [1, 0], np.log2(4 / 3)),
        ([-np.log(3), np.log(3)], [1, 0], 2.0),
        ([np.inf, -np.inf], [1, 0], 0.0),
        ([-np.inf, -np.inf], [1, 0], np.inf),
        ([1000.0, -1000.0], [0, 1], 1000 / np.log(2)),
    ],
)
def test_cost_of_likelihood_ratios_by_hand(scores, labels, bits):
    np.testing.assert_allclose(cllr(scores, labels), bits, rtol=1e-12)


def test_minimal_cost_of_likelihood_ratios_by_hand():
    # Scores 1 and 2 violate the order and are pooled: half and half, which says nothing; 3 and 4 are certain.
    scores, labels = [0, 1, 2, 3], [0, 1, 0, 1]
    np.testing.assert_allclose(min_cllr(scores, labels), 0.5)


# --- Against scikit-learn and definitions. ---


@given(tied_trials())
def test_rates_are_those_of_every_threshold(trials):
    scores, labels = trials
    curve = det_curve(scores, labels)
    for miss, false_alarm, threshold in zip(*curve, strict=True):
        np.testing.assert_allclose((miss, false_alarm), errors_at(threshold, scores, labels), atol=1e-12)
    costs = [0.1 * miss + 0.9 * alarm for miss, alarm in (errors_at(t, scores, labels) for t in (*scores, np.inf))]
    np.testing.assert_allclose(min_dcf(scores, labels, p_target=0.1), min(costs) / 0.1)


@given(tied_trials())
def test_the_equal_error_rate_is_where_the_roc_of_scikit_learn_meets_the_diagonal(trials):
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    scores, labels = trials
    false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    corners = np.arange(len(hits))
    crossing = brentq(lambda t: np.interp(t, corners, false_alarms - (1 - hits)), 0, corners[-1], xtol=1e-12)
    eer, threshold = equal_error_rate(scores, labels)
    np.testing.assert_allclose(eer, np.interp(crossing, corners, false_alarms), atol=1e-9)
    # And the threshold lies between the scores around the crossing.
    below = max(scores[scores <= threshold + 1e-9])
    above = min(scores[scores > below], default=np.inf)
    misses, alarms = zip(errors_at(below, scores, labels), errors_at(above, scores, labels), strict=True)
    assert misses[0] <= eer + 1e-9 <= misses[1] + 2e-9
    assert alarms[1] <= eer + 1e-9 <= alarms[0] + 2e-9


@given(tied_trials())
def test_minimal_cost_agrees_with_isotonic_regression_of_scikit_learn(trials):
    from sklearn.isotonic import IsotonicRegression

    scores, labels = trials
    posterior = IsotonicRegression(y_min=0, y_max=1).fit(scores, labels).predict(scores)
    with np.errstate(divide="ignore"):
        ratios = np.log(posterior) - np.log(1 - posterior) - np.log(labels.sum() / (1 - labels).sum())
    np.testing.assert_allclose(min_cllr(scores, labels), cllr(ratios, labels), atol=1e-9)


@given(tied_trials(), st.randoms(use_true_random=False))
def test_neither_the_order_of_trials_nor_the_scale_of_scores_matters(trials, random):
    scores, labels = trials
    order = list(range(len(scores)))
    random.shuffle(order)
    moved = np.exp(scores[order] / 3), labels[order].astype(bool)
    np.testing.assert_allclose(equal_error_rate(*moved).eer, equal_error_rate(scores, labels).eer, atol=1e-12)
    np.testing.assert_allclose(min_cllr(*moved), min_cllr(scores, labels), atol=1e-12)
    for p_target in (0.01, 0.5):
        np.testing.assert_allclose(min_dcf(*moved, p_target=p_target), min_dcf(scores, labels, p_target=p_target))


@given(tied_trials())
def test_exchanging_the_kinds_and_the_sign_exchanges_the_errors(trials):
    scores, labels = trials
    np.testing.assert_allclose(equal_error_rate(-scores, 1 - labels).eer, equal_error_rate(scores, labels).eer)
    np.testing.assert_allclose(cllr(-scores, 1 - labels), cllr(scores, labels))


def test_calibrated_scores_cost_what_is_minimal_and_others_more():
    # Unit normals 2 apart: 2 s - 2 is the log-likelihood ratio of a score s.
    scores, labels = same_and_different(200_000, 2)
    minimal = min_cllr(scores, labels)
    assert minimal < cllr(2 * scores - 2, labels) < minimal + 0.003
    assert cllr(scores, labels) > minimal + 0.05
    # The error at equal rates is that beyond one standard deviation.
    np.testing.assert_allclose(equal_error_rate(scores, labels).eer, 0.158655, atol=0.003)


def test_a_million_trials_take_less_than_two_seconds():
    scores, labels = same_and_different(1_000_000, 2)
    start = time.process_time()
    equal_error_rate(scores, labels)
    min_dcf(scores, labels, p_target=0.01)
    cllr(scores, labels)
    min_cllr(scores, labels)
    assert time.process_time() - start < 2


# --- What is refused. ---


@pytest.mark.parametrize("score", [det_curve, equal_error_rate, cllr, min_cllr])
@pytest.mark.parametrize(
    "scores, labels, message",
    [
        ([1.0, 2.0], [1], r"one value a trial.*\(2,\) and \(1,\)"),
        ([[1.0], [2.0]], [[0], [1]], "one value a trial"),
        ([1.0, np.nan], [0, 1], "`scores` must be"),
        ([1.0, 2.0], [1, 2], "`labels` must be 1"),
        ([1.0, 2.0], ["a", "b"], "`labels` must be 1"),
        ([1.0, 2.0], [1, 1], "none of different speakers"),
        ([1.0, 2.0], [0, 0], "none of the same speaker"),
        ([], [], "both kinds"),
    ],
)
def test_wrong_trials_are_refused(as_a_user, score, scores, labels, message):
    with pytest.raises(ArgumentError, match=message):
        score(scores, labels)


def test_scores_that_are_no_numbers_are_refused(as_a_user):
    with pytest.raises(ArgumentTypeError, match="`scores` must hold real numbers"):
        equal_error_rate(["a", "b"], [0, 1])


@pytest.mark.parametrize("options", [{"p_target": 0}, {"p_target": 1.0}, {"p_target": 0.5, "cost_miss": 0}])
def test_costs_out_of_range_are_refused(as_a_user, options):
    with pytest.raises(ArgumentError, match=list(options)[-1]):
        min_dcf([0.0, 1.0], [0, 1], **options)
