"""The spectral map against reference values, the matrices it never makes, and the trap of negative degrees."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.clustering import _spectral, kmeans, spectral_clustering, spectral_embedding
from jaxspk.errors import ArgumentError, ArgumentTypeError

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "deep_clustering_spectral.json").read_text())
CASES = {case["activation"]: case for case in GOLDEN["cases"]}
KEY = jax.random.key(0)


def unit_rows(count, dim, seed=0, *, positive=False):
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    rows = np.abs(rows) if positive else rows
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def two_groups(count, dim, *, share=0.5, spread=0.3, seed=0):
    """Unit rows around two orthogonal directions, and which row is of which."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) >= share * count).astype(int)
    rows = np.eye(dim)[labels] + spread * rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def agreement(labels, truth):
    share = np.mean(np.asarray(labels) == truth)
    return max(share, 1 - share)


def dense_leading(rows, weights, vectors):
    """The definition: eigenvectors of the whole normalised matrix of affinities, then rows of unit length."""
    affinity = rows @ rows.T
    degrees = affinity @ weights
    scale = np.sqrt(weights / degrees)
    values, found = np.linalg.eigh(scale[:, None] * affinity * scale)
    leading = found[:, ::-1][:, :vectors]
    return leading, np.sqrt(values[::-1][:vectors]), degrees


def test_reference_values_of_non_negative_rows(x64):
    case = CASES["logistic"]
    found = spectral_embedding(jnp.asarray(case["V"]), vectors=case["m"], degrees="raw")
    np.testing.assert_allclose(found.degrees, case["D"], rtol=1e-12)
    np.testing.assert_allclose(found.singular_values, case["singular_values"][: case["m"]], rtol=1e-12)
    np.testing.assert_allclose(found.coordinates @ found.coordinates.T, case["row_normalised_gram"], atol=1e-10)
    whole = spectral_embedding(jnp.asarray(case["V"]), vectors=3, degrees="raw")
    np.testing.assert_allclose(whole.singular_values, case["singular_values"], rtol=1e-10)


def test_the_projector_of_the_reference_values(x64):
    """Unit rows forget the lengths of the rows of U; the projector restores them from its own diagonal."""
    case = CASES["logistic"]
    projector = np.array(case["U_m_projector"])
    found = spectral_embedding(jnp.asarray(case["V"]), vectors=case["m"], degrees="raw")
    rows = np.asarray(found.coordinates) * np.sqrt(np.diag(projector))[:, None]
    np.testing.assert_allclose(rows @ rows.T, projector, atol=1e-12)
    np.testing.assert_allclose(rows.T @ rows, np.eye(2), atol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "hand example"])
def test_reference_degrees_that_are_negative(x64, name):
    case = CASES[name]
    rows = jnp.asarray(np.array(case["V"], np.float64))
    raw = spectral_embedding(rows, vectors=2, degrees="raw")
    np.testing.assert_allclose(raw.degrees, case["D"], atol=1e-12)
    assert int((raw.degrees < 0).sum()) == case["n_negative"]
    # What goes wrong: the root of one negative degree leaves no number anywhere.
    assert np.isnan(raw.coordinates).all()
    for rule in ("shifted", "clamped"):
        mended = spectral_embedding(rows, vectors=2, degrees=rule)
        assert np.isfinite(mended.coordinates).all()
        np.testing.assert_allclose(np.linalg.norm(mended.coordinates, axis=1), 1, atol=1e-9)
    shifted = spectral_embedding(rows, vectors=2, degrees="shifted")
    assert (np.asarray(shifted.degrees) >= 1 - 1e-12).all()
    np.testing.assert_allclose(shifted.degrees, (len(rows) + np.asarray(raw.degrees)) / 2, rtol=1e-12)


def test_half_the_degrees_of_random_rows_are_negative():
    found = spectral_embedding(jnp.asarray(unit_rows(4000, 20), jnp.float32), vectors=2, degrees="clamped")
    assert 0.4 < np.mean(np.asarray(found.degrees) < 0) < 0.6


