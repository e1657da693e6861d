"""The regularized siamese objective: both gradient rules train alike, more comparisons, single layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxspk import losses
from jaxspk.audio import CepstraConfig
from jaxspk.systems import (
    LayerLearner,
    SiameseConfig,
    SiameseLearner,
    SiameseModel,
    Tolerances,
    layer_objective,
    siamese_objective,
)

CONFIG = SiameseConfig(
    features=CepstraConfig(coefficients=5), hidden=(6,), code_units=7, speaker_units=4, segment_frames=9, alpha=0.3
)
PAIRS = 6


def learner(config=CONFIG, dtype=None):
    model = SiameseModel(config, rngs=nnx.Rngs(1))
    made = SiameseLearner(model, Tolerances(0.2, 0.05))
    if dtype is not None:
        nnx.update(made, jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.state(made)))
    return made


def batch(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    speaker = np.array([0, 1, 2, 0, 1, 2], np.int32)
    other = np.array([0, 1, 2, 1, 2, 0], np.int32)
    colours = rng.normal(size=(3, 1, 5))
    first, second = (rng.normal(size=(PAIRS, 9, 5)) + colours[who] for who in (speaker, other))
    made = {"frames_1": first.astype(dtype), "frames_2": second.astype(dtype)}
    made |= {"same_speaker": speaker == other, "speaker_1": speaker, "speaker_2": other}
    return {name: jnp.asarray(array) for name, array in made.items()}


def measured_on(made, drawn, config=CONFIG, **options):
    """Loss and metrics, compiled."""
    graph, state = nnx.split(made)
    objective = siamese_objective(config, **options)
    return jax.jit(lambda state: objective(nnx.merge(graph, state), drawn, jax.random.key(0)))(state)


def trained(gradient, comparisons, *, steps=25):
    """Parameters after some steps of Adam in double precision, and the losses on the way."""
    start = learner(dtype=jnp.float64)
    graph, params, rest = nnx.split(start, nnx.Param, ...)
    objective = siamese_objective(CONFIG, gradient=gradient, comparisons=comparisons)
    optimizer = optax.adam(1e-2)

    def step(carry, seed):
        params, state = carry
        frames = {name: value[seed] for name, value in stacked.items()}
        loss = lambda params: objective(nnx.merge(graph, params, rest), frames, jax.random.key(0))[0]  # noqa: E731
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(params, updates), state), value

    drawn = [batch(seed, np.float64) for seed in range(steps)]
    stacked = {name: jnp.asarray(np.stack([one[name] for one in drawn])) for name in drawn[0]}
    (params, _), values = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(steps)))(
        (params, optimizer.init(params))
    )
    return jax.tree.leaves(params), np.asarray(values)


@pytest.mark.parametrize("comparisons", [1, 3])
def test_the_papers_gradient_and_autodiff_train_to_the_same_parameters(comparisons, x64):
    closed, values = trained("closed_form", comparisons)
    automatic, _ = trained("autodiff", comparisons)
    before = jax.tree.leaves(nnx.state(learner(dtype=jnp.float64), nnx.Param))
    for one, other, start in zip(closed, automatic, before, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
        assert float(jnp.abs(one - start).max()) > 0.01
    assert values[-5:].mean() < values[:5].mean()


def test_the_loss_is_the_whole_loss_of_the_drawn_pairs(x64):
    made, drawn = learner(dtype=jnp.float64), batch(dtype=np.float64)
    inputs = jnp.asarray(drawn["frames_1"]), jnp.asarray(drawn["frames_2"])
    network = made.model.network
    codes = [network.encode(frames) for frames in inputs]
    whole = losses.regularized_siamese_loss_plain(
        *inputs,
        *(network.decode(one) for one in codes),
        *(one[..., :4] for one in codes),
        jnp.asarray(drawn["same_speaker"]),
        alpha=0.3,
        lambda_mean=0.2,
        lambda_cov=0.05,
    )
    value, measured = measured_on(made, drawn)
    np.testing.assert_allclose(value, whole.mean(), rtol=1e-7)
    distances = losses.mean_distance(*(one[..., :4] for one in codes))
    np.testing.assert_allclose(measured["d_mean_same"], distances[:3].mean(), rtol=1e-7)
    np.testing.assert_allclose(measured["d_mean_different"], distances[3:].mean(), rtol=1e-7)


@pytest.mark.parametrize("contrast_units", [None, 2])
def test_more_comparisons_are_pairs_of_the_batch_with_both_kinds_weighed_alike(contrast_units, x64):
    config = dataclasses.replace(CONFIG, contrast_units=contrast_units)
    made, drawn = learner(dtype=jnp.float64), batch(dtype=np.float64)
    codes = [made.model.network.encode(jnp.asarray(drawn[f"frames_{side}"]))[..., :4] for side in (1, 2)]
    if contrast_units:
        # Distances of half as many units are those of codes less by the root of 2.
        codes = [one / np.sqrt(2) for one in codes]
    kinds = {True: [], False: []}
    for shift in range(3):
        for first in range(PAIRS):
            second = (first + shift) % PAIRS
            same = bool(drawn["speaker_1"][first] == drawn["speaker_2"][second])
            one, other = codes[0][first], codes[1][second]
            loss = losses.siamese_discrimination_loss_plain(
                one, other, jnp.asarray(same), lambda_mean=0.2, lambda_cov=0.05
            )
            kinds[same].append(float(loss))
    _, measured = measured_on(made, drawn, config, comparisons=3)
    assert len(kinds[True]) > 3
    expected = (np.mean(kinds[True]) + np.mean(kinds[False])) / 2
    np.testing.assert_allclose(measured["discrimination"], expected, rtol=1e-6)


def test_pairs_beyond_reach_are_counted():
    made = SiameseLearner(SiameseModel(CONFIG, rngs=nnx.Rngs(1)), Tolerances(1e-9, 1e9))
    _, measured = measured_on(made, batch())
    assert float(measured["far_mean"]) == 1 and float(measured["far_cov"]) == 0


@pytest.mark.parametrize("place, tied", [(0, False), (1, True)])
def test_a_layer_learns_to_take_noise_away_and_nothing_else_moves(place, tied):
    model = SiameseModel(dataclasses.replace(CONFIG, tied=tied), rngs=nnx.Rngs(1))
    made, drawn = LayerLearner(model, place), batch()
    objective = layer_objective(corruption=0.3, masking=0.2)
    graph, params, rest = nnx.split(made, nnx.Param, ...)

    @jax.jit
    def step(params, key):
        loss = lambda params: objective(nnx.merge(graph, params, rest), drawn, key)[0]  # noqa: E731
        value, gradients = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 1.0 * g, params, gradients), value

    values = []
    for number in range(80):
        params, value = step(params, jax.random.key(number))
        values.append(float(value))
    assert np.mean(values[-10:]) < 0.9 * np.mean(values[:10])
    before = {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    nnx.merge(graph, params, rest).put_into(model.network)
    after = {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    moved = {path[1:3] for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {("encoder", place), ("decoder", 1 - place)}
