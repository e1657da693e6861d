"""Fast, Thin and half ResNet-34: golden sizes and shapes, a block in NumPy, masks, batch norm, dtypes."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.models import VGGM40, FastResNet34, HalfResNet34, ThinResNet34
from jaxspk.models._convolution import BatchNorm, Convolution, Maps, convolve
from jaxspk.models._resnet import ResidualBlock

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_backbones.json").read_text())

# Small networks, whose shapes and rules are those of the large ones.
SMALL = {
    "fast": functools.partial(FastResNet34, 8, dim=5, width=2, layers=(1, 1, 1, 1)),
    "thin": functools.partial(ThinResNet34, 21, dim=5, width=2, layers=(1, 1, 1, 1)),
    "half": functools.partial(HalfResNet34, 8, dim=5, width=2, layers=(1, 1, 1, 1)),
    "vgg": functools.partial(VGGM40, 40, dim=5, width=3),
}


def small(name, **more):
    return filled(lambda: SMALL[name](**more, rngs=nnx.Rngs(0)))


def filled(make):
    """Weights and statistics from NumPy, unlike those of the beginning, so that each matters.

    (JAX would compile a draw for each shape, which takes longer than all else here.)
    """
    rng = np.random.default_rng(1)

    def draw(leaf):
        if leaf.ndim == 1:
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
        return jnp.asarray(rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape), leaf.dtype)

    graph, state = nnx.split(nnx.eval_shape(make))
    return nnx.merge(graph, jax.tree.map(draw, state))


def features(model, *shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*shape, model.bands)), jnp.float32)


# These networks run for milliseconds and compile for seconds.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def embed(model, x, frames_mask=None):
    graph, state = nnx.split(model)
    return compiled(lambda state, x, mask: nnx.merge(graph, state)(x, frames_mask=mask))(state, x, frames_mask)


def train(model, x, frames_mask=None):
    """Embeddings, the new statistics and the gradient of some function of the embeddings, in training."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def objective(params):
        fresh = nnx.merge(graph, params, rest, copy=True)
        embeddings = fresh(x, frames_mask=frames_mask, deterministic=False)
        return jnp.sum(jnp.sin(embeddings.astype(jnp.float32))), (embeddings, nnx.state(fresh, nnx.BatchStat))

    (_, (embeddings, statistics)), gradient = compiled(jax.value_and_grad(objective, has_aux=True))(params)
    return embeddings, arrays(statistics), arrays(gradient)


def arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def sizes(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


# --- The golden file. ---


def golden_counts():
    names = {"ResNetSE34L": FastResNet34, "ResNetSE34V2": HalfResNet34}
    for key, row in GOLDEN["params"].items():
        network, pooling, bands, dim = key.split("/")
        if network in names:
            options = {"pooling": pooling.lower(), "dim": int(dim.removeprefix("nOut"))}
            marks = [] if bands == "mels40" and dim == "nOut512" else [pytest.mark.slow]
            yield pytest.param(
                names[network], int(bands.removeprefix("mels")), options, row["params"], id=key, marks=marks
            )
    yield pytest.param(ThinResNet34, 257, {}, GOLDEN["thin_resnet34_paper_era"]["params"]["nOut512"], id="thin")


@pytest.mark.parametrize("network, bands, options, count", [*golden_counts()])
def test_golden_parameter_counts(network, bands, options, count):
    assert sizes(nnx.eval_shape(lambda: network(bands, rngs=nnx.Rngs(0), **options))) == count


@pytest.mark.parametrize(
    "network, bands, key",
    [(FastResNet34, 40, "ResNetSE34L_SAP_nOut512"), (HalfResNet34, 64, "ResNetSE34V2_ASP_mels64_nOut512")],
)
def test_golden_parameter_counts_by_part(network, bands, key):
    model = nnx.eval_shape(lambda: network(bands, rngs=nnx.Rngs(0)))
    parts = dict(GOLDEN["by_part"][key])
    if "sap_linear" in parts:
        parts["attention"] += parts.pop("sap_linear")
    ours = {"conv1": model.stem, "bn1": model.stem_norm, "attention": model.pooling, "fc": model.embedding}
    ours |= {f"layer{number}": stage for number, stage in enumerate(model.stages, 1)}
    assert {part: sizes(module) for part, module in ours.items()} == parts


def shapes(network, bands, frames):
    """Of the stem and each stage, as the golden file has them: batch, channels, bands, frames."""

    def run():
        model = network(bands, rngs=nnx.Rngs(0))
        found = {"stem": model.stem_maps(Maps(jnp.zeros((2, frames, bands, 1))), deterministic=True)}
        for number, stage in enumerate(model.stages, 1):
            maps = [*found.values()][-1]
            for block in stage:
                maps = block(maps, deterministic=True)
            found[f"layer{number}"] = maps
        return {name: jnp.transpose(maps.values, (0, 3, 2, 1)) for name, maps in found.items()}

    return {name: list(shape.shape) for name, shape in jax.eval_shape(run).items()}


@pytest.mark.parametrize("frames", [200, 202])
@pytest.mark.parametrize("bands", [40, 64])
@pytest.mark.parametrize("network, name", [(FastResNet34, "ResNetSE34L"), (HalfResNet34, "ResNetSE34V2")])
def test_golden_shapes(network, name, bands, frames):
    golden = GOLDEN["shapes_from_features_without_front_end"][f"{name}_{bands}mels_{frames}frames"]
    assert shapes(network, bands, frames) == golden


@pytest.mark.parametrize("frames, key", [(199, "train_32240_samples"), (399, "eval_64240_samples")])
def test_golden_shapes_of_thin(frames, key):
    golden = GOLDEN["thin_resnet34_paper_era"][key]
    found = {name: shape[1:] for name, shape in shapes(ThinResNet34, 257, frames).items()}
    # Ours counts the max-pool to the stem.
    expected = {"stem" if name == "maxpool" else name: shape for name, shape in golden.items()}
    for name in found.keys() & expected.keys():
        assert found[name] == expected[name], name
    assert {"stem", "layer2", "layer3", "layer4"} <= expected.keys()


# --- What a block computes. ---


def convolved(x, layer):
    """One recording [frames, bands, inputs] with a 3 x 3 kernel, channel by channel, by scipy."""
    kernel = np.float64(layer.kernel[...])
    padded = np.pad(x, [(side, side) for side in layer.padding] + [(0, 0)])
    outputs = [
        sum(correlate(padded[..., i], kernel[..., i, o], mode="valid") for i in range(kernel.shape[2]))
        for o in range(kernel.shape[3])
    ]
    return np.stack(outputs, -1)[:: layer.strides[0], :: layer.strides[1]]


def normed(x, layer):
    scale = np.float64(layer.scale[...]) / np.sqrt(np.float64(layer.var[...]) + 1e-5)
    return (x - np.float64(layer.mean[...])) * scale + np.float64(layer.bias[...])


@pytest.mark.parametrize("outputs, strides", [(4, (1, 1)), (6, (2, 2)), (4, (2, 1))])
def test_a_block_is_convolution_relu_norm_convolution_norm_excitation_and_shortcut(outputs, strides):
    block = filled(lambda: ResidualBlock(4, outputs, strides=strides, rngs=nnx.Rngs(0)))
    x = np.random.default_rng(0).normal(size=(7, 5, 4))
    hidden = normed(np.maximum(convolved(x, block.first), 0), block.first_norm)
    hidden = normed(convolved(hidden, block.second), block.second_norm)
    excitation = block.excitation

    def dense(layer, values):
        return values @ np.float64(layer.kernel[...]) + np.float64(layer.bias[...])

    scale = 1 / (1 + np.exp(-dense(excitation.excite, np.maximum(dense(excitation.squeeze, hidden.mean((0, 1))), 0))))
    shortcut = x if block.shortcut is None else normed(convolved(x, block.shortcut), block.shortcut_norm)
    expected = np.maximum(hidden * scale + shortcut, 0)
    graph, state = nnx.split(block)
    run = compiled(lambda state, x: nnx.merge(graph, state)(Maps(x), deterministic=True))
    actual = run(state, jnp.asarray(x[None], jnp.float32))
    np.testing.assert_allclose(actual.values[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "strides, padding, size", [((1, 1), (1, 1), (3, 3)), ((2, 2), (0, 0), (1, 1)), ((1, 2), (3, 2), (7, 5))]
)
def test_the_gradient_of_a_convolution_is_that_of_autodiff(strides, padding, size):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 8, 9, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*size, 3, 4)), jnp.float32)

    def plain(x, kernel):
        pads = [(side, side) for side in padding]
        return jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def gradients(function):
        return compiled(jax.grad(lambda x, kernel: jnp.sum(jnp.sin(function(x, kernel))), (0, 1)))(x, kernel)

    for mine, theirs in zip(
        gradients(lambda x, kernel: convolve(x, kernel, strides, padding)), gradients(plain), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_convolutions_are_drawn_by_their_fan_out():
    kernel = Convolution(32, 64, rngs=nnx.Rngs(0)).kernel[...]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (64 * 9)), rtol=0.03)


