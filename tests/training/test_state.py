import jax
import jax.numpy as jnp
import numpy as np

from jaxspk.training import OptimizerConfig, make_optimizer
from jaxspk.training._state import add_weight_noise, init_state


def test_noise_is_normal_independent_and_of_the_given_deviation():
    params = {"a": jnp.ones((100, 200)), "b": jnp.zeros((100, 200), jnp.bfloat16)}
    noisy = add_weight_noise(params, 0.6, jax.random.key(0))
    first, second = noisy["a"] - 1, noisy["b"].astype(jnp.float32)
    assert noisy["b"].dtype == jnp.bfloat16
    np.testing.assert_allclose([first.mean(), second.mean()], 0, atol=0.02)
    np.testing.assert_allclose([first.std(), second.std()], 0.6, rtol=0.02)
    assert abs(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]) < 0.03


def test_the_first_state_may_be_donated_without_touching_the_model():
    params, rest = {"w": jnp.arange(3.0)}, {"count": jnp.zeros((), jnp.int32)}
    metrics = {"loss": jax.ShapeDtypeStruct((), jnp.float32)}
    optimizer = make_optimizer(OptimizerConfig(), 10)
    state = init_state(params, rest, optimizer, jax.random.key(0), metrics)
    jax.jit(lambda state: jax.tree.map(jnp.copy, state), donate_argnums=0)(state)
    np.testing.assert_array_equal(params["w"], [0, 1, 2])
    assert int(rest["count"]) == 0
