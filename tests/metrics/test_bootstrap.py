import time

import numpy as np
import pytest

from jaxspk.errors import ArgumentError
from jaxspk.metrics import eer_interval, equal_error_rate
from jaxspk.metrics._bootstrap import _both_sides, _rates_over_clusters, _rates_over_trials


def trials(count: int, shift: float = 2.0, seed: int = 0, decimals: int | None = None):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    scores = rng.normal(size=count) + shift * labels
    return (scores if decimals is None else scores.round(decimals)), labels


def plain_rates(scores, labels, resamples, seed):
    """The textbook: draw trials of each kind, measure anew."""
    rng = np.random.default_rng(seed)
    kinds = [np.flatnonzero(labels), np.flatnonzero(~labels)]
    rates = []
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        rates.append(equal_error_rate(scores[drawn], labels[drawn]).eer)
    return np.array(rates)


@pytest.mark.parametrize("decimals", [None, 0])
def test_lazily_drawn_resamples_have_the_law_of_whole_ones(decimals):
    from scipy.stats import ks_2samp

    scores, labels = trials(120, decimals=decimals)
    ours = _rates_over_trials(scores, labels, 2000, np.random.default_rng(1))
    # Rates are fractions of few trials; rounding must not tell equal ones apart.
    assert ks_2samp(ours.round(9), plain_rates(scores, labels, 2000, 2).round(9)).pvalue > 0.01


def test_one_trial_a_kind_has_no_spread():
    assert eer_interval([0.0, 1.0], [0, 1]) == (0, 0)
    assert eer_interval([1.0, 1.0], [0, 1]) == (0.5, 0.5)


def test_the_interval_covers_the_true_rate_as_often_as_it_says():
    # Unit normals 2 apart: the rate is that beyond one standard deviation.
    covered = 0
    for seed in range(200):
        low, high = eer_interval(*trials(400, seed=seed), level=0.9, resamples=300, seed=seed)
        covered += low <= 0.158655 <= high
    assert 165 <= covered <= 193  # 180 are expected; binomial, three deviations.


def test_a_million_trials_take_less_than_a_second():
    scores, labels = trials(1_000_000)
    start = time.process_time()
    low, high = eer_interval(scores, labels)
    assert time.process_time() - start < 1
    assert low < equal_error_rate(scores, labels).eer < high


def weighted_rate(scores, labels, weights):
    """By the definition: whole copies of trials."""
    copies = np.repeat(np.arange(len(scores)), weights)
    return equal_error_rate(scores[copies], labels[copies]).eer


def test_trials_count_as_often_as_their_speakers_are_drawn():
    rng = np.random.default_rng(0)
    scores, labels = trials(60, decimals=1)
    speakers = rng.integers(6, size=(60, 2))
    speakers[labels, 1] = speakers[labels, 0]
    sides = _both_sides(speakers, 60)
    ours = _rates_over_clusters(scores, labels, sides, 50, np.random.default_rng(7))
    replay, expected = np.random.default_rng(7), []
    while len(expected) < 50:
        drawn = np.bincount(replay.integers(6, size=6), minlength=6)
        weights = np.where(labels, drawn[speakers[:, 0]], drawn[speakers[:, 0]] * drawn[speakers[:, 1]])
        same_pairs = (speakers[:, 0] == speakers[:, 1]) & ~labels
        weights[same_pairs] = drawn[speakers[same_pairs, 0]]
        if weights[labels].sum() and weights[~labels].sum():
            expected.append(weighted_rate(scores, labels, weights))
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_few_speakers_in_many_trials_make_a_wider_interval():
    rng = np.random.default_rng(3)
    speakers = rng.integers(10, size=3000)
    labels = rng.random(3000) < 0.5
    scores = rng.normal(size=3000) + 2 * labels + rng.normal(size=10)[speakers]
    of_trials = eer_interval(scores, labels, resamples=200)
    of_speakers = eer_interval(scores, labels, resamples=200, clusters=speakers.astype(str))
    assert np.ptp(of_speakers) > 1.5 * np.ptp(of_trials)


def test_the_same_seed_gives_the_same_interval():
    assert eer_interval(*trials(5000), seed=3) == eer_interval(*trials(5000), seed=3)
    assert eer_interval(*trials(5000), seed=3) != eer_interval(*trials(5000), seed=4)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"level": 1.0}, "`level`"),
        ({"resamples": 0}, "`resamples`"),
        ({"seed": -1}, "`seed`"),
        ({"clusters": ["a"]}, r"`clusters` must name .* got shape \(1,\)"),
        ({"clusters": [["a", "b", "c"]] * 2}, "`clusters`"),
    ],
)
def test_wrong_options_are_refused(as_a_user, options, message):
    with pytest.raises(ArgumentError, match=message):
        eer_interval([0.0, 1.0], [0, 1], **options)
