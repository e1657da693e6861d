import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxspk import losses
from jaxspk.errors import ArgumentError
from jaxspk.systems import OBJECTIVES, ObjectiveConfig
from jaxspk.systems._speaker_objectives import Objective
from jaxspk.training import FitConfig, OptimizerConfig, ParallelConfig, Run, fit, read_metrics
from jaxspk.training._parallel import Placement
from jaxspk.training._step import _mean_gradient

CLASSES, SPEAKERS, DIM = 24, 16, 12


def spread(count: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:count]), ("devices",), axis_types=(AxisType.Auto,))


# --- Every metric loss: the negatives are those of the whole batch. ---


def all_objectives():
    """One function of embeddings and parameters that gives every objective's value, and what it is a function of."""
    wholes, parameters = {}, {}
    for name, traits in OBJECTIVES.items():
        config = ObjectiveConfig(loss=name)
        objective = Objective(config, classes=CLASSES, dim=DIM, rngs=nnx.Rngs(3))
        graph, params, rest = nnx.split(objective, nnx.Param, ...)
        parameters[name] = params

        pairs = traits.exact_utterances or name == "softmax_prototypical"

        def whole(x, params, labels, key, *, graph=graph, rest=rest, pairs=pairs):
            x = x[:, :2] if pairs else x
            return nnx.merge(graph, params, rest, copy=True)(x, labels, key)[0]

        wholes[name] = whole

    def values(x, parameters, labels, key):
        return {name: whole(x, parameters[name], labels, key) for name, whole in wholes.items()}

    def gradients(x, parameters, labels, key):
        return {
            name: jax.grad(whole, argnums=(0, 1))(x, parameters[name], labels, key) for name, whole in wholes.items()
        }

    return (lambda *arguments: (values(*arguments), gradients(*arguments))), parameters


def compare_with_one_device(count: int, dtype: type, of_values: float, of_gradients: float) -> None:
    both, parameters = all_objectives()
    draw = np.random.default_rng(5)
    x = jnp.asarray(draw.normal(size=(SPEAKERS, 3, DIM)), dtype)
    parameters = jax.tree.map(lambda leaf: leaf.astype(dtype), parameters)
    labels, key = jnp.asarray(draw.permutation(CLASSES)[:SPEAKERS], jnp.int32), jax.random.key(7)
    expected = jax.jit(both)(x, parameters, labels, key)
    mesh = spread(count)
    rows, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("devices"), PartitionSpec()))
    divided = jax.jit(both, out_shardings=whole)
    with jax.set_mesh(mesh):
        found = divided(jax.device_put(x, rows), jax.device_put(parameters, whole), jax.device_put(labels, rows), key)
    for name in OBJECTIVES:
        assert found[0][name].dtype == dtype
        np.testing.assert_allclose(found[0][name], expected[0][name], rtol=of_values, err_msg=name)
        for one, other in zip(jax.tree.leaves(found[1][name]), jax.tree.leaves(expected[1][name]), strict=True):
            largest = float(np.max(np.abs(other), initial=0.0))
            np.testing.assert_allclose(one, other, rtol=0, atol=of_gradients * largest, err_msg=name)


