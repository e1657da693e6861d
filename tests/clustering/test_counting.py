"""How many clusters: known numbers are found, shares are probabilities, nothing is ever NaN."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxspk import clustering
from jaxspk.clustering import STATISTICS, CountingRule, cluster_statistics, count_clusters, fit_counting_rule
from jaxspk.errors import ArgumentError


def directions(count, *, dim=8, spread=0.15, points=1500, seed=0):
    """Unit vectors around so many orthogonal directions."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0][:count]
    vectors = basis[rng.integers(count, size=points)] + spread * rng.standard_normal((points, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_eigenvalues_find_orthogonal_directions(count, seed):
    found = count_clusters(cluster_statistics(directions(count, seed=seed), seed=seed), (1, 2, 3, 4))
    assert found.clusters == count
    assert not found.calibrated
    assert found.confidence == max(found.shares.values()) > 0.5
    assert sum(found.shares.values()) == pytest.approx(1)


def test_eigenvalues_are_those_of_the_affinity_matrix():
    points = directions(3, points=300)
    statistics = dict(zip(STATISTICS, cluster_statistics(np.tile(points, (40, 1))), strict=True))
    affinity = np.linalg.eigvalsh(points @ points.T / len(points))[::-1]
    # The statistics are of a sample with replacement; its eigenvalues scatter around those of all.
    for k in (1, 2, 3):
        assert np.exp(statistics[f"log_eigenvalue_{k}"]) == pytest.approx(affinity[k - 1], abs=0.02)


def test_inertia_falls_and_shares_are_those_of_clusters():
    statistics = dict(zip(STATISTICS, cluster_statistics(directions(2, spread=0.05)), strict=True))
    inertias = [statistics[f"log_inertia_{k}"] for k in range(1, 6)]
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[0] - inertias[1] > 5 * (inertias[1] - inertias[2])
    assert np.exp(statistics["log_smallest_share_2"]) == pytest.approx(0.5, abs=0.05)
    assert statistics["silhouette_2"] > 0.8 > statistics["silhouette_3"]


@settings(max_examples=10)
@given(count=st.integers(1, 40), dim=st.sampled_from([1, 8]), same=st.booleans(), seed=st.integers(0, 5))
def test_statistics_are_finite_whatever_the_points(count, dim, same, seed):
    points = np.random.default_rng(seed).standard_normal((count, dim)) + 1e-3
    points = np.repeat(points[:1], count, axis=0) if same else points
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    found = cluster_statistics(points, seed=seed)
    assert found.shape == (len(STATISTICS),)
    assert np.isfinite(found).all()


def test_points_without_weight_do_not_count():
    both = np.concatenate([directions(1, seed=0), -directions(1, seed=3)])
    weights = np.repeat([1.0, 0.0], 1500)
    np.testing.assert_array_equal(cluster_statistics(both, weights=weights), cluster_statistics(both[:1500]))
    with pytest.raises(ArgumentError, match="no point to count"):
        cluster_statistics(both, weights=0 * weights)


def test_the_seed_decides():
    points = directions(2)
    np.testing.assert_array_equal(cluster_statistics(points, seed=1), cluster_statistics(points, seed=1))
    assert (cluster_statistics(points, seed=1) != cluster_statistics(points, seed=2)).any()


# --- Rules ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases():
    counts = np.repeat([1, 2, 3], 12)
    statistics = [
        cluster_statistics(directions(count, spread=0.5, seed=10 + case)) for case, count in enumerate(counts)
    ]
    return np.array(statistics), counts


def test_a_fitted_rule_finds_what_it_was_fitted_to_and_more(cases):
    rule = fit_counting_rule(*cases)
    assert rule.counts == (1, 2, 3)
    for count in (1, 2, 3):
        found = count_clusters(cluster_statistics(directions(count, spread=0.5, seed=99)), (1, 2, 3), rule)
        assert found.clusters == count and found.calibrated
        assert found.confidence > 0.6


def test_a_rule_gives_the_probabilities_of_the_regression(cases):
    from sklearn.linear_model import LogisticRegression

    statistics, counts = cases
    rule = fit_counting_rule(statistics, counts, penalty=2.0)
    mean, std = statistics.mean(0), statistics.std(0)
    regression = LogisticRegression(C=0.5, max_iter=2000).fit((statistics - mean) / std, counts)
    expected = regression.predict_proba((statistics - mean) / std)
    found = [list(count_clusters(row, (1, 2, 3), rule).shares.values()) for row in statistics]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_two_numbers_make_a_rule_too(cases):
    statistics, counts = cases
    two = counts < 3
    rule = fit_counting_rule(statistics[two], counts[two])
    found = [count_clusters(row, (1, 2), rule).clusters for row in statistics[two]]
    np.testing.assert_array_equal(found, counts[two])


def test_a_range_conditions_the_probabilities(cases):
    rule, statistics = fit_counting_rule(*cases), cases[0][20]
    of_all = count_clusters(statistics, (1, 2, 3), rule).shares
    of_two = count_clusters(statistics, (2, 3), rule).shares
    assert of_two[2] / of_two[3] == pytest.approx(of_all[2] / of_all[3])
    assert sum(of_two.values()) == pytest.approx(1)
    assert count_clusters(statistics, (3,), rule).confidence == 1


def test_numbers_that_cannot_be_told_are_refused(cases):
    rule, statistics = fit_counting_rule(*cases), cases[0][0]
    with pytest.raises(ArgumentError, match=r"must be among \(1, 2, 3\), .* got 4"):
        count_clusters(statistics, (3, 4), rule)
    with pytest.raises(ArgumentError, match=r"must be among \(1, 2, 3, 4\), .* got 5"):
        count_clusters(statistics, (5,))
    with pytest.raises(ArgumentError, match="at least one"):
        count_clusters(statistics, ())


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"statistics": ("pitch", *STATISTICS[1:])}, "one of .* got 'pitch'"),
        ({"mean": (0.0,)}, "`mean` of the counting rule must hold 18 numbers, got 1"),
        ({"weights": ((0.0,),) * 3}, r"`weights\[0\]` of the counting rule must hold 18 numbers, got 1"),
        ({"bias": ()}, "`bias` of the counting rule must hold 3 numbers, got 0"),
        ({"counts": (1, 3, 2)}, "ascending"),
        ({"std": (0.0,) * 18}, "`std` of the counting rule must be positive"),
    ],
)
def test_a_rule_that_does_not_fit_together_is_refused(cases, change, problem):
    with pytest.raises(ArgumentError, match=problem):
        dataclasses.replace(fit_counting_rule(*cases), **change)


def test_one_number_is_nothing_to_fit(cases):
    with pytest.raises(ArgumentError, match="at least two different numbers"):
        fit_counting_rule(cases[0][:3], cases[1][:3])
    with pytest.raises(ArgumentError, match="`penalty` must lie in"):
        fit_counting_rule(*cases, penalty=0.0)


def test_the_public_names_are_there():
    assert clustering.CountingRule is CountingRule
    assert clustering.MOST_CLUSTERS == 5
