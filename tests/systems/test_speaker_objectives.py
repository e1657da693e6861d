"""Every objective trains, wants the utterances it says, and reports what it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk import losses
from jaxspk.errors import ArgumentError
from jaxspk.systems import OBJECTIVES, Objective, ObjectiveConfig
from jaxspk.systems._speaker_objectives import check_utterances, mean_distances

CLASSES, DIM = 7, 5
KEY = jax.random.key(3)


def embeddings(speakers=4, utterances=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(speakers, utterances, DIM)), jnp.float32)


def made(**options):
    return Objective(ObjectiveConfig(**options), classes=CLASSES, dim=DIM, rngs=nnx.Rngs(1))


@nnx.jit
def called(objective, x, labels):
    """Compiled whole: op by op takes longer."""
    return objective(x, labels, KEY)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_finite_value_that_a_step_along_its_gradient_lowers(name):
    utterances = OBJECTIVES[name].fewest_utterances
    # A margin that no draw of these few vectors satisfies.
    objective, x = made(loss=name, margin=1.5, negatives="hardest"), embeddings(utterances=utterances)
    graph, state = nnx.split(objective)

    @jax.jit
    def value(state, x):
        return nnx.merge(graph, state)(x, jnp.array([0, 2, 3, 6]), KEY)[0]

    before, (of_state, of_x) = value(state, x), jax.grad(value, argnums=(0, 1), allow_int=True)(state, x)
    assert np.isfinite(before) and np.isfinite(of_x).all() and np.abs(of_x).max() > 0
    assert value(state, x - 1e-3 * of_x) < before
    learned = nnx.state(objective, nnx.Param)
    assert bool(jax.tree.leaves(learned)) == (OBJECTIVES[name].classifies or OBJECTIVES[name].learns_scale)
    assert jax.tree.structure(of_state) == jax.tree.structure(state)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_too_few_utterances_are_refused_with_the_number_that_is_needed(name):
    traits, config = OBJECTIVES[name], ObjectiveConfig(loss=name)
    check_utterances(config, traits.fewest_utterances)
    if traits.fewest_utterances > 1:
        with pytest.raises(ArgumentError, match=f"{traits.fewest_utterances} a speaker for '{name}', got 1"):
            check_utterances(config, 1)
    if traits.exact_utterances:
        with pytest.raises(ArgumentError, match="exactly 2 a speaker"):
            check_utterances(config, 3)
    else:
        check_utterances(config, 3)


def test_accuracy_is_that_of_the_classifier_without_margin():
    objective = made(loss="aam_softmax", margin=0.5)
    rows = objective.class_weights[...][jnp.array([1, 4])]
    # Both point at their own class exactly; the second is then labelled as another.
    _, seen = called(objective, 3 * rows[:, None], jnp.array([1, 5]))
    assert seen["accuracy"] == 0.5


def test_accuracy_of_a_comparing_objective_is_that_of_the_nearest_centroid():
    x = jnp.stack([jnp.eye(DIM)[:3], jnp.eye(DIM)[jnp.array([0, 2, 1])]], axis=1)
    _, seen = called(made(loss="angular_prototypical"), x, jnp.arange(3))
    np.testing.assert_allclose(seen["accuracy"], 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("utterances", [1, 2, 3])
def test_mean_distances_are_those_of_all_pairs(utterances):
    x = np.asarray(embeddings(4, utterances, seed=2), np.float64)
    units = (x / np.linalg.norm(x, axis=-1, keepdims=True)).reshape(-1, DIM)
    owner = np.repeat(np.arange(4), utterances)
    i, j = np.triu_indices(len(units), 1)
    distances = 1 - np.sum(units[i] * units[j], -1)
    same = owner[i] == owner[j]
    within, between = mean_distances(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(between, distances[~same].mean(), atol=1e-6)
    np.testing.assert_allclose(within, distances[same].mean() if utterances > 1 else 0.0, atol=1e-6)


def test_the_margin_grows_with_the_steps():
    objective = made(loss="am_softmax", margin=0.4, margin_warmup_steps=4)
    margins = []
    for _ in range(6):
        margins.append(float(objective.margin()))
        called(objective, embeddings(utterances=1), jnp.arange(4))
    np.testing.assert_allclose(margins, [0.0, 0.1, 0.2, 0.3, 0.4, 0.4], rtol=1e-6)


def test_hard_negatives_become_more_frequent_at_the_switch():
    objective = made(loss="triplet", hard_probability=0.2, late_hard_probability=0.7, hard_switch_step=1)
    first = float(objective.hard_probability())
    called(objective, embeddings(), jnp.arange(4))
    assert (first, float(objective.hard_probability())) == pytest.approx((0.2, 0.7))


@pytest.mark.parametrize("negatives", ["random", "hard", "semi_hard", "hardest"])
def test_a_negative_is_never_of_the_anchors_speaker(negatives):
    x = embeddings(3, 2)
    x = x.at[2].set(x[0])  # Speaker 0 again, under the same label: nearest of all, and never a negative.
    labels = jnp.array([0, 1, 0])
    value, _ = called(made(loss="triplet", negatives=negatives, margin=4.0), x, labels)
    allowed = {0: [1], 1: [0, 2], 2: [1]}
    possible = [
        [float(losses.triplet_loss(x[a, 0], x[a, 1], x[n, 1], margin=4.0)) for n in allowed[a]] for a in range(3)
    ]
    reachable = {np.float32((possible[0][0] + b + possible[2][0]) / 3) for b in possible[1]}
    assert min(abs(float(value) - float(r)) for r in reachable) < 1e-5


def test_an_unknown_objective_is_refused(as_a_user):
    with pytest.raises(ArgumentError, match="`loss` must be"):
        ObjectiveConfig(loss="center")


def test_one_speaker_alone_costs_nothing_in_triplets():
    value, seen = called(made(loss="triplet"), embeddings(1, 2), jnp.array([0]))
    assert value == 0 and np.isfinite(seen["between"])
