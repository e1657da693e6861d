"""Deep clustering: its gradient against every witness, and what else the papers say of its cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk import losses
from jaxspk.testing import rows
from jaxspk.testing._suite import SHORT, loss_names, missing_rows, run_named

pytestmark = pytest.mark.usefixtures("x64", "strict_promotion")

BINS, DIM, SOURCES = 6, 3, 2


def test_every_public_loss_has_a_row_and_inputs():
    assert missing_rows() == []


@pytest.mark.parametrize("name", loss_names("deep_clustering"))
def test_gradient_is_right_and_every_mistake_is_caught(name):
    result = run_named(name, SHORT, seed=0)
    assert result.passed, result.describe()
    assert result.exact > 0


def unit_rows(array):
    lengths = np.linalg.norm(array, axis=-1, keepdims=True)
    return array / lengths


labels = st.lists(st.integers(0, SOURCES - 1), min_size=BINS, max_size=BINS)
embeddings = rows((BINS, DIM), kinds=("duplicate", "near", "opposite", "axis"))


def partition_cost(v, y):
    return float(losses.deep_clustering_loss(jnp.asarray(v), jnp.asarray(y), balance="partition"))


def k_means_form(v, y):
    """The cost as printed by Hershey et al.: distances within a source, all distances, less N."""
    d = (y @ y.T).sum(1)
    squares = np.sum((v[:, None] - v[None]) ** 2, -1)
    within = np.sum((y @ y.T) * squares / d[:, None])
    return within + np.sum((squares - 2) ** 2 / (4 * np.sqrt(d[:, None] * d[None]))) - len(v)


@given(embeddings, labels)
def test_the_printed_pairwise_form_is_the_loss(v, sources):
    v, y = unit_rows(v), np.eye(SOURCES)[sources]
    d, products, same = (y @ y.T).sum(1), v @ v.T, y @ y.T > 0
    printed = np.sum(np.where(same, (products - 1) ** 2 / d[:, None], products**2 / np.sqrt(d[:, None] * d[None])))
    np.testing.assert_allclose(partition_cost(v, y), printed, rtol=1e-9, atol=1e-9)


@given(embeddings, labels)
def test_the_k_means_form_is_the_loss_for_unit_rows(v, sources):
    v, y = unit_rows(v), np.eye(SOURCES)[sources]
    np.testing.assert_allclose(partition_cost(v, y), k_means_form(v, y), rtol=1e-9, atol=1e-9)


def test_the_k_means_form_is_not_the_loss_without_unit_rows():
    v = 1.5 * unit_rows(np.random.default_rng(0).normal(size=(BINS, DIM)))
    y = np.eye(SOURCES)[[0, 0, 0, 1, 1, 0]]
    assert abs(partition_cost(v, y) - k_means_form(v, y)) > 1


@given(embeddings, labels)
def test_the_gradient_is_the_printed_one(v, sources):
    y = np.eye(SOURCES)[sources]
    root = np.diag((y @ y.T).sum(1) ** -0.5)
    printed = 4 * root @ v @ v.T @ root @ v - 4 * root @ y @ y.T @ root @ v
    found = losses.deep_clustering_loss_grad(jnp.asarray(v), jnp.asarray(y), balance="partition")
    np.testing.assert_allclose(found, printed, rtol=1e-9, atol=1e-9 * np.abs(printed).max())


def test_soft_assignments_have_the_cost_of_their_affinities_but_not_of_the_k_means_form():
    generator = np.random.default_rng(1)
    v, y = unit_rows(generator.normal(size=(BINS, DIM))), generator.dirichlet(np.ones(SOURCES), BINS)
    found = float(losses.deep_clustering_loss(jnp.asarray(v), jnp.asarray(y)))
    np.testing.assert_allclose(found, np.sum((v @ v.T - y @ y.T) ** 2), rtol=1e-12)
    assert abs(partition_cost(v, y) - k_means_form(v, y)) > 1e-3


def test_silent_bins_have_no_gradient():
    generator = np.random.default_rng(2)
    v, y = generator.normal(size=(BINS, DIM)), np.eye(SOURCES)[[0, 1, 0, 1, 0, 1]]
    weights = np.array([1.0, 0, 1, 1, 0, 1])
    gradient = jax.grad(lambda v: losses.deep_clustering_loss(v, jnp.asarray(y), jnp.asarray(weights)))(jnp.asarray(v))
    assert np.all(np.asarray(gradient)[weights == 0] == 0)