# --- Masks. ---


@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_no_embedding_and_an_empty_recording_none(name):
    model = small(name)
    x = features(model, 2, 73)
    padded = jnp.full((3, 80, model.bands), jnp.nan).at[:2, :73].set(x)
    embeddings = embed(model, padded, jnp.arange(80) < jnp.array([73, 73, 0])[:, None])
    expected = embed(model, x)
    np.testing.assert_allclose(embeddings[:2], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert np.isfinite(embeddings).all()


@pytest.mark.slow
@pytest.mark.parametrize("length", [63, 64, 65, 66])
@pytest.mark.parametrize("name", SMALL)
def test_padding_of_any_length_changes_no_embedding(name, length):
    model = small(name)
    x = features(model, 1, 80)
    expected = embed(model, x[:, :length])
    actual = embed(model, x, jnp.arange(80)[None] < length)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


MOSTLY_ALIKE = [name if name in ("fast", "vgg") else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]


@pytest.mark.slow
@pytest.mark.parametrize("name", MOSTLY_ALIKE)
def test_padding_changes_nothing_in_training(name):
    model = small(name)
    x = features(model, 3, 67)
    expected = train(model, x)
    padded = jnp.pad(x, ((0, 0), (0, 9), (0, 0)), constant_values=jnp.nan)
    actual = train(model, padded, jnp.broadcast_to(jnp.arange(76) < 67, (3, 76)))
    for mine, theirs in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=1e-3 * max(np.abs(theirs).max(), 1))
    _, _, gradient = expected
    assert sum(bool(leaf.any()) for leaf in gradient) > 0.8 * len(gradient)


# --- Batch norm. ---


def normalize_by_autodiff(values, scale, bias, valid):
    """The textbook form, through which autodiff goes by itself."""
    weights = jnp.broadcast_to(valid, values.shape) / valid.sum() / values.shape[2]
    mean = (weights * values).sum((0, 1, 2))
    var = (weights * (values - mean) ** 2).sum((0, 1, 2))
    return jnp.where(valid, (values - mean) / jnp.sqrt(var + 1e-5) * scale + bias, 0)


