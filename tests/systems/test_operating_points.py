import numpy as np
import pytest

from jaxspk.errors import ArgumentError
from jaxspk.systems import ErrorRates, OperatingPoint
from jaxspk.systems._operating_points import RATIO_GRID


def normal_ratios(targets: int, nontargets: int):
    """Log-likelihood ratios of unit normals 2 apart."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(2, 1, targets), rng.normal(0, 1, nontargets)])
    return 2 * scores - 2, np.arange(targets + nontargets) < targets


def test_rates_are_those_of_every_threshold():
    ratios, labels = normal_ratios(500, 2000)
    ratios = (4 * ratios).round() / 4  # Many on the very thresholds.
    errors = ErrorRates.measure(ratios, labels)
    for threshold in (-20.0, -3.0, -0.25, 0.0, 1.5, 15.0, 99.0):
        within = np.clip(threshold, -15, 15)
        accepted = ratios >= within
        expected = np.mean(~accepted[labels]), np.mean(accepted[~labels])
        np.testing.assert_allclose(errors.at(threshold), expected, atol=1e-12)
    assert (errors.targets, errors.nontargets) == (500, 2000)


def test_between_two_thresholds_rates_lie_between():
    errors = ErrorRates.measure(*normal_ratios(500, 2000))
    low, middle, high = (errors.at(threshold) for threshold in (0.0, 0.1, 0.25))
    assert low[0] <= middle[0] <= high[0] and low[1] >= middle[1] >= high[1]


@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01, 0.001])
def test_a_threshold_keeps_its_promise(rate):
    ratios, labels = normal_ratios(500, 20_000)
    errors = ErrorRates.measure(ratios, labels)
    threshold = errors.threshold(rate)
    np.testing.assert_allclose(errors.at(threshold)[1], rate, rtol=1e-9)
    np.testing.assert_allclose(np.mean(ratios[~labels] >= threshold), rate, rtol=0.1)


def test_what_few_trials_cannot_promise_is_refused():
    errors = ErrorRates.measure(*normal_ratios(50, 200))
    with pytest.raises(ArgumentError, match=r"cannot be promised from 200 trials .* at least 0.005 can"):
        errors.threshold(0.004)
    never = ErrorRates(targets=9, nontargets=9, misses=(0.0,) * len(RATIO_GRID), false_alarms=(1.0,) * len(RATIO_GRID))
    with pytest.raises(ArgumentError, match="at no threshold that is kept"):
        never.threshold(0.5)


@pytest.mark.parametrize(
    "misses, false_alarms",
    [((0.0,), (0.0,)), ((2.0,) * 121, (0.0,) * 121), ((0.0,) * 121, (0.0,) * 60 + (1.0,) * 61)],
)
def test_damaged_rates_are_refused(misses, false_alarms):
    with pytest.raises(ArgumentError):
        ErrorRates(targets=5, nontargets=5, misses=misses, false_alarms=false_alarms)


def test_bayes_thresholds_by_hand():
    assert OperatingPoint().threshold() == 0
    np.testing.assert_allclose(OperatingPoint(prior=0.1).threshold(), np.log(9))
    np.testing.assert_allclose(OperatingPoint(cost_false_alarm=10.0, cost_miss=2.0).threshold(), np.log(5))


def test_the_bayes_threshold_is_the_cheapest():
    ratios, labels = normal_ratios(50_000, 50_000)
    errors = ErrorRates.measure(ratios, labels)
    point = OperatingPoint(prior=0.1)
    costs = [0.1 * miss + 0.9 * false_alarm for miss, false_alarm in map(errors.at, RATIO_GRID)]
    miss, false_alarm = errors.at(point.threshold())
    assert 0.1 * miss + 0.9 * false_alarm < min(costs) * 1.02


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prior": 1.0}, "`prior`"),
        ({"cost_miss": 0.0}, "cost_miss"),
        ({"false_alarm_rate": 0.0}, "`false_alarm_rate`"),
        ({"false_alarm_rate": 1.0}, "`false_alarm_rate`"),
    ],
)
def test_points_out_of_range_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        OperatingPoint(**options)


def test_a_rate_needs_trials():
    with pytest.raises(ArgumentError, match="needs error rates"):
        OperatingPoint(false_alarm_rate=0.1).threshold()