def test_degrees_that_are_positive_but_tiny_ruin_the_raw_map():
    """No NaN here: all degrees are positive, two nearly zero, and their rows fill the leading eigenvectors."""
    points, truth = two_groups(1498, 20, spread=0.05)
    total = points.sum(0)
    odd = np.eye(20)[[2, 3]]
    # The affinity to itself is 1, that to all others together -0.99.
    odd = odd + (-0.99 - odd @ total)[:, None] / (total @ total) * total
    points = np.r_[points, odd / np.linalg.norm(odd, axis=1, keepdims=True)].astype(np.float32)
    found = {
        rule: spectral_clustering(jnp.asarray(points), clusters=2, key=KEY, degrees=rule) for rule in ("raw", "clamped")
    }
    assert 0 < float(found["raw"].embedding.degrees.min()) < 0.05
    assert found["raw"].embedding.singular_values[1] > 4
    assert agreement(found["clamped"].labels[:-2], truth) > 0.99
    assert agreement(found["raw"].labels[:-2], truth) < 0.8


@pytest.mark.parametrize("rule", ["raw", "shifted"])
def test_equals_the_eigenvectors_of_the_dense_matrix(x64, rule):
    rows = unit_rows(60, 5, positive=rule == "raw")
    weights = np.random.default_rng(1).uniform(0.2, 2, size=60)
    found = spectral_embedding(jnp.asarray(rows), vectors=3, weights=jnp.asarray(weights), degrees=rule)
    used = rows if rule == "raw" else np.c_[rows, np.ones(60)] / np.sqrt(2)
    leading, values, degrees = dense_leading(used, weights, 3)
    unit = leading / np.linalg.norm(leading, axis=1, keepdims=True)
    np.testing.assert_allclose(found.coordinates @ found.coordinates.T, unit @ unit.T, atol=1e-9)
    np.testing.assert_allclose(found.singular_values, values, rtol=1e-9)
    np.testing.assert_allclose(found.degrees, degrees, rtol=1e-12)


def test_the_leading_singular_value_is_one(x64):
    for rule, rows in (("raw", unit_rows(50, 4, positive=True)), ("shifted", unit_rows(50, 4))):
        found = spectral_embedding(jnp.asarray(rows), vectors=2, degrees=rule)
        np.testing.assert_allclose(found.singular_values[0], 1, rtol=1e-12)


def test_a_weight_is_a_number_of_copies_and_zero_is_none(x64):
    rows = unit_rows(30, 4)
    counts = np.random.default_rng(3).integers(0, 4, size=30)
    weighted = spectral_embedding(jnp.asarray(rows), vectors=2, weights=jnp.asarray(counts), degrees="shifted")
    copied = spectral_embedding(jnp.asarray(np.repeat(rows, counts, axis=0)), vectors=2, degrees="shifted")
    np.testing.assert_allclose(weighted.singular_values, copied.singular_values, rtol=1e-10)
    first = np.flatnonzero(counts > 0)
    of_copies = np.asarray(copied.coordinates)[np.r_[0, np.cumsum(counts)[:-1]][first]]
    gram = np.asarray(weighted.coordinates)[first] @ np.asarray(weighted.coordinates)[first].T
    np.testing.assert_allclose(gram, of_copies @ of_copies.T, atol=1e-9)
    assert np.isfinite(weighted.coordinates).all()


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_clamped_degrees_find_two_groups_as_k_means_does(share):
    points, truth = two_groups(1500, 20, share=share)
    found = spectral_clustering(jnp.asarray(points), clusters=2, key=KEY)
    plain = kmeans(jnp.asarray(points), clusters=2, key=KEY)
    assert agreement(found.labels, truth) > agreement(plain.labels, truth) - 0.02


def test_the_shifted_affinity_loses_a_small_group_that_clamped_degrees_keep():
    points, truth = two_groups(1500, 20, share=0.9)
    assert float(spectral_embedding(jnp.asarray(points), vectors=2).degrees.min()) < 0
    share = {
        rule: agreement(spectral_clustering(jnp.asarray(points), clusters=2, key=KEY, degrees=rule).labels, truth)
        for rule in ("clamped", "shifted")
    }
    assert share["clamped"] > share["shifted"] + 0.05
    assert share["clamped"] > 0.97


