"""Negatives chosen on the device: the source's rules, exactly."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError

pytestmark = pytest.mark.usefixtures("strict_promotion")

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_losses.json").read_text())["cases"]
DRAWS = 4000


@pytest.fixture
def golden_voices():
    """Anchors (slot 0), positives and candidates (slot 1), and their speakers, of the public code's run."""
    voices = jnp.asarray(GOLDEN["triplet_hardest_m0.2"]["x_N_2_D"])
    return voices[:, 0], voices[:, 1], jnp.arange(len(voices))


def drawn(mine, *arguments, **keywords):
    """Indices of many draws, [draws, anchors]."""
    keys = jax.random.split(jax.random.key(1), DRAWS)
    return np.asarray(jax.jit(jax.vmap(lambda key: mine(*arguments, **keywords, key=key)))(keys))


def assert_uniform(indices, allowed):
    """Only allowed ones, each about equally often: within five standard deviations."""
    counts = np.bincount(indices, minlength=max(allowed) + 1)
    assert set(np.flatnonzero(counts)) == set(allowed)
    share = len(indices) / len(allowed)
    assert np.abs(counts[list(allowed)] - share).max() < 5 * np.sqrt(share)


def test_hardest_are_the_public_codes(golden_voices):
    anchors, positives, speakers = golden_voices
    chosen = losses.hardest_negatives(anchors, positives, speakers, speakers)
    assert chosen.tolist() == GOLDEN["triplet_hardest_m0.2"]["negative_index"]
    assert chosen.dtype == jnp.int32


@pytest.mark.parametrize("margin", ["0.2", "0.5", "1.0", "2.0"])
def test_semi_hard_candidates_are_the_public_codes(golden_voices, margin):
    anchors, positives, speakers = golden_voices
    expected = GOLDEN["triplet_mining_candidates"]["semi_hard_candidates_public_rule"][margin]
    mask = losses.semi_hard_candidates(anchors, positives, positives, speakers, speakers, margin=float(margin))
    assert [set(np.flatnonzero(row)) for row in np.asarray(mask)] == [set(row) for row in expected]


def test_semi_hard_picks_are_uniform_and_none_where_there_is_none(golden_voices):
    anchors, positives, speakers = golden_voices
    allowed = GOLDEN["triplet_mining_candidates"]["semi_hard_candidates_public_rule"]["2.0"]
    picks = drawn(losses.semi_hard_negatives, anchors, positives, positives, speakers, speakers, margin=2.0)
    for anchor, fitting in enumerate(allowed):
        if fitting:
            assert_uniform(picks[:, anchor], fitting)
        else:
            assert (picks[:, anchor] == -1).all()


def test_semi_hard_without_a_key_takes_the_nearest(golden_voices):
    anchors, positives, speakers = golden_voices
    allowed = GOLDEN["triplet_mining_candidates"]["semi_hard_candidates_public_rule"]["2.0"]
    ranked = GOLDEN["triplet_mining_candidates"]["ranked_negatives_hardest_first"]
    nearest = [
        next((candidate for candidate in order if candidate in fitting), -1)
        for order, fitting in zip(ranked, allowed, strict=True)
    ]
    chosen = losses.semi_hard_negatives(anchors, positives, positives, speakers, speakers, margin=2.0)
    assert chosen.tolist() == nearest


def test_hard_negatives_by_rank_and_probability(golden_voices):
    anchors, positives, speakers = golden_voices
    ranked = GOLDEN["triplet_mining_candidates"]["ranked_negatives_hardest_first"]
    others = len(speakers) - 1

    @jax.jit
    def mine(rank, probability):
        keys = jax.random.split(jax.random.key(1), DRAWS)
        options = {"hard_rank": rank, "hard_probability": probability}
        return jax.vmap(lambda key: losses.hard_negatives(anchors, positives, speakers, speakers, key=key, **options))(
            keys
        )

    for hard_rank, hard_probability in ((0, 1.0), (1, 1.0), (2, 0.5), (50, 1.0), (3, 0.0)):
        picks = np.asarray(mine(jnp.int32(hard_rank), jnp.float32(hard_probability)))
        hard = min(hard_rank + 1, others)
        shares = np.full(others, (1 - hard_probability) / others)
        shares[:hard] += hard_probability / hard
        for anchor, order in enumerate(ranked):
            frequencies = np.array([np.mean(picks[:, anchor] == candidate) for candidate in order])
            np.testing.assert_allclose(frequencies, shares, atol=5 * 0.5 / np.sqrt(DRAWS))
            assert ((frequencies > 0) == (shares > 0)).all()


def test_a_known_rank_and_a_traced_one_choose_the_same(golden_voices):
    anchors, positives, speakers = golden_voices

    def mine(hard_rank):
        options = {"hard_rank": hard_rank, "hard_probability": 1.0, "key": jax.random.key(3)}
        return losses.hard_negatives(anchors, positives, speakers, speakers, **options).tolist()

    for hard_rank in (0, 2, 100):
        assert mine(hard_rank) == mine(jnp.int32(hard_rank))


def test_random_negatives_are_uniform_over_other_speakers():
    anchor_labels, candidate_labels = jnp.array([7, 3, 3]), jnp.array([3, 7, 3, 5, 7])
    picks = drawn(losses.random_negatives, anchor_labels, candidate_labels)
    for anchor, label in enumerate([7, 3, 3]):
        assert_uniform(picks[:, anchor], [i for i, other in enumerate([3, 7, 3, 5, 7]) if other != label])


