"""k-means against hand cases, scikit-learn, and its own definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.clustering import _kmeans, kmeans, soft_assignments
from jaxspk.errors import ArgumentError, ArgumentTypeError

KEY = jax.random.key(0)


def blobs(count, clusters, dim, *, spread=0.1, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(clusters, size=count)
    points = random.normal(size=(clusters, dim))[labels] + spread * random.normal(size=(count, dim))
    return points.astype(np.float32), labels


def inertia(points, weights, result):
    difference = np.float64(points) - np.float64(result.centers)[np.asarray(result.labels)]
    return np.sum(np.float64(weights) * np.sum(difference**2, axis=-1))


def test_hand_case():
    points = jnp.array([[0.0], [2.0], [10.0], [11.0], [12.0]])
    result = kmeans(points, clusters=2, key=KEY)
    order = np.argsort(result.centers[:, 0])
    np.testing.assert_allclose(result.centers[order, 0], [1, 11], atol=1e-6)
    assert result.labels.tolist() == [order[0]] * 2 + [order[1]] * 3
    np.testing.assert_allclose(result.inertia, 1 + 1 + 1 + 0 + 1, atol=1e-5)


def test_weights_move_centres_and_count_in_the_inertia():
    points = jnp.array([[0.0], [2.0], [10.0]])
    result = kmeans(points, clusters=2, key=KEY, weights=jnp.array([1, 3, 1]))
    np.testing.assert_allclose(np.sort(result.centers[:, 0]), [1.5, 10], atol=1e-6)
    np.testing.assert_allclose(result.inertia, 1.5**2 + 3 * 0.5**2, rtol=1e-6)


@pytest.mark.parametrize(
    ("count", "clusters", "dim", "spread"), [(500, 2, 40, 0.3), (800, 7, 5, 0.2), (300, 4, 2, 5.0)]
)
def test_as_good_as_scikit_learn(count, clusters, dim, spread):
    from sklearn.cluster import KMeans

    points, _ = blobs(count, clusters, dim, spread=spread)
    peer = KMeans(clusters, n_init=10, random_state=0).fit(points)
    result = kmeans(jnp.asarray(points), clusters=clusters, key=KEY, restarts=10)
    assert result.labels.dtype == jnp.int32
    assert result.inertia <= peer.inertia_ * 1.01
    np.testing.assert_allclose(result.inertia, inertia(points, np.ones(count), result), rtol=1e-5)
    if spread < 1:
        from sklearn.metrics import adjusted_rand_score

        assert adjusted_rand_score(peer.labels_, result.labels) == 1


def test_converged_centres_are_the_means_of_their_points():
    points, _ = blobs(400, 3, 4, spread=1.0)
    weights = np.random.default_rng(1).exponential(size=400).astype(np.float32)
    result = kmeans(jnp.asarray(points), clusters=3, key=KEY, weights=jnp.asarray(weights), iterations=300)
    for cluster, center in enumerate(result.centers):
        inside = np.asarray(result.labels) == cluster
        np.testing.assert_allclose(center, np.average(points[inside], axis=0, weights=weights[inside]), atol=2e-3)
    nearest = np.argmin(((points[:, None] - np.asarray(result.centers)) ** 2).sum(-1), axis=-1)
    np.testing.assert_array_equal(result.labels, nearest)


def test_points_of_weight_zero_shape_nothing_but_get_a_label():
    points, _ = blobs(300, 2, 3)
    far = np.full((50, 3), 100, np.float32)
    weights = jnp.asarray(np.r_[np.ones(300), np.zeros(50)])
    with_far = kmeans(jnp.asarray(np.r_[points, far]), clusters=2, key=KEY, weights=weights)
    alone = kmeans(jnp.asarray(points), clusters=2, key=KEY)
    np.testing.assert_allclose(np.sort(with_far.centers, 0), np.sort(alone.centers, 0), atol=1e-5)
    np.testing.assert_allclose(with_far.inertia, alone.inertia, rtol=1e-4)
    assert with_far.labels.shape == (350,)


def test_weights_that_are_all_zero_count_every_point():
    points, _ = blobs(300, 2, 3)
    result = kmeans(jnp.asarray(points), clusters=2, key=KEY, weights=jnp.zeros(300))
    expected = kmeans(jnp.asarray(points), clusters=2, key=KEY)
    np.testing.assert_array_equal(result.centers, expected.centers)
    np.testing.assert_array_equal(result.inertia, expected.inertia)


def test_the_key_decides_and_the_same_key_repeats():
    points, _ = blobs(300, 6, 3, spread=1.0)
    run = lambda seed: kmeans(jnp.asarray(points), clusters=6, key=jax.random.key(seed), restarts=1)  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, run(3), run(3))
    assert len({float(run(seed).inertia) for seed in range(5)}) > 1


def test_restarts_only_help():
    points, _ = blobs(600, 12, 2, spread=0.05, seed=3)
    costs = [
        [float(kmeans(jnp.asarray(points), clusters=12, key=jax.random.key(s), restarts=r).inertia) for s in range(6)]
        for r in (1, 8)
    ]
    assert np.mean(costs[1]) < np.mean(costs[0])


def test_under_vmap_and_jit():
    points = jnp.stack([jnp.asarray(blobs(200, 2, 3, seed=seed)[0]) for seed in range(3)])
    keys = jax.random.split(KEY, 3)
    run = lambda points, key: kmeans(points, clusters=2, key=key)  # noqa: E731
    together = jax.jit(jax.vmap(run))(points, keys)
    for i in range(3):
        alone = run(points[i], keys[i])
        np.testing.assert_array_equal(together.labels[i], alone.labels)
        np.testing.assert_allclose(together.centers[i], alone.centers, atol=1e-5)


def test_a_sample_of_the_points_gives_nearly_the_same_centres_and_all_labels():
    points, labels = blobs(20_000, 2, 8, spread=0.3)
    weights = (np.arange(20_000) % 3 > 0).astype(np.float32)
    full = kmeans(jnp.asarray(points), clusters=2, key=KEY, weights=jnp.asarray(weights), max_points=None)
    part = kmeans(jnp.asarray(points), clusters=2, key=KEY, weights=jnp.asarray(weights), max_points=2000)
    np.testing.assert_allclose(np.sort(part.centers, 0), np.sort(full.centers, 0), atol=0.05)
    agreement = np.mean(np.asarray(part.labels) == labels)
    assert max(agreement, 1 - agreement) > 0.999
    np.testing.assert_allclose(part.inertia, inertia(points, weights, part), rtol=1e-4)


def test_the_sample_is_spread_over_the_points_that_have_a_weight():
    weights = jnp.asarray(np.random.default_rng(0).random(1000) > 0.6, jnp.float32)
    rows, sampled = _kmeans._sample(KEY, weights, 50)
    assert np.all(np.asarray(weights)[rows] == 1) and np.all(np.asarray(sampled) == 1)
    rank = np.cumsum(np.asarray(weights))[np.asarray(rows)] - 1
    stretch = float(weights.sum()) / 50
    assert np.all((rank > np.arange(50) * stretch - 1) & (rank < (np.arange(50) + 1) * stretch))
    rows, sampled = _kmeans._sample(KEY, weights, 900)
    assert sorted(np.asarray(rows)[np.asarray(sampled) > 0]) == np.flatnonzero(np.asarray(weights)).tolist()


def test_blocks_change_nothing(monkeypatch):
    points, _ = blobs(500, 3, 4)
    whole = kmeans(jnp.asarray(points), clusters=3, key=KEY)
    monkeypatch.setattr(_kmeans, "_SCORES_AT_ONCE", 3 * 8 * 37)  # blocks of 37 points, the last one not full
    _kmeans._kmeans.clear_cache()
    blocks = kmeans(jnp.asarray(points), clusters=3, key=KEY)
    _kmeans._kmeans.clear_cache()
    np.testing.assert_array_equal(blocks.labels, whole.labels)
    np.testing.assert_allclose(blocks.centers, whole.centers, atol=1e-5)


def test_memory_stays_bounded_for_a_million_points():
    shape = jax.ShapeDtypeStruct((1_000_000, 40), jnp.float32)
    weights = jax.ShapeDtypeStruct((1_000_000,), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    compiled = _kmeans._kmeans.lower(shape, weights, key, 2, 8, 50, 131_072).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100e6  # the points themselves are 160 MB


def test_fewer_distinct_points_than_clusters():
    points = jnp.array([[1.0, 2.0]] * 5 + [[3.0, 4.0]] * 5)
    result = kmeans(points, clusters=4, key=KEY)
    assert np.all(np.isfinite(result.centers)) and result.inertia < 1e-9
    assert kmeans(points[:1], clusters=3, key=KEY).inertia == 0


def test_far_from_the_origin():
    points, labels = blobs(500, 2, 3, spread=0.02)
    result = kmeans(jnp.asarray(points + 1000), clusters=2, key=KEY)
    agreement = np.mean(np.asarray(result.labels) == labels)
    assert max(agreement, 1 - agreement) == 1


def test_narrow_points_give_float32_centres():
    points, labels = blobs(500, 2, 3, spread=0.05)
    result = kmeans(jnp.asarray(points, jnp.bfloat16), clusters=2, key=KEY)
    assert result.centers.dtype == jnp.float32
    agreement = np.mean(np.asarray(result.labels) == labels)
    assert max(agreement, 1 - agreement) == 1


def test_soft_assignments_sum_to_one_and_follow_the_formula():
    points, _ = blobs(100, 2, 3, spread=1.0)
    centers = jnp.asarray(points[:4])
    shares = soft_assignments(jnp.asarray(points), centers, sharpness=2.0)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)
    distances = ((np.float64(points)[:, None] - np.float64(centers)) ** 2).sum(-1)
    expected = np.exp(-2 * distances)
    np.testing.assert_allclose(shares, expected / expected.sum(-1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(soft_assignments(jnp.asarray(points), centers, sharpness=0.0), 0.25)
    sharp = soft_assignments(jnp.asarray(points), centers, sharpness=1e6)
    np.testing.assert_array_equal(sharp.argmax(-1), distances.argmin(-1))


def test_soft_assignments_far_from_all_centres_stay_finite():
    shares = soft_assignments(jnp.full((2, 3), 1e6), jnp.asarray(np.eye(3, dtype=np.float32)), sharpness=10.0)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)


def test_refused_arguments(as_a_user):
    points = jnp.zeros((5, 2))
    with pytest.raises(ArgumentError, match="`clusters` must lie in"):
        kmeans(points, clusters=0, key=KEY)
    with pytest.raises(ArgumentError, match=r"`weights` must have shape \(5,\)"):
        kmeans(points, clusters=2, key=KEY, weights=jnp.ones(4))
    with pytest.raises(ArgumentTypeError, match="`points` must be floating"):
        kmeans(points.astype(int), clusters=2, key=KEY)
    with pytest.raises(ArgumentError, match=r"points.shape\[0\]"):
        kmeans(points[:0], clusters=2, key=KEY)
    with pytest.raises(ArgumentError, match="`max_points` must lie in"):
        kmeans(points, clusters=4, key=KEY, max_points=3)
