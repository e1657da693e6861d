"""Classification and metric-learning losses against pytorch-metric-learning's: values, gradients, chosen triplets.

The extra ``peers`` installs it; `make test-peers` runs this.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses

torch = pytest.importorskip("torch", reason="compares with PyTorch: pip install 'jaxspk[peers]'")
pml = pytest.importorskip("pytorch_metric_learning", reason="compares with it: pip install 'jaxspk[peers]'")

from pytorch_metric_learning import distances, miners, reducers  # noqa: E402
from pytorch_metric_learning import losses as pml_losses  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("x64"),
    # PyTorch's own, about its own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

SPEAKERS, UTTERANCES, DIM, CLASSES = 9, 4, 16, 12
SCALE, BIAS = 7.0, -2.0


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def assert_same(ours, theirs, *arrays):
    """Equal values and gradients of scalar functions of the same arrays, within 1e-10."""
    value, gradients = jax.value_and_grad(ours, tuple(range(len(arrays))))(*map(jnp.asarray, arrays))
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    their_value = theirs(*tensors)
    their_value.backward()
    np.testing.assert_allclose(value, their_value.item(), rtol=1e-10, atol=1e-10)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-10)


def with_weights(loss, weights):
    """A loss of pytorch-metric-learning with the given class weights, ``[classes, dim]``, as a leaf."""
    del loss.W
    loss.W = weights.T
    return loss


def test_softmax():
    labels = np.random.default_rng(1).integers(0, CLASSES, 20)
    assert_same(
        lambda x, w, b: losses.softmax_loss(x, w, b, jnp.asarray(labels)).mean(),
        lambda x, w, b: torch.nn.functional.cross_entropy(x @ w.T + b, torch.tensor(labels)),
        *(normal(20, DIM), normal(CLASSES, DIM, seed=1), normal(CLASSES, seed=2)),
    )


def test_am_softmax_is_cosface():
    labels = np.random.default_rng(1).integers(0, CLASSES, 20)
    assert_same(
        lambda x, w: losses.am_softmax_loss(x, w, jnp.asarray(labels), margin=0.3, scale=15.0).mean(),
        lambda x, w: with_weights(pml_losses.CosFaceLoss(CLASSES, DIM, margin=0.3, scale=15), w)(
            x, torch.tensor(labels)
        ),
        *(normal(20, DIM), normal(CLASSES, DIM, seed=1)),
    )


@pytest.mark.parametrize("margin", [0.1, 0.3, 1.0])
def test_aam_softmax_is_arcface_with_its_margin_in_degrees(margin):
    """The targets of two embeddings lie past pi - margin."""
    w, labels = normal(CLASSES, DIM, seed=1), np.random.default_rng(1).integers(0, CLASSES, 20)
    x = normal(20, DIM)
    x[:2] = -w[labels[:2]] + 0.01 * x[:2]
    assert_same(
        lambda x, w: losses.aam_softmax_loss(x, w, jnp.asarray(labels), margin=margin, scale=30.0).mean(),
        lambda x, w: with_weights(pml_losses.ArcFaceLoss(CLASSES, DIM, margin=float(np.rad2deg(margin)), scale=30), w)(
            x, torch.tensor(labels)
        ),
        *(x, w),
    )


def their_cross_entropy(queries, centroids, labels, reference_labels, **options):
    loss = pml_losses.NTXentLoss(**options)
    return loss(queries, labels, ref_emb=centroids, ref_labels=reference_labels)


def theirs_of_prototypes(x, **options):
    speakers = torch.arange(len(x))
    return their_cross_entropy(x[:, 0], x[:, 1:].mean(1), speakers, speakers.clone(), **options)


@pytest.mark.parametrize("utterances", [2, UTTERANCES])
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_angular_prototypical_is_ntxent(utterances, chunk_size):
    assert_same(
        lambda x: losses.angular_prototypical_loss(x, SCALE, BIAS, chunk_size=chunk_size).mean(),
        lambda x: theirs_of_prototypes(x, temperature=1 / SCALE),
        normal(SPEAKERS, utterances, DIM),
    )


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_prototypical_is_ntxent_of_squared_distances(chunk_size):
    squared = distances.LpDistance(normalize_embeddings=False, power=2)
    assert_same(
        lambda x: losses.prototypical_loss(x, chunk_size=chunk_size).mean(),
        lambda x: theirs_of_prototypes(x, temperature=1, distance=squared),
        0.5 * normal(SPEAKERS, UTTERANCES, DIM),
    )


@pytest.mark.parametrize("centroid", ["raw", "normalized"])
def test_ge2e_is_ntxent_of_each_utterance_against_exclusive_centroids(centroid):
    def theirs(x):
        averaged = torch.nn.functional.normalize(x, dim=-1) if centroid == "normalized" else x
        total = 0.0
        for j in range(SPEAKERS):
            for i in range(UTTERANCES):
                centroids = averaged.mean(1)
                own = (averaged[j].sum(0) - averaged[j, i]) / (UTTERANCES - 1)
                centroids = torch.cat([centroids[:j], own[None], centroids[j + 1 :]])
                total = total + their_cross_entropy(
                    x[j, i][None], centroids, torch.tensor([j]), torch.arange(SPEAKERS), temperature=1 / SCALE
                )
        return total / (SPEAKERS * UTTERANCES)

    assert_same(
        lambda x: losses.ge2e_softmax_loss(x, SCALE, BIAS, centroid=centroid).mean(),
        theirs,
        normal(SPEAKERS, UTTERANCES, DIM),
    )


def test_softmax_prototypical_is_the_sum():
    labels = np.random.default_rng(1).integers(0, CLASSES, SPEAKERS)

    def theirs(x, w, b):
        classified = torch.nn.functional.cross_entropy(
            x.reshape(-1, DIM) @ w.T + b, torch.tensor(labels).repeat_interleave(2)
        )
        return classified + theirs_of_prototypes(x, temperature=1 / SCALE)

    assert_same(
        lambda x, w, b: losses.softmax_prototypical_loss(x, w, b, jnp.asarray(labels), SCALE, BIAS).mean(),
        theirs,
        *(normal(SPEAKERS, 2, DIM), normal(CLASSES, DIM, seed=1), normal(CLASSES, seed=2)),
    )


SQUARED = distances.LpDistance(power=2)


def test_triplet():
    rng = np.random.default_rng(1)
    a, p, n = rng.integers(0, 30, (3, 50))
    assert_same(
        lambda x: losses.triplet_loss(x[a], x[p], x[n], margin=0.2).mean(),
        lambda x: pml_losses.TripletMarginLoss(margin=0.2, distance=SQUARED, reducer=reducers.MeanReducer())(
            x, torch.zeros(30), indices_tuple=tuple(map(torch.tensor, (a, p, n)))
        ),
        normal(30, DIM),
    )


def test_contrastive_is_theirs_squared():
    def theirs(x1, x2, kind):
        options = {"pos_margin": 0, "neg_margin": 1.5, "reducer": reducers.DoNothingReducer()}
        pairs, nothing = torch.arange(len(x1)), torch.arange(0)
        positive = (pairs, pairs, nothing, nothing)
        negative = (nothing, nothing, pairs, pairs)
        parts = pml_losses.ContrastiveLoss(**options)(
            x1, pairs, indices_tuple=positive if kind else negative, ref_emb=x2, ref_labels=pairs.clone()
        )
        return (parts["pos_loss" if kind else "neg_loss"]["losses"] ** 2).mean()

    for same in (True, False):
        assert_same(
            lambda x1, x2, same=same: losses.contrastive_loss(x1, x2, jnp.full(20, same), margin=1.5).mean(),
            lambda x1, x2, same=same: theirs(x1, x2, same),
            *(normal(20, DIM), normal(20, DIM, seed=1)),
        )


# --- Miners. ---


def their_triplets(x, labels, miner):
    return tuple(index.numpy() for index in miner(torch.tensor(x), torch.tensor(labels)))


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
def test_semi_hard_candidates_are_those_of_triplet_margin_miner(margin):
    x, labels = normal(24, 3), np.arange(24) % 6
    anchors, positives = np.nonzero((labels[:, None] == labels) & ~np.eye(24, dtype=bool))
    mask = losses.semi_hard_candidates(
        jnp.asarray(x[anchors]),
        jnp.asarray(x[positives]),
        jnp.asarray(x),
        jnp.asarray(labels[anchors]),
        jnp.asarray(labels),
        margin=margin,
    )
    pair, negative = np.nonzero(np.asarray(mask))
    ours = set(zip(anchors[pair], positives[pair], negative, strict=True))
    miner = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=SQUARED)
    assert ours == set(zip(*their_triplets(x, labels, miner), strict=True))


@pytest.mark.parametrize("positive", ["easy", "hard"])
def test_nearest_negatives_are_those_of_batch_easy_hard_miner(positive):
    x, labels = normal(24, 3), np.arange(24) % 6
    semi_hard = miners.BatchEasyHardMiner(pos_strategy=positive, neg_strategy="semihard", distance=SQUARED)
    a, p, _, n = their_triplets(x, labels, semi_hard)
    arrays = jnp.asarray(x[a]), jnp.asarray(x[p]), jnp.asarray(x), jnp.asarray(labels[a]), jnp.asarray(labels)
    np.testing.assert_array_equal(losses.semi_hard_negatives(*arrays, margin=5.0), n)
    hard = miners.BatchEasyHardMiner(pos_strategy=positive, neg_strategy="hard", distance=SQUARED)
    a, _, _, n = their_triplets(x, labels, hard)
    arrays = jnp.asarray(x[a]), jnp.asarray(x), jnp.asarray(labels[a]), jnp.asarray(labels)
    np.testing.assert_array_equal(losses.hardest_negatives(*arrays), n)


@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_batch_semi_hard_triplets_are_their_miner_and_their_loss(margin):
    """Two utterances a speaker: one positive an anchor, as their miner takes it."""
    labels = np.arange(24) % 12
    miner = miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard", distance=SQUARED)

    def theirs(x):
        a, p, _, n = miner(x.detach(), torch.tensor(labels))
        loss = pml_losses.TripletMarginLoss(margin=margin, distance=SQUARED, reducer=reducers.DoNothingReducer())
        return loss(x, torch.tensor(labels), indices_tuple=(a, p, n))["loss"]["losses"].sum()

    assert_same(
        lambda x: losses.semi_hard_triplet_loss(x, jnp.asarray(labels), margin=margin).sum(), theirs, normal(24, 3)
    )