def test_the_curriculum_is_the_first_releases_and_needs_no_new_compilation(golden_voices):
    anchors, positives, speakers = golden_voices
    assert [float(losses.hard_probability_curriculum(epoch)) for epoch in (0, 99, 100, 500)] == pytest.approx(
        [0.5, 0.5, 0.9, 0.9]
    )
    traces = []

    @jax.jit
    def mine(epoch, rank, key):
        traces.append(1)
        probability = losses.hard_probability_curriculum(epoch, then=1.0, switch_epoch=10)
        return losses.hard_negatives(
            anchors, positives, speakers, speakers, key=key, hard_rank=rank, hard_probability=probability
        )

    late = mine(jnp.int32(10), jnp.int32(0), jax.random.key(0))
    assert late.tolist() == GOLDEN["triplet_hardest_m0.2"]["negative_index"]
    mine(jnp.int32(0), jnp.int32(3), jax.random.key(0))
    assert len(traces) == 1


def every_miner():
    voices = jnp.asarray(np.random.default_rng(0).normal(size=(3, 6, 4)), jnp.float32)
    anchors, positives, candidates = voices
    key = jax.random.key(0)
    semi_hard = functools.partial(losses.semi_hard_negatives, anchors, positives, candidates, margin=4.0)
    return {
        "random": functools.partial(losses.random_negatives, key=key),
        "hard": functools.partial(losses.hard_negatives, anchors, candidates, key=key),
        "hardest": functools.partial(losses.hardest_negatives, anchors, candidates),
        "semi-hard": functools.partial(semi_hard, key=key),
        "nearest semi-hard": semi_hard,
    }


@pytest.mark.parametrize("name", every_miner())
def test_one_speaker_leaves_nothing_to_choose(name):
    labels = jnp.zeros(6, jnp.int32)
    assert every_miner()[name](labels, labels).tolist() == [-1] * 6


@pytest.mark.parametrize("name", every_miner())
@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 2], [5, 5, 5, 5, 5, -3]], ids=str)
def test_the_own_speaker_is_never_chosen(name, labels):
    labels = jnp.array(labels)
    chosen = every_miner()[name](labels, labels)
    assert (labels[chosen] != labels)[chosen >= 0].all()
    if name != "semi-hard" and name != "nearest semi-hard":
        assert (chosen >= 0).all()


def test_copies_of_the_positive_are_not_semi_hard():
    voices = jnp.asarray(np.random.default_rng(0).normal(size=(2, 512)), jnp.float32)
    anchors, copies = jnp.stack([voices[0]] * 3), jnp.stack([voices[1]] * 3)
    labels = jnp.arange(3)
    for normalize in (True, False):
        mask = losses.semi_hard_candidates(anchors, copies, copies, labels, labels, margin=0.2, normalize=normalize)
        assert not mask.any()


def test_distances_of_raw_vectors_on_request():
    anchors, candidates = jnp.array([[1.0, 0.0]]), jnp.array([[100.0, 0.0], [0.0, 1.0]])
    labels, others = jnp.array([0]), jnp.array([1, 2])
    assert losses.hardest_negatives(anchors, candidates, labels, others).tolist() == [0]
    assert losses.hardest_negatives(anchors, candidates, labels, others, normalize=False).tolist() == [1]


def test_no_gradient_passes_through_a_choice(golden_voices):
    anchors, positives, speakers = golden_voices

    def loss(anchors, positives):
        negatives = losses.hardest_negatives(anchors, positives, speakers, speakers)
        return losses.triplet_loss(anchors, positives, positives[negatives], margin=0.2).sum()

    gradients = jax.grad(loss, (0, 1))(anchors, positives)
    expected = np.asarray(GOLDEN["triplet_hardest_m0.2"]["grad_x"]) * len(speakers)
    np.testing.assert_allclose(gradients[0], expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(gradients[1], expected[:, 1], atol=1e-5)


def test_narrow_embeddings_are_compared_in_float32(golden_voices):
    anchors, positives, speakers = golden_voices
    narrow = anchors.astype(jnp.bfloat16), positives.astype(jnp.bfloat16)
    wide = tuple(array.astype(jnp.float32) for array in narrow)
    assert (
        losses.hardest_negatives(*narrow, speakers, speakers) == losses.hardest_negatives(*wide, speakers, speakers)
    ).all()


def test_refusals_name_the_argument(as_a_user):
    vectors, labels = jnp.ones((3, 2)), jnp.arange(3)
    with pytest.raises(ArgumentTypeError, match="`anchor_labels` must hold integers"):
        losses.random_negatives(jnp.ones(3), labels, key=jax.random.key(0))
    with pytest.raises(ArgumentError, match=r"`candidates` must have shape \(3, 2\)"):
        losses.hardest_negatives(vectors, jnp.ones((4, 2)), labels, labels)
    with pytest.raises(ArgumentTypeError, match="`candidates` must be floating"):
        losses.hardest_negatives(vectors, jnp.ones((3, 2), int), labels, labels)
    with pytest.raises(ArgumentError, match="`hard_rank` must be at least 0, got -1"):
        losses.hard_negatives(vectors, vectors, labels, labels, key=jax.random.key(0), hard_rank=-1)
    with pytest.raises(ArgumentError, match="`hard_probability` must lie in"):
        losses.hard_negatives(vectors, vectors, labels, labels, key=jax.random.key(0), hard_probability=1.5)
    with pytest.raises(ArgumentError, match="`margin` must lie in"):
        losses.semi_hard_negatives(vectors, vectors, vectors, labels, labels, margin=-0.1)
    with pytest.raises(ArgumentError, match="`anchors` and `positives` must have the same shape"):
        losses.semi_hard_negatives(vectors, jnp.ones((2, 2)), vectors, labels, labels, margin=0.1)