def test_the_default_is_the_paper_formula_for_non_negative_rows(x64):
    rows = jnp.asarray(CASES["logistic"]["V"])
    jax.tree.map(
        np.testing.assert_array_equal,
        spectral_embedding(rows, vectors=2),
        spectral_embedding(rows, vectors=2, degrees="raw"),
    )


def test_the_scale_of_the_weights_means_nothing():
    points, _ = two_groups(300, 5, share=0.9)
    weights = jnp.asarray(np.random.default_rng(0).random(300), jnp.float32)
    for rule in ("clamped", "shifted"):
        one, two = (
            spectral_embedding(jnp.asarray(points), vectors=2, weights=scale * weights, degrees=rule)
            for scale in (1, 1000)
        )
        np.testing.assert_allclose(one.coordinates @ one.coordinates.T, two.coordinates @ two.coordinates.T, atol=1e-3)


def test_three_groups_under_jit_and_vmap():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=(2, 300))
    points = np.eye(8)[truth] + 0.15 * rng.normal(size=(2, 300, 8))
    points = jnp.asarray(points / np.linalg.norm(points, axis=-1, keepdims=True), jnp.float32)
    run = jax.jit(jax.vmap(lambda p, k: spectral_clustering(p, clusters=3, key=k).labels))
    labels = np.asarray(run(points, jax.random.split(KEY, 2)))
    from sklearn.metrics import adjusted_rand_score

    for item in range(2):
        assert adjusted_rand_score(truth[item], labels[item]) > 0.97


def test_the_same_key_repeats():
    points = jnp.asarray(two_groups(1500, 20)[0])
    one, two = (spectral_clustering(points, clusters=2, key=KEY) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_zero_row_gets_a_label_and_spoils_nothing():
    points, truth = two_groups(1500, 20, spread=0.1)
    points[17] = 0
    found = spectral_clustering(jnp.asarray(points), clusters=2, key=KEY)
    assert np.isfinite(found.embedding.coordinates).all()
    assert agreement(np.delete(np.asarray(found.labels), 17), np.delete(truth, 17)) > 0.99


def test_memory_never_grows_with_the_square_of_the_points():
    shape = jax.ShapeDtypeStruct((200_000, 40), jnp.float32)
    weights = jax.ShapeDtypeStruct((200_000,), jnp.float32)
    compiled = _spectral._embed.lower(shape, weights, 0.05, 2, "clamped").compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 5 * 200_000 * 41 * 4


def test_narrow_points_are_computed_in_float32():
    found = spectral_embedding(jnp.asarray(unit_rows(20, 4), jnp.bfloat16), vectors=2)
    assert found.coordinates.dtype == jnp.float32


def test_refused_arguments(as_a_user):
    points = jnp.asarray(unit_rows(10, 3), jnp.float32)
    with pytest.raises(ArgumentError, match="`degrees` must be one of 'clamped', 'shifted', 'raw'"):
        spectral_embedding(points, vectors=2, degrees="ignored")
    with pytest.raises(ArgumentError, match=r"`vectors` must lie in \[1, 4\]"):
        spectral_embedding(points, vectors=5, degrees="shifted")
    with pytest.raises(ArgumentError, match=r"`vectors` must lie in \[1, 3\]"):
        spectral_embedding(points, vectors=4, degrees="raw")
    with pytest.raises(ArgumentError, match=r"`weights` must have shape \(10,\)"):
        spectral_clustering(points, clusters=2, key=KEY, weights=jnp.ones(3))
    with pytest.raises(ArgumentError, match="`clusters`"):
        spectral_clustering(points, clusters=0, key=KEY)
    with pytest.raises(ArgumentTypeError, match="`points` must be floating"):
        spectral_embedding(points.astype(int), vectors=2)