def test_a_metric_loss_of_a_divided_batch_is_that_of_one_device(x64):
    def whole(x):
        return jnp.mean(losses.ge2e_softmax_loss(x, 10.0, -5.0))

    x = np.random.default_rng(5).normal(size=(SPEAKERS, 3, DIM))
    both = jax.jit(jax.value_and_grad(whole))
    value, gradient = both(x)
    found, its_gradient = both(jax.device_put(x, NamedSharding(spread(4), PartitionSpec("devices"))))
    np.testing.assert_allclose(found, value, rtol=1e-12)
    np.testing.assert_allclose(its_gradient, gradient, rtol=0, atol=1e-12 * float(np.max(np.abs(gradient))))
    assert its_gradient.sharding.shard_shape(x.shape)[0] == SPEAKERS // 4


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_every_metric_loss_on_any_number_of_devices_in_double_precision(count, x64):
    compare_with_one_device(count, np.float64, 1e-12, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_every_metric_loss_on_any_number_of_devices(count):
    compare_with_one_device(count, np.float32, 1e-6, 1e-4)


# --- Training. ---


class Network(nnx.Module):
    """A layer, batch norm, a layer; wide enough that its first kernel is divided."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.first = nnx.Param(jnp.asarray(draw.normal(size=(16, 256)) / 4))
        self.norm = nnx.BatchNorm(256, momentum=0.5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        self.norm.mean, self.norm.var = nnx.BatchStat(jnp.zeros(256)), nnx.BatchStat(jnp.ones(256))
        self.second = nnx.Param(jnp.asarray(draw.normal(size=(256, 4)) / 16))

    def __call__(self, inputs):
        return jnp.tanh(self.norm(inputs @ self.first[...], use_running_average=False)) @ self.second[...]


def compares_all_rows(model, batch, key):
    """A loss that needs batch norm of the whole batch, all pairs of rows, and random numbers."""
    embeddings = model(batch["inputs"] + 0.1 * jax.random.normal(key, batch["inputs"].shape, batch["inputs"].dtype))
    embeddings = embeddings / jnp.linalg.norm(embeddings, axis=-1, keepdims=True)
    similar = 3.0 * embeddings @ embeddings.T
    same = batch["label"][:, None] == batch["label"]
    return -jnp.mean(jnp.where(same, jax.nn.log_softmax(similar), 0.0)), {"mean": jnp.mean(embeddings)}


class Batches:
    """Rows that are a function of the number of the batch."""

    def __init__(self, rows: int = 16) -> None:
        self.number, self.rows = 0, rows

    def __next__(self):
        self.number += 1
        draw = np.random.default_rng(self.number)
        inputs = draw.normal(size=(self.rows, 16))
        return {"inputs": inputs, "label": draw.integers(3, size=self.rows).astype(np.int32)}

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


CONFIG = FitConfig(
    steps=6,
    optimizer=OptimizerConfig(name="adamw", learning_rate=0.01, clip_norm=0.5, weight_decay=0.01),
    log_every=2,
    validate_every=3,
    checkpoint_every=3,
    weight_noise=0.01,
)


def train(folder, parallel=None, *, loss=compares_all_rows, batches=None, **changes):
    config = dataclasses.replace(CONFIG, parallel=parallel or ParallelConfig(), **changes)
    with Run(folder, config) as run:
        return fit(
            Network(),
            loss,
            batches or Batches(),
            config,
            key=jax.random.key(0),
            run=run,
            validate=lambda model: {"loss": float(jnp.sum(jnp.square(model.second[...])))},
            progress=False,
        )


def assert_same(found, expected, tolerance=1e-10):
    for one, other in ((found.last, expected.last), (found.model, expected.model)):
        pairs = zip(*(jax.tree.leaves(nnx.state(model)) for model in (one, other)), strict=True)
        for leaf, wanted in pairs:
            assert leaf.devices() == {jax.devices()[0]}
            np.testing.assert_allclose(leaf, wanted, rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def no_loss_of_power(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def one_device(compiled, tmp_path_factory):
    with jax.enable_x64(True):
        return train(tmp_path_factory.mktemp("one"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "parallel",
    [ParallelConfig(devices=4), ParallelConfig(devices=8, shard_parameters=True)],
    ids=["rows divided", "parameters too"],
)
def test_a_training_on_several_devices_is_that_on_one(one_device, parallel, tmp_path, x64):
    found = train(tmp_path, parallel)
    assert_same(found, one_device)
    assert found.compilations == 1
    lines = [line for line in read_metrics(tmp_path) if line["split"] == "train"]
    assert [line["step"] for line in lines] == [2, 4, 6]


def test_a_run_that_goes_on_with_another_number_of_devices_is_that_on_one(one_device, tmp_path, x64):
    class Stop(Exception):
        pass

    class Stopping(Batches):
        def __next__(self):
            if self.number == 4:
                raise Stop
            return super().__next__()

    with pytest.raises(Stop):
        train(tmp_path, ParallelConfig(devices=4, shard_parameters=True), batches=Stopping())
    batches = Batches()
    assert_same(train(tmp_path, batches=batches), one_device)
    assert batches.number == 6


@pytest.mark.slow
def test_batch_norm_takes_the_statistics_of_the_whole_batch(compiled, tmp_path, x64):
    inputs = np.concatenate([np.full((4, 16), value) for value in (-3.0, -1.0, 1.0, 3.0)])

    class Apart(Batches):
        def __next__(self):
            return {**super().__next__(), "inputs": inputs}

    kwargs = {"steps": 1, "optimizer": OptimizerConfig(name="sgd", learning_rate=1e-30), "weight_noise": 0.0}
    found = train(tmp_path, ParallelConfig(devices=4), batches=Apart(), loss=noiseless, **kwargs)
    hidden = inputs @ np.asarray(Network().first[...])
    np.testing.assert_allclose(found.last.norm.mean[...], 0.5 * hidden.mean(0), atol=1e-6)
    # Each device alone has rows that are all equal: no variance at all.
    np.testing.assert_allclose(found.last.norm.var[...], 0.5 + 0.5 * hidden.var(0), rtol=1e-5)


def noiseless(model, batch, key):
    return jnp.mean(model(batch["inputs"])), {}


def test_the_mean_gradient_of_parts_is_that_of_the_batch_and_other_variables_follow_them(x64):
    def objective(params, rest, batch, key):
        value = jnp.mean(jnp.square(batch["inputs"] @ params))
        return value, ({"key": jax.random.uniform(key)}, rest + jnp.max(batch["label"]))

    draw = np.random.default_rng(0)
    batch = {"inputs": draw.normal(size=(12, 3)), "label": np.tile([1.0, 2.0, 4.0], 4)}
    both = [jax.value_and_grad(objective, has_aux=True), _mean_gradient(objective, 3)]
    of_all, of_parts = (
        jax.jit(function)(jnp.arange(3.0), jnp.zeros(()), batch, jax.random.key(1)) for function in both
    )
    np.testing.assert_allclose(of_parts[0][0], of_all[0][0], rtol=1e-14)
    np.testing.assert_allclose(of_parts[1], of_all[1], rtol=1e-14)
    # Part k holds rows k, k + 3, ...: of one label each.
    assert (float(of_all[0][1][1]), float(of_parts[0][1][1])) == (4.0, 7.0)
    keys = jax.random.split(jax.random.key(1), 3)
    np.testing.assert_allclose(of_parts[0][1][0]["key"], np.mean([jax.random.uniform(key) for key in keys]))


@pytest.mark.slow
def test_accumulating_parts_of_a_batch_is_the_batch_where_rows_are_apart(x64, compiled, tmp_path):
    def apart(model, batch, key):
        hidden = jnp.tanh(batch["inputs"] @ model.first[...])
        return jnp.mean(jnp.square(hidden @ model.second[...])), {"first": jnp.mean(hidden)}

    whole = train(tmp_path / "whole", loss=apart, weight_noise=0.0)
    parts = train(tmp_path / "parts", ParallelConfig(devices=2), loss=apart, weight_noise=0.0, accumulate=4)
    assert_same(parts, whole)
    first, other = (read_metrics(tmp_path / name)[0] for name in ("whole", "parts"))
    assert first["loss"] == pytest.approx(other["loss"], rel=1e-12)
    assert first["first"] == pytest.approx(other["first"], rel=1e-12)


# --- Which devices. ---


def rows(count):
    return {"inputs": np.zeros((count, 3), np.float32), "label": np.zeros(count, np.int32)}


def test_a_cpu_is_one_device_unless_more_are_named():
    assert len(Placement(ParallelConfig(), rows(16)).devices) == 1
    assert len(Placement(ParallelConfig(devices=8), rows(16)).devices) == 8


def test_accelerators_are_all_taken_as_far_as_rows_can_be_shared(monkeypatch):
    monkeypatch.setattr("jaxspk.training._parallel._natural_devices", lambda: 8)
    assert len(Placement(ParallelConfig(), rows(16)).devices) == 8
    fewer = Placement(ParallelConfig(), rows(100))
    assert len(fewer.devices) == 5
    assert fewer.note.startswith(
        "uses 5 of 8 devices, between which a batch of 100 rows can be divided; a multiple of 8"
    )


@pytest.mark.parametrize(
    "config, batch, parts, message",
    [
        (ParallelConfig(devices=3), rows(16), 1, "16 rows cannot be divided between 3 devices; take a multiple of 3"),
        (ParallelConfig(), rows(6), 4, "6 rows cannot be divided between one device in 4 parts; take a multiple of 4"),
        (ParallelConfig(devices=9), rows(16), 1, "`devices` must be at most 8, got 9"),
        (ParallelConfig(devices=2), {**rows(4), "scale": np.float32(1)}, 1, "as many rows .* label 4, scale 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused(config, batch, parts, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        Placement(config, batch, parts=parts)


def test_a_batch_in_memory_that_is_used_again_does_no_harm():
    held = rows(16)
    placed = Placement(ParallelConfig(devices=4), held).put_batch(held)
    held["inputs"][...] = 1
    assert not np.any(placed["inputs"])
    assert placed["inputs"].sharding.shard_shape((16, 3)) == (4, 3)


def test_large_arrays_are_divided_along_their_longest_axis_and_small_ones_are_not():
    placement = Placement(ParallelConfig(devices=4, shard_parameters=True), rows(16))
    state = {
        "kernel": jnp.zeros((64, 256)),
        "odd": jnp.zeros((4097,)),
        "bias": jnp.zeros(256),
        "key": jax.random.key(0),
    }
    placed = placement.put_state(state)
    shapes = {name: leaf.sharding.shard_shape(leaf.shape) for name, leaf in placed.items()}
    assert shapes == {"kernel": (64, 64), "odd": (4097,), "bias": (256,), "key": ()}
    local = placement.local(placed)
    assert all(leaf.devices() == {jax.devices()[0]} for leaf in local.values())
    np.testing.assert_array_equal(jax.random.key_data(local["key"]), jax.random.key_data(jax.random.key(0)))


def test_transforms_of_divided_rows_stay_where_the_rows_are():
    from jaxspk import audio

    mesh = spread(4)
    waveform = np.random.default_rng(0).normal(size=(8, 400)).astype(np.float32)
    divided = jax.device_put(waveform, NamedSharding(mesh, PartitionSpec("devices")))
    back = jax.jit(lambda x: audio.istft(audio.stft(x), length=400))
    with jax.set_mesh(mesh):
        compiled = back.lower(divided).compile()
        found = back(divided)
    assert "all-gather" not in compiled.as_text()
    np.testing.assert_allclose(found, waveform, atol=1e-5)
