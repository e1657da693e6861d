import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError
from jaxspk.metrics import Calibration, cllr, min_cllr


def normal_trials(targets: int, nontargets: int, seed: int = 0):
    """Unit normals 2 apart: 2 s - 2 is the log-likelihood ratio of a score s."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(2, 1, targets), rng.normal(0, 1, nontargets)])
    return scores, np.arange(targets + nontargets) < targets


def test_the_known_line_is_found_whatever_the_share_of_the_kinds():
    for targets, nontargets in ((100_000, 100_000), (20_000, 300_000)):
        fitted = Calibration.fit(*normal_trials(targets, nontargets))
        np.testing.assert_allclose([fitted.scale, fitted.offset], [2, -2], atol=0.05)


def test_the_cost_is_stationary_at_the_optimum():
    scores, labels = normal_trials(40, 60)
    for prior in (0.05, 0.5, 0.9):
        fitted = Calibration.fit(scores, labels, prior=prior)

        def cost(scale, offset, prior=prior):
            x = scale * scores + offset + np.log(prior / (1 - prior))
            wanted = np.where(labels, 41 / 42, 1 / 62)
            each = wanted * np.logaddexp(0, -x) + (1 - wanted) * np.logaddexp(0, x)
            return prior * each[labels].mean() + (1 - prior) * each[~labels].mean()

        best = cost(fitted.scale, fitted.offset)
        for step in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
            assert cost(fitted.scale + step[0], fitted.offset + step[1]) > best


def test_calibrated_scores_cost_hardly_more_than_the_least():
    scores, labels = normal_trials(600, 30_000)
    fitted = Calibration.fit(0.1 * scores - 0.3, labels)
    cost = cllr(fitted.log_likelihood_ratio(0.1 * scores - 0.3), labels)
    assert min_cllr(scores, labels) <= cost < 1.05 * min_cllr(scores, labels)


def test_separable_scores_stay_finite_and_grow_with_evidence():
    ratios = []
    for count in (5, 50, 5000):
        scores = np.concatenate([np.linspace(1, 2, count), np.linspace(-2, -1, count)])
        fitted = Calibration.fit(scores, np.arange(2 * count) < count)
        ratios.append(float(fitted.log_likelihood_ratio(1.5)))
        np.testing.assert_allclose(fitted.offset, 0, atol=1e-6)
    assert 1 < ratios[0] < ratios[1] < ratios[2] < 20


def test_the_scale_of_scores_does_not_matter():
    scores, labels = normal_trials(300, 500)
    plain = Calibration.fit(scores, labels).log_likelihood_ratio(scores)
    for scale, shift in ((1e-6, 0), (1e6, 1e7), (1, -1e4)):
        moved = scale * scores + shift
        np.testing.assert_allclose(
            Calibration.fit(moved, labels).log_likelihood_ratio(moved), plain, rtol=1e-5, atol=1e-5
        )


@given(st.floats(0.01, 0.99), st.floats(-3, 3), st.floats(0.1, 50))
def test_probabilities_are_bayes_rule(prior, score, scale):
    calibration = Calibration(scale, -1.0)
    odds = np.exp(calibration.log_likelihood_ratio(score)) * prior / (1 - prior)
    np.testing.assert_allclose(calibration.probability(score, prior), odds / (1 + odds), rtol=1e-9)
    np.testing.assert_allclose(calibration.score(float(calibration.log_likelihood_ratio(score))), score, atol=1e-9)


def test_json_and_back():
    calibration = Calibration.fit(*normal_trials(30, 50))
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    "scores, labels, message",
    [
        ([0.5, 0.5, 0.5], [1, 0, 1], "must differ"),
        ([0.0, 1.0, 2.0, 3.0], [1, 1, 0, 0], "higher for the same speaker"),
        ([0.0, 1.0], [1, 1], "none of different speakers"),
    ],
)
def test_trials_that_cannot_be_calibrated_are_refused(as_a_user, scores, labels, message):
    with pytest.raises(ArgumentError, match=message):
        Calibration.fit(scores, labels)


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"scale": 1.0},
        {"scale": 0.0, "offset": 0.0},
        {"scale": "1", "offset": 0},
        {"scale": float("inf"), "offset": 0},
        {"scale": 1, "offset": 0, "x": 1},
    ],
)
def test_damaged_calibrations_are_refused(as_a_user, described):
    with pytest.raises(ArgumentError):
        Calibration.from_dict(described)


@pytest.mark.parametrize("prior", [0.0, 1.0, float("nan")])
def test_priors_out_of_range_are_refused(as_a_user, prior):
    with pytest.raises(ArgumentError, match="`prior`"):
        Calibration(1.0, 0.0).probability(0.0, prior)
    with pytest.raises(ArgumentError, match="`prior`"):
        Calibration.fit([0.0, 1.0], [0, 1], prior=prior)
