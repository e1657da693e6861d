"""VGG-M-40: golden sizes and shapes; what it refuses. (Masks and training: with the other networks in test_resnet.)"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError
from jaxspk.models import VGGM40
from jaxspk.models._convolution import Maps, max_pool
from jaxspk.models._vgg import POOLS

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_backbones.json").read_text())
COUNTS = {
    key: row["params"] for key, row in GOLDEN["params"].items() if key.startswith("VGGVox") and "/MAX/" not in key
}


def sizes(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.mark.parametrize("key", COUNTS)
def test_golden_parameter_counts(key):
    _, pooling, bands, dim = key.split("/")
    options = {"pooling": pooling.lower(), "dim": int(dim.removeprefix("nOut"))}
    bands = int(bands.removeprefix("mels"))
    assert sizes(nnx.eval_shape(lambda: VGGM40(bands, rngs=nnx.Rngs(0), **options))) == COUNTS[key]


def test_golden_parameter_counts_by_part():
    model = nnx.eval_shape(lambda: VGGM40(dim=1024, rngs=nnx.Rngs(0)))
    parts = GOLDEN["by_part"]["VGGVox_SAP_nOut1024"]
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6conv"]
    assert [sizes(layer) for layer in model.convolutions] == [parts["netcnn_layers"][name] for name in names]
    assert [sizes(layer) for layer in model.norms] == [parts["netcnn_layers"][f"bn{n}"] for n in range(1, 7)]
    assert sizes(model.pooling) == parts["sap_linear"] + parts["attention"]


@pytest.mark.parametrize("frames", [200, 202])
def test_golden_shapes(frames):
    seen = []

    def run():
        model = VGGM40(rngs=nnx.Rngs(0))
        maps = Maps(jnp.zeros((2, frames, 40, 1)))
        for convolution, norm, pool in zip(model.convolutions, model.norms, POOLS, strict=True):
            maps = norm(convolution(maps), deterministic=True)
            seen.append(maps.values.shape)
            if pool is not None:
                maps = max_pool(maps, size=pool[0], strides=pool[1])
                seen.append(maps.values.shape)
        return model.feature_maps(Maps(jnp.zeros((2, frames, 40, 1))), deterministic=True).values

    last = jax.eval_shape(run)
    golden = GOLDEN["shapes_from_features_without_front_end"][f"VGGVox_40mels_{frames}frames"]
    assert [[b, c, f, t] for b, t, f, c in seen] == list(golden.values())
    assert last.shape == seen[-1]


def test_the_shortest_recording_has_one_frame_left():

    def last_maps():
        model = VGGM40(width=3, dim=4, rngs=nnx.Rngs(0))
        return model.feature_maps(Maps(jnp.zeros((1, model.shortest, 40, 1))), deterministic=True).values

    assert jax.eval_shape(last_maps).shape[1:3] == (1, 1)


def test_max_pool_takes_the_largest_of_each_window():
    x = np.random.default_rng(0).uniform(size=(1, 7, 5, 2)).astype(np.float32)
    pooled = max_pool(Maps(jnp.asarray(x), jnp.array([6])), size=(3, 2), strides=(2, 1))
    expected = np.array([[x[0, t : t + 3, f : f + 2].max((0, 1)) for f in range(4)] for t in (0, 2, 4)])
    # Only two windows fit in six frames.
    expected[2] = 0
    np.testing.assert_array_equal(pooled.values[0], expected)
    assert pooled.lengths.tolist() == [2]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"width": 4}, "`width` must be a multiple of 3, got 4"),
        ({"width": 0}, "`width` must lie in"),
        ({"bands": 12}, "`bands` must be at least .* for VGG-M-40, got 12"),
    ],
)
def test_wrong_sizes_are_refused(options, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        VGGM40(**{"width": 3, **options}, rngs=nnx.Rngs(0))


def test_too_few_frames_are_refused(as_a_user):
    model = nnx.eval_shape(lambda: VGGM40(width=3, dim=4, rngs=nnx.Rngs(0)))
    with pytest.raises(ArgumentError, match=f"at least {model.shortest} frames, got {model.shortest - 1}: repeat"):
        model(jnp.zeros((2, model.shortest - 1, 40)))
