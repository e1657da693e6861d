"""Sparse NMF: the objective never rises, its value is the definition's, and it finds what is there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.models import nmf_activations, sparse_nmf

KEY = jax.random.key(0)


def parts(features=30, bases=4, frames=80, seed=0):
    rng = np.random.default_rng(seed)
    w = rng.random((features, bases)) * (rng.random((features, bases)) < 0.4) + 1e-3
    h = rng.exponential(size=(bases, frames)) * (rng.random((bases, frames)) < 0.5)
    return w / np.linalg.norm(w, axis=0), h


def objective(v, w, h, sparsity):
    """The definition, in float64, with the data scaled to a mean of one as its unit."""
    model = w @ h
    divergence = np.sum(np.where(v > 0, v * np.log(np.where(v > 0, v / model, 1)), 0) - v + model)
    return divergence + sparsity * np.sum(np.linalg.norm(w, axis=0) @ h)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 5.0]), st.sampled_from([1e-4, 1.0, 1e5]))
def test_the_objective_never_rises(seed, sparsity, level):
    rng = np.random.default_rng(seed)
    v = rng.random((12, 15)) * (rng.random((12, 15)) < 0.7)
    v[:, 3] = 0  # a silent frame
    v[5] = 0  # a band in which nothing ever sounds
    with jax.enable_x64(True):
        found = sparse_nmf(jnp.asarray(level * v), bases=5, key=jax.random.key(seed), sparsity=sparsity, iterations=40)
        falls = np.diff(np.asarray(found.objective))
        assert np.isfinite(np.asarray(found.objective)).all()
        assert (falls <= 1e-10 * abs(float(found.objective[0]))).all()
        _, alone = nmf_activations(jnp.asarray(level * v), found.bases, sparsity=sparsity, iterations=40)
        assert (np.diff(np.asarray(alone)) <= 1e-10 * abs(float(alone[0]))).all()


def test_the_objective_is_the_definition(x64):
    w, h = parts()
    v = jnp.asarray(w @ h + 1e-3)
    one = sparse_nmf(v, bases=4, key=KEY, sparsity=0.7, iterations=7)
    two = sparse_nmf(v, bases=4, key=KEY, sparsity=0.7, iterations=8)
    # The last entry of the longer one is of the factors that the shorter one returned.
    expected = objective(np.asarray(v), np.asarray(one.bases), np.asarray(one.activations), 0.7)
    np.testing.assert_allclose(two.objective[-1], expected, rtol=1e-6)


def test_every_factor_is_where_its_update_leads_nowhere_better(x64):
    """After many iterations no small change of a basis or an activation lowers the objective by much."""
    w, h = parts(features=8, bases=2, frames=10)
    v = w @ h + 1e-2
    found = sparse_nmf(jnp.asarray(v), bases=2, key=KEY, sparsity=0.5, iterations=2000)
    w, h = np.asarray(found.bases), np.asarray(found.activations)
    here = objective(v, w, h, 0.5)
    rng = np.random.default_rng(0)
    for _ in range(200):
        moved_w, moved_h = w * np.exp(1e-3 * rng.normal(size=w.shape)), h * np.exp(1e-3 * rng.normal(size=h.shape))
        assert objective(v, moved_w, h, 0.5) > here - 1e-6 * here
        assert objective(v, w, moved_h, 0.5) > here - 1e-6 * here


def test_without_sparsity_data_of_low_rank_are_explained():
    w, h = parts(bases=3)
    v = (w @ h).astype(np.float32)
    found = sparse_nmf(jnp.asarray(v), bases=6, key=KEY, sparsity=0.0, iterations=400)
    assert np.abs(np.asarray(found.bases @ found.activations) - v).sum() < 0.05 * v.sum()


def test_sparsity_makes_activations_sparse():
    rng = np.random.default_rng(0)
    v = jnp.asarray(rng.random((30, 50)), jnp.float32)
    bases = jnp.asarray(parts(bases=40)[0], jnp.float32)
    used = [
        float(np.mean(np.asarray(nmf_activations(v, bases, sparsity=s, iterations=400)[0]) > 1e-2)) for s in (0.0, 5.0)
    ]
    assert used[1] < 0.85 * used[0]


def test_bases_have_unit_length_and_the_level_is_in_the_activations():
    w, h = parts()
    soft, loud = (
        sparse_nmf(jnp.asarray(level * (w @ h), jnp.float32), bases=4, key=KEY, iterations=20) for level in (1, 1000)
    )
    np.testing.assert_allclose(np.linalg.norm(soft.bases, axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(soft.bases, loud.bases, atol=1e-3)
    np.testing.assert_allclose(1000 * np.asarray(soft.activations), loud.activations, rtol=2e-2, atol=1)


def test_silence_is_finite():
    found = sparse_nmf(jnp.zeros((5, 7)), bases=2, key=KEY, iterations=5)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(found))


def test_refused_arguments(as_a_user):
    with pytest.raises(ArgumentError, match="`bases` must lie in"):
        sparse_nmf(jnp.ones((4, 5)), bases=0, key=KEY)
    with pytest.raises(ArgumentError, match="`sparsity` must lie in"):
        sparse_nmf(jnp.ones((4, 5)), bases=1, key=KEY, sparsity=-1.0)
    with pytest.raises(ArgumentError, match="`bases` must have the 4 features"):
        nmf_activations(jnp.ones((4, 5)), jnp.ones((3, 2)))
    with pytest.raises(ArgumentTypeError, match="`data` must be floating"):
        sparse_nmf(jnp.ones((4, 5), int), bases=1, key=KEY)
