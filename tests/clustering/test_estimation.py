"""Clusters of points that fall into clusters, by every way to count them."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from jaxspk.clustering import COUNT_METHODS, cluster_embeddings, mean_by_group, nearest_neighbour_eigengap
from jaxspk.errors import ArgumentError


def voices(clusters: int, each: int, *, dim: int = 16, spread: float = 0.25, seed: int = 0):
    """Points around orthogonal directions, in random order, and whose they are."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(clusters), each))
    return 3 * np.eye(dim)[labels] + spread * rng.normal(size=(len(labels), dim)), labels


@pytest.mark.parametrize("clusters", [2, 3, 6])
@pytest.mark.parametrize("count", sorted(COUNT_METHODS))
def test_clear_clusters_are_counted_and_found(count, clusters):
    points, labels = voices(clusters, 30)
    found = cluster_embeddings(points, count=count, distance="cosine", most=10)
    assert found.clusters == clusters
    assert adjusted_rand_score(labels, found.labels) == 1.0


@pytest.mark.parametrize("method", ["kmeans", "agglomerative", "spectral"])
def test_a_given_number_is_kept_by_every_method(method):
    points, labels = voices(4, 25)
    found = cluster_embeddings(points, 4, method=method)
    assert (found.clusters, found.scores) == (4, {})
    assert adjusted_rand_score(labels, found.labels) == 1.0
    assert found.labels.tolist()[0] == 0
    first = [found.labels.tolist().index(cluster) for cluster in range(4)]
    assert first == sorted(first)


@pytest.mark.parametrize("count", ["eigengap", "agglomerative", "hdbscan"])
def test_a_single_voice_is_one_cluster(count):
    points, _ = voices(1, 60)
    assert cluster_embeddings(points, count=count, distance="cosine", most=8).clusters == 1


@pytest.mark.parametrize("count", sorted(COUNT_METHODS))
def test_the_number_stays_within_its_bounds(count):
    points, _ = voices(5, 12)
    for fewest, most in ((2, 3), (7, 9), (4, 4)):
        found = cluster_embeddings(points, count=count, fewest=fewest, most=most, distance="cosine")
        assert fewest <= found.clusters <= most
        assert all(fewest <= number <= most for number in found.scores)


@pytest.mark.parametrize("points", range(1, 7))
@pytest.mark.parametrize("count", sorted(COUNT_METHODS))
def test_few_points_are_clustered_somehow(points, count):
    embeddings, _ = voices(1, points)
    found = cluster_embeddings(embeddings, count=count)
    assert found.labels.shape == (points,)
    assert 1 <= found.clusters <= points


@pytest.mark.parametrize("count", sorted(COUNT_METHODS))
def test_equal_points_do_not_break_it(count):
    found = cluster_embeddings(np.ones((12, 4)), count=count, most=5)
    assert found.labels.shape == (12,)


def test_the_same_seed_gives_the_same_clusters_whatever_the_scale():
    points, _ = voices(3, 20, spread=1.5)
    first = cluster_embeddings(points, 5, seed=3)
    np.testing.assert_array_equal(first.labels, cluster_embeddings(points, 5, seed=3).labels)
    by_angle = cluster_embeddings(points, 3, distance="cosine")
    np.testing.assert_array_equal(
        by_angle.labels, cluster_embeddings(points * np.arange(1, 61)[:, None], 3, distance="cosine").labels
    )


def test_many_points_are_thinned_out_for_their_eigenvalues():
    points, _ = voices(4, 200)
    gaps = nearest_neighbour_eigengap(points, most=8)
    assert max(gaps, key=gaps.__getitem__) == 4
    assert sorted(gaps) == list(range(1, 9))


def test_the_gap_of_two_parts_without_connection():
    """Of two pairs, each joined with the other: the eigenvalues are 0, 0, 2, 2 (edges of weight 1)."""
    points = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0]])
    gaps = nearest_neighbour_eigengap(points, most=3, neighbours=(1,))
    np.testing.assert_allclose([gaps[1], gaps[2], gaps[3]], [0.0, 1.0, 0.0], atol=1e-12)


def test_means_of_groups():
    embeddings = np.arange(12.0).reshape(6, 2).astype(np.float32)
    groups = np.array([5, 1, 5, 1, 1, 9])
    means = mean_by_group(embeddings, groups)
    np.testing.assert_allclose(means, [embeddings[groups == group].mean(0) for group in (1, 5, 9)])


def test_what_cannot_be_is_refused(as_a_user):
    points, _ = voices(2, 3)
    with pytest.raises(ArgumentError, match=r"`clusters` must lie in \[1, 6\], got 7"):
        cluster_embeddings(points, 7)
    with pytest.raises(ArgumentError, match="`count` must be one of"):
        cluster_embeddings(points, count="guess")
    with pytest.raises(ArgumentError, match="not finite"):
        cluster_embeddings(np.full((3, 2), np.nan))
    with pytest.raises(ArgumentError, match="at least one point"):
        cluster_embeddings(np.zeros((0, 2)))
    with pytest.raises(ArgumentError, match="one a row"):
        mean_by_group(points, np.arange(3))