@pytest.mark.parametrize("lengths", [None, (6, 2, 0)])
def test_batch_norm_and_its_gradient_are_those_of_the_textbook(lengths, x64):
    rng = np.random.default_rng(0)
    x, pull = (jnp.asarray(rng.normal(2, 3, (3, 6, 4, 5))) for _ in range(2))
    lengths = None if lengths is None else jnp.asarray(lengths)
    valid = Maps(x, jnp.full(3, 6) if lengths is None else lengths).valid()
    norm = BatchNorm(5)
    norm.scale, norm.bias = (nnx.Param(jnp.asarray(rng.normal(size=5))) for _ in range(2))
    graph, params, rest = nnx.split(norm, nnx.Param, ...)

    def ours(params, x):
        return nnx.merge(graph, params, rest, copy=True)(Maps(x, lengths), deterministic=False).values

    def textbook(params, x):
        return normalize_by_autodiff(x, params["scale"][...], params["bias"][...], valid)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, params, x):
        value, back = jax.vjp(function, params, x)
        return value, back(pull)

    actual, expected = (value_and_gradients(function, params, x) for function in (ours, textbook))
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(*(jax.tree.leaves(gradients) for _, gradients in (actual, expected)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


def test_running_statistics_follow_the_valid_frames_by_a_tenth():
    x = np.random.default_rng(0).normal(4, 3, (2, 9, 3, 2)).astype(np.float32)
    norm = BatchNorm(2)
    norm(Maps(jnp.asarray(x), jnp.array([9, 5])), deterministic=False)
    values = np.concatenate([x[0].reshape(-1, 2), x[1, :5].reshape(-1, 2)])
    np.testing.assert_allclose(norm.mean[...], 0.1 * values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * values.var(0, ddof=1), rtol=1e-5)
    before = np.asarray(norm.mean[...])
    norm(Maps(jnp.asarray(x)), deterministic=True)
    np.testing.assert_array_equal(norm.mean[...], before)


# --- Training, dtypes, arguments. ---


@pytest.mark.slow
def test_training_in_bfloat16_keeps_statistics_and_weights_in_float32():
    narrow = small("vgg", dtype=jnp.bfloat16)
    _, statistics, gradient = train(narrow, features(narrow, 2, 70))
    assert all(leaf.dtype == jnp.float32 and np.isfinite(leaf).all() for leaf in (*statistics, *gradient))


def test_bfloat16_is_close_to_float32():
    wide, narrow = small("vgg"), small("vgg", dtype=jnp.bfloat16)
    x = features(wide, 2, 70)
    expected, actual = embed(wide, x), embed(narrow, x)
    assert actual.dtype == jnp.bfloat16 and expected.dtype == jnp.float32
    assert np.linalg.norm(np.float32(actual) - expected) < 0.1 * np.linalg.norm(expected)


def test_batch_axes_lead():
    model = small("vgg")
    x = features(model, 2, 3, 64)
    flat = embed(model, x.reshape(6, 64, model.bands))
    np.testing.assert_allclose(embed(model, x), flat.reshape(2, 3, model.dim), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bands": 0}, "`bands` must lie in"),
        ({"dim": 0}, "`dim` must lie in"),
        ({"width": 0}, "`width` must lie in"),
        ({"layers": (3, 4, 6)}, "`layers` must be 4 positive numbers of blocks"),
        ({"layers": (3, 4, 0, 3)}, "`layers` must be 4 positive numbers of blocks"),
        ({"pooling": "max"}, "`pooling` must be one of"),
    ],
)
def test_wrong_sizes_are_refused(options, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        nnx.eval_shape(lambda: FastResNet34(**{"width": 2, "layers": (1, 1, 1, 1), **options}, rngs=nnx.Rngs(0)))


def test_wrong_features_are_refused(as_a_user):
    model = small("fast")
    with pytest.raises(ArgumentError, match="8 bands per frame"):
        model(jnp.zeros((2, 20, 9)))
    with pytest.raises(ArgumentError, match="`features` must have at least 1 frames, got 0"):
        model(jnp.zeros((2, 0, 8)))
    with pytest.raises(ArgumentError, match="`frames_mask` must have shape"):
        model(jnp.zeros((2, 20, 8)), frames_mask=jnp.ones((2, 19), bool))
    with pytest.raises(ArgumentTypeError, match="`features` must be floating"):
        model(jnp.zeros((2, 20, 8), jnp.int32))
