import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxspk.errors import ArgumentError
from jaxspk.training import OptimizerConfig, make_optimizer, make_schedule

PARAMS = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
GRADS = {"kernel": jnp.full((2, 3), 0.5), "bias": jnp.full(3, 0.5)}


def updates_of(config: OptimizerConfig, count: int = 1):
    optimizer = make_optimizer(config, 100)
    state = optimizer.init(PARAMS)
    for _ in range(count):
        updates, state = optimizer.update(GRADS, state, PARAMS)
    return updates


def rates(steps=100, **fields):
    schedule = make_schedule(OptimizerConfig(learning_rate=0.1, **fields), steps)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


def test_constant_and_plateau_stay():
    np.testing.assert_allclose(rates(), 0.1, rtol=1e-6)
    np.testing.assert_allclose(rates(schedule="plateau"), 0.1, rtol=1e-6)


def test_cosine_falls_along_half_a_cosine():
    t = np.arange(101) / 100
    expected = 0.1 * (0.2 + 0.8 * (1 + np.cos(np.pi * t)) / 2)
    np.testing.assert_allclose(rates(schedule="cosine", final_fraction=0.2), expected, rtol=1e-5)


def test_exponential_falls_geometrically():
    expected = 0.1 * 0.01 ** (np.arange(101) / 100)
    np.testing.assert_allclose(rates(schedule="exponential"), expected, rtol=1e-4)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_warm_up_rises_linearly_to_the_rate_then_the_schedule_begins(schedule):
    warmed = rates(steps=60, schedule=schedule, warmup_steps=10)
    np.testing.assert_allclose(warmed[:10], 0.1 * np.arange(1, 11) / 10, rtol=1e-5)
    np.testing.assert_allclose(warmed[10:], rates(steps=50, schedule=schedule), rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_warm_up_of_a_step_or_two(steps):
    np.testing.assert_allclose(rates(steps=5, warmup_steps=steps)[steps - 1 :], 0.1, rtol=1e-6)


def test_sgd_follows_the_gradient_with_momentum():
    config = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.9)
    np.testing.assert_allclose(updates_of(config, 2)["bias"], -0.1 * (0.5 + 0.9 * 0.5), rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_moves_by_the_rate(name):
    np.testing.assert_allclose(updates_of(OptimizerConfig(name=name, learning_rate=0.1))["bias"], -0.1, rtol=1e-4)


def test_rmsprop_divides_by_the_running_root_mean_square():
    config = OptimizerConfig(name="rmsprop", learning_rate=0.1, momentum=0.0)
    expected = -0.1 * 0.5 / np.sqrt(0.1 * 0.5**2)
    np.testing.assert_allclose(updates_of(config)["bias"], expected, rtol=1e-4)


def test_gradients_longer_than_the_clip_norm_are_scaled_to_it():
    config = OptimizerConfig(name="sgd", learning_rate=1.0, momentum=0.0, clip_norm=0.1)
    assert float(optax.tree.norm(updates_of(config))) == pytest.approx(0.1, rel=1e-5)
    loose = OptimizerConfig(name="sgd", learning_rate=1.0, momentum=0.0, clip_norm=100.0)
    np.testing.assert_allclose(updates_of(loose)["bias"], -0.5, rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_weights_decay_but_biases_do_not(name):
    plain = updates_of(OptimizerConfig(name=name, learning_rate=0.1))
    decayed = updates_of(OptimizerConfig(name=name, learning_rate=0.1, weight_decay=0.5), 2)
    plain = updates_of(OptimizerConfig(name=name, learning_rate=0.1), 2)
    np.testing.assert_array_equal(decayed["bias"], plain["bias"])
    if name in ("adamw", "sgd"):
        assert np.all(np.asarray(decayed["kernel"]) < np.asarray(plain["kernel"]))


def test_decay_of_adamw_is_decoupled():
    plain = updates_of(OptimizerConfig(name="adamw", learning_rate=0.1))
    decayed = updates_of(OptimizerConfig(name="adamw", learning_rate=0.1, weight_decay=0.5))
    np.testing.assert_allclose(decayed["kernel"] - plain["kernel"], -0.1 * 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "lion"},
        {"schedule": "linear"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.5},
        {"clip_norm": 0.0},
        {"weight_decay": -1.0},
        {"warmup_steps": -1},
        {"schedule": "exponential", "final_fraction": 0.0},
    ],
    ids=str,
)
def test_refuses_what_makes_no_sense(fields, as_a_user):
    with pytest.raises(ArgumentError, match=f"`{list(fields)[-1]}` must"):
        OptimizerConfig(**fields)


def test_works_under_jit_on_a_count_of_the_device():
    schedule = jax.jit(make_schedule(OptimizerConfig(schedule="cosine", warmup_steps=3), 10))
    assert np.isfinite(float(schedule(jnp.int32(5))))
