"""The embedding network against a plain NumPy one; padding, dropout, dtypes, sizes."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.models import EmbeddingNetwork

COUNTS = json.loads((Path(__file__).parent.parent / "golden" / "deep_clustering_parameter_counts.json").read_text())[
    "rows"
]
BINS = 5


def network(**options):
    defaults = {"layers": 2, "units": 4, "dim": 3, "rngs": nnx.Rngs(0)}
    return EmbeddingNetwork(BINS, **{**defaults, **options})


def features(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*shape, BINS)), jnp.float32)


@nnx.jit
def embed(model, x, frames_mask=None):
    return model(x, frames_mask=frames_mask)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def one_direction(x, input_kernel, recurrent_kernel, bias):
    """The textbook recurrence, one frame and one gate at a time."""
    units = recurrent_kernel.shape[0]
    hidden, cell, outputs = np.zeros(units), np.zeros(units), []
    for frame in x:
        i, f, g, o = np.split(frame @ input_kernel + hidden @ recurrent_kernel + bias, 4)
        cell = logistic(f) * cell + logistic(i) * np.tanh(g)
        hidden = logistic(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def reference(model, x):
    """Embeddings of one utterance [frames, bins], in float64."""
    hidden = np.float64(x)
    for layer in model.layers:
        weights = [np.float64(p[...]) for p in (layer.input_kernel, layer.recurrent_kernel, layer.bias)]
        there = one_direction(hidden, *(w[0] for w in weights))
        back = one_direction(hidden[::-1], *(w[1] for w in weights))[::-1]
        hidden = np.concatenate([there, back], axis=-1)
    z = hidden @ np.float64(model.kernel[...]) + np.float64(model.bias[...])
    z = {"tanh": np.tanh, "logistic": logistic}[model.activation](z)
    rows = [z[t, f * model.dim : (f + 1) * model.dim] for t in range(len(x)) for f in range(BINS)]
    return np.array([row / np.linalg.norm(row) for row in rows])


@pytest.mark.parametrize("row", COUNTS, ids=lambda r: f"{r['layers']}x{r['units_per_direction']}-D{r['D']}")
def test_golden_parameter_counts(row):
    model = nnx.eval_shape(
        lambda: EmbeddingNetwork(
            row["F"], layers=row["layers"], units=row["units_per_direction"], dim=row["D"], rngs=nnx.Rngs(0)
        )
    )
    sizes = [leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]
    assert sum(sizes) == row["total_one_bias"]
    assert model.kernel.size + model.bias.size == row["embedding"]


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("layers", [1, 3])
def test_equals_a_textbook_network(layers, activation):
    model = network(layers=layers, activation=activation, initial_std=0.5)
    model.bias[...] = jnp.linspace(-1, 1, BINS * 3)
    x = features(7)
    np.testing.assert_allclose(embed(model, x), reference(model, x), atol=2e-6)


def test_batch_axes_lead_and_are_arbitrary():
    model, x = network(), features(2, 3, 6)
    values = embed(model, x)
    assert values.shape == (2, 3, 6 * BINS, 3)
    np.testing.assert_allclose(values[1, 2], embed(model, x[1, 2]), atol=1e-6)


def test_embeddings_have_unit_length_and_logistic_ones_no_negative_entry():
    for activation in ("tanh", "logistic"):
        values = embed(network(activation=activation), features(4, 6))
        np.testing.assert_allclose(jnp.linalg.norm(values, axis=-1), 1, atol=1e-6)
    assert np.min(values) >= 0


def test_zero_activations_stay_zero_with_a_finite_gradient():
    model = network()
    model.kernel[...] = jnp.zeros_like(model.kernel[...])
    gradients = nnx.jit(nnx.grad(lambda model, x: jnp.sum(model(x))))(model, features(4))
    assert not np.any(embed(model, features(4)))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))


# --- Padding ---


LENGTHS = [9, 1, 4]
PADDED = jnp.arange(9) < jnp.array(LENGTHS)[:, None]


def test_padded_batches_give_what_unpadded_ones_give():
    model, x = network(layers=3, initial_std=0.7), features(3, 9)
    values = embed(model, x, PADDED)
    for example, length in enumerate(LENGTHS):
        alone = embed(model, x[example, :length])
        np.testing.assert_allclose(values[example, : length * BINS], alone, atol=1e-6)
    # The last valid frame is where reading backwards starts: without the mask it would start in the padding.
    assert np.max(np.abs(embed(model, x)[1, :BINS] - values[1, :BINS])) > 0.1


def test_what_stands_in_the_padding_does_not_matter_not_even_nan():
    model, x = network(layers=3), features(3, 9)
    broken = jnp.where(PADDED[..., None], x, jnp.nan)
    values = embed(model, broken, PADDED)
    np.testing.assert_array_equal(values, embed(model, jnp.where(PADDED[..., None], x, 0), PADDED))
    assert np.all(np.isfinite(values))


def test_gradients_of_padded_batches_are_those_of_the_valid_frames():
    model, x = network(layers=2), features(3, 9)
    target = jnp.asarray(np.random.default_rng(1).normal(size=(3, 9 * BINS, 3)), jnp.float32)
    valid = jnp.repeat(PADDED, BINS, axis=-1)[..., None]

    @nnx.jit
    def gradients(model, x):
        def score(model, x):
            return jnp.sum(jnp.where(valid, target * model(x, frames_mask=PADDED), 0))

        return nnx.grad(score, argnums=(0, 1))(model, x)

    of_model, of_x = gradients(model, jnp.where(PADDED[..., None], x, jnp.nan))
    assert not np.any(np.where(PADDED[..., None], 0, of_x))

    def score_alone(model):
        return sum(jnp.sum(target[i, : n * BINS] * model(x[i, :n])) for i, n in enumerate(LENGTHS))

    alone = nnx.jit(nnx.grad(score_alone))(model)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), of_model, alone)


# --- Dropout, initial weights, dtypes ---


def test_dropout_acts_between_layers_only_and_only_in_training():
    @nnx.jit
    def train(model, x, key):
        return model(x, deterministic=False, rngs=nnx.Rngs(dropout=key))

    x, keys = features(4, 50), jax.random.split(jax.random.key(0))
    model = network(dropout=0.5, units=32)
    first = train(model, x, keys[0])
    np.testing.assert_array_equal(first, train(model, x, keys[0]))
    assert np.max(np.abs(first - train(model, x, keys[1]))) > 0.01
    assert np.max(np.abs(first - embed(model, x))) > 0.01
    single = network(dropout=0.5, layers=1)
    np.testing.assert_allclose(embed(single, x), train(single, x, keys[0]), atol=1e-6)


def test_dropout_keeps_the_expectation():
    from jaxspk.models import _recurrent

    dropped = _recurrent._drop(jnp.ones((400, 400)), 0.3, jax.random.key(0))
    assert abs(float(jnp.mean(dropped == 0)) - 0.3) < 0.01
    assert abs(float(jnp.mean(dropped)) - 1) < 0.01


def test_initial_weights():
    layer = network(units=64).layers[1]
    forget = np.arange(4 * 64) // 64 == 1
    np.testing.assert_array_equal(layer.bias[...], np.stack([forget, forget]).astype(float))
    square = np.asarray(layer.recurrent_kernel[...])[0, :, :64]
    np.testing.assert_allclose(square.T @ square, np.eye(64), atol=1e-5)
    drawn = network(units=64, initial_std=0.1)
    for weights in (drawn.layers[1].input_kernel, drawn.layers[1].recurrent_kernel, drawn.kernel):
        assert abs(float(jnp.std(weights[...])) - 0.1) < 0.01


def test_the_seed_decides_the_weights():
    same, other = (network(rngs=nnx.Rngs(seed)) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, nnx.state(network()), nnx.state(same))
    assert np.any(np.asarray(same.kernel[...]) != np.asarray(other.kernel[...]))


def test_bfloat16_compute_keeps_float32_weights():
    model = network(dtype=jnp.bfloat16)
    values = embed(model, features(2, 20))
    assert values.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(model)))
    np.testing.assert_allclose(values.astype(jnp.float32), embed(network(), features(2, 20)), atol=0.05)
    gradient = nnx.grad(lambda model, x: jnp.sum(model(x).astype(jnp.float32)[..., 0]))
    gradients = nnx.jit(gradient)(model, features(2, 20))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradients))


def test_functional_use_under_jit_and_nothing_but_parameters_in_the_state():
    model, x = network(dropout=0.5), features(2, 6)
    definition, parameters, rest = nnx.split(model, nnx.Param, ...)
    assert not jax.tree.leaves(rest)
    step = jax.jit(lambda p, key: nnx.merge(definition, p, rest)(x, deterministic=False, rngs=nnx.Rngs(dropout=key)))
    assert step(parameters, jax.random.key(0)).shape == (2, 6 * BINS, 3)


# --- Messages ---


def test_refused_arguments(as_a_user):
    for options, message in [
        ({"layers": 0}, "`layers` must lie in"),
        ({"units": 0}, "`units` must lie in"),
        ({"activation": "relu"}, "`activation` must be one of 'tanh', 'logistic', got 'relu'"),
        ({"dropout": 1.0}, "`dropout` must lie in"),
        ({"initial_std": 0.0}, "`initial_std` must lie in"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            network(**options)
    model = network(dropout=0.5)
    with pytest.raises(ArgumentError, match="5 bins per frame"):
        model(jnp.zeros((4, 6)))
    with pytest.raises(ArgumentError, match="`frames_mask` must have shape"):
        model(features(4), frames_mask=jnp.ones((3,), bool))
    with pytest.raises(ArgumentError, match="pass `rngs="):
        model(features(4), deterministic=False)
    with pytest.raises(ArgumentTypeError, match="`features` must be floating"):
        model(jnp.zeros((4, BINS), jnp.int32))
