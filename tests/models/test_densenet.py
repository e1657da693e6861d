"""Sizes against the golden counts (Keras 2.15), norms against their definitions written out."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError
from jaxspk.models import CompactDenseNet, DenseNet121
from jaxspk.models._densenet import BranchNorm, GroupNorm, Transition


def numbers(network: nnx.Module, *kinds: type) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Any(*kinds))))


GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "u_vectors_model.json").read_text())
STAGES = (
    *("conv1/relu", "pool1", "conv2_block6_concat", "pool2_pool", "conv3_block12_concat", "pool3_pool"),
    *("conv4_block24_concat", "pool4_pool", "conv5_block16_concat", "relu"),
)


@pytest.mark.parametrize(
    "shape, channels, head, total, trainable",
    [
        ((95, 100), 3, "flatten", 7_148_108, 7_064_460),
        ((95, 96), 1, "flatten", 7_141_836, 7_058_188),
        ((91, 96), 3, "flatten", 7_111_244, 7_027_596),
        ((95, 96), 1, "pool", 7_043_532, 6_959_884),
    ],
)
def test_densenet121_has_as_many_numbers_as_keras(shape, channels, head, total, trainable):
    network = nnx.eval_shape(lambda: DenseNet121(shape, channels=channels, head=head, rngs=nnx.Rngs(0)))
    assert numbers(network, nnx.Param, nnx.BatchStat) == total
    assert numbers(network, nnx.Param) == trainable


def test_group_norm_has_the_trainable_numbers_only():
    network = nnx.eval_shape(lambda: DenseNet121((95, 96), norm="group", rngs=nnx.Rngs(0)))
    assert numbers(network, nnx.Param) == 7_064_460
    assert numbers(network, nnx.BatchStat) == 0


@pytest.mark.parametrize("bands", [96, 100])
def test_densenet121_has_keras_feature_maps(bands):
    golden = GOLDEN["densenet121"][f"(95, {bands}, 3)"]["stages"]

    def stages():
        return DenseNet121((95, bands), rngs=nnx.Rngs(0)).stage_maps(jnp.zeros((1, 95, bands, 3)))

    maps = [list(stage.shape[1:]) for stage in jax.eval_shape(stages)]
    assert maps == [golden[name] for name in STAGES]


def small(**changes) -> CompactDenseNet:
    options = {"shape": (12, 16), "layers": (1, 1), "growth": 4, "stem": 8, "rngs": nnx.Rngs(0)}
    return CompactDenseNet(**{**options, **changes})


@nnx.jit
def embed(network, pictures):
    return network(pictures)


@nnx.jit(static_argnames="branches")
def embed_in_training(network, pictures, branches=1):
    return network(pictures, deterministic=False, branches=branches)


@pytest.mark.parametrize("norm, head", [("batch", "flatten"), ("group", "pool")])
def test_any_batch_gives_the_embeddings_of_its_pictures(norm, head):
    network = small(norm=norm, head=head)
    pictures = jax.random.normal(jax.random.key(1), (2, 3, 12, 16))
    embeddings = embed(network, pictures)
    assert embeddings.shape == (2, 3, 12)
    np.testing.assert_allclose(embed(network, pictures[1, 2]), embeddings[1, 2], rtol=1e-4, atol=1e-5)


def test_branches_are_normalised_one_after_the_other():
    together, apart = small(), small()
    sides = jax.random.normal(jax.random.key(1), (2, 4, 12, 16)) * jnp.array([1.0, 3.0])[:, None, None, None]
    embeddings = embed_in_training(together, sides.reshape(8, 12, 16), branches=2)
    one_by_one = jnp.concatenate([embed_in_training(apart, side) for side in sides])
    np.testing.assert_allclose(embeddings, one_by_one, rtol=1e-3, atol=1e-4)
    for first, second in zip(*(jax.tree.leaves(nnx.state(n, nnx.BatchStat)) for n in (together, apart)), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)
    joint = embed_in_training(small(), sides.reshape(8, 12, 16))
    assert np.abs(np.asarray(joint - embeddings)).max() > 1e-3


def test_batch_norm_follows_keras():
    norm = BranchNorm(2)
    images = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 5, 6, 2))
    values = np.asarray(images, np.float64)
    mean, var = values.mean((0, 1, 2)), values.var((0, 1, 2))
    normalized = norm(images, deterministic=False, branches=1)
    np.testing.assert_allclose(normalized, (values - mean) / np.sqrt(var + 1.001e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], 0.01 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.99 + 0.01 * var, rtol=1e-5)
    running = (values - 0.01 * mean) / np.sqrt(0.99 + 0.01 * var + 1.001e-5)
    np.testing.assert_allclose(norm(images, deterministic=True, branches=1), running, rtol=1e-4, atol=1e-5)


def test_group_norm_is_flax_group_norm():
    images = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 5, 6, 24))
    theirs = nnx.GroupNorm(24, num_groups=8, epsilon=1.001e-5, rngs=nnx.Rngs(0))
    ours = GroupNorm(24)(images, deterministic=False, branches=1)
    np.testing.assert_allclose(ours, theirs(images), rtol=1e-4, atol=1e-5)


def test_a_transition_may_take_the_mean_before_its_convolution():
    transition = Transition(4, 2, "group", rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 5, 7, 4))

    @nnx.jit
    def expected(transition):
        hidden = jax.nn.relu(transition.norm(images, deterministic=True, branches=1))
        convolved = jnp.einsum("bfkc,co->bfko", hidden, transition.convolution.kernel[...][0, 0])
        return nnx.avg_pool(convolved, (2, 2), (2, 2))

    made = nnx.jit(lambda transition: transition(images, deterministic=True, branches=1))(transition)
    np.testing.assert_allclose(made, expected(transition), rtol=1e-4, atol=1e-5)


def test_every_weight_gets_a_gradient():
    network = small()
    pictures = jax.random.normal(jax.random.key(1), (4, 12, 16))

    def loss(network):
        return jnp.sum(jnp.square(network(pictures, deterministic=False, branches=2)))

    for path, gradient in jax.tree.leaves_with_path(nnx.jit(nnx.grad(loss))(network)):
        assert np.isfinite(gradient).all(), path
        assert np.abs(gradient).max() > 0, path


@pytest.mark.parametrize(
    "change, message",
    [
        ({"shape": (7, 64), "layers": (2, 2, 2)}, "too small for 3 blocks"),
        ({"layers": ()}, "`layers` must be positive"),
        ({"norm": "layer"}, "`norm` must be one of"),
        ({"head": "none"}, "`head` must be one of"),
        ({"dim": 0}, "`dim` must lie in"),
    ],
)
def test_impossible_networks_are_refused(as_a_user, change, message):
    with pytest.raises(ArgumentError, match=message):
        small(**change)


def test_a_batch_that_does_not_divide_is_refused(as_a_user):
    network = small()
    with pytest.raises(ArgumentError, match="`branches` must divide the 3 items"):
        network(jnp.zeros((3, 12, 16)), deterministic=False, branches=2)
    with pytest.raises(ArgumentError, match="what the network was made for"):
        network(jnp.zeros((3, 13, 16)))
