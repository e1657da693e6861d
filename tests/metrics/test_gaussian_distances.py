"""Distances of Gaussians against their textbook forms, by invariances, and on covariances that cannot be inverted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk import metrics
from jaxspk.errors import ArgumentError

DISTANCES = [metrics.trace_distance, metrics.kullback_leibler_distance, metrics.bhattacharyya_distance]


def gaussian(seed, dim=3):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dim, dim + 2))
    return rng.normal(size=dim), factor @ factor.T / dim


def naive(name, m1, s1, m2, s2):
    """The definitions with inverses and determinants written out."""
    i1, i2, d = np.linalg.inv(s1), np.linalg.inv(s2), m1 - m2
    if name == "trace_distance":
        return np.trace((i1 + i2) @ np.outer(d, d))
    if name == "kullback_leibler_distance":
        one_way = [
            0.5 * (np.trace(ib @ sa) + d @ ib @ d - len(d) + np.log(np.linalg.det(sb) / np.linalg.det(sa)))
            for sa, sb, ib in ((s1, s2, i2), (s2, s1, i1))
        ]
        return sum(one_way)
    between = (s1 + s2) / 2
    spread = np.log(np.linalg.det(between) / np.sqrt(np.linalg.det(s1) * np.linalg.det(s2)))
    return d @ np.linalg.inv(between) @ d / 8 + spread / 2


@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_the_textbook_form_in_batches(distance):
    pairs = [(gaussian(2 * k), gaussian(2 * k + 1)) for k in range(4)]
    stacked = [np.stack([pair[side][part] for pair in pairs]) for side in (0, 1) for part in (0, 1)]
    expected = [naive(distance.__name__, *one, *other) for one, other in pairs]
    np.testing.assert_allclose(distance(*stacked), expected, rtol=1e-10)


def test_the_trace_distance_is_twice_the_means_share_of_the_divergence():
    (m1, s1), (m2, s2) = gaussian(0), gaussian(1)
    shapes = metrics.kullback_leibler_distance(m1, s1, m1, s2)
    whole = metrics.kullback_leibler_distance(m1, s1, m2, s2)
    np.testing.assert_allclose(metrics.trace_distance(m1, s1, m2, s2), 2 * (whole - shapes), rtol=1e-10)


@pytest.mark.parametrize("distance", DISTANCES)
@given(seed=st.integers(0, 200))
def test_symmetric_zero_of_equal_ones_and_blind_to_units(distance, seed):
    (m1, s1), (m2, s2) = gaussian(seed), gaussian(seed + 1000)
    there = distance(m1, s1, m2, s2)
    np.testing.assert_allclose(there, distance(m2, s2, m1, s1), rtol=1e-9)
    assert there > 0 and distance(m1, s1, m1, s1) == pytest.approx(0, abs=1e-9)
    change = np.random.default_rng(seed).normal(size=(3, 3)) + 3 * np.eye(3)
    moved = [change @ m1 + 1, change @ s1 @ change.T, change @ m2 + 1, change @ s2 @ change.T]
    np.testing.assert_allclose(distance(*moved), there, rtol=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_refuses_what_is_no_gaussian(distance):
    mean, covariance = gaussian(0)
    with pytest.raises(ArgumentError, match="`covariance_2` must be positive definite"):
        distance(mean, covariance, mean, np.ones((3, 3)))
