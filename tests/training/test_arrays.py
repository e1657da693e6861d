import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.errors import CheckpointError
from jaxspk.training._arrays import from_named_arrays, to_named_arrays

TREE = {
    "weights": [jnp.arange(6.0).reshape(2, 3), jnp.ones(2, jnp.bfloat16)],
    "count": jnp.int32(3),
    "empty": jnp.zeros((0, 4)),
    "key": jax.random.key(5),
}


def test_comes_back_as_it_was():
    named = to_named_arrays(TREE, "state")
    assert set(named) == {"state/weights/0", "state/weights/1", "state/count", "state/empty", "state/key"}
    back = from_named_arrays(jax.tree.map(jnp.zeros_like, TREE), named, "state", "here")
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(TREE), strict=True):
        assert one.dtype == other.dtype
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)


def test_is_a_copy_that_survives_donation():
    array = jnp.arange(1000.0)
    named = to_named_arrays({"a": array}, "p")
    jax.jit(lambda a: a + 1, donate_argnums=0)(array).block_until_ready()
    np.testing.assert_array_equal(named["p/a"], np.arange(1000.0))


@pytest.mark.parametrize(
    "template, message",
    [
        ({"a": jnp.zeros(3)}, r"here: .* p/a is float32\[2\] there and float32\[3\] here"),
        ({"a": jnp.zeros(2, jnp.int32)}, r"p/a is float32\[2\] there and int32\[2\] here"),
        ({"a": jnp.zeros(2), "b": jnp.zeros(1)}, "p/b is in only one of the two"),
        ({}, "p/a is in only one of the two"),
    ],
)
def test_refuses_arrays_of_another_model(template, message):
    with pytest.raises(CheckpointError, match=message):
        from_named_arrays(template, {"p/a": np.zeros(2, np.float32)}, "p", "here")


def test_arrays_of_other_prefixes_do_not_matter():
    back = from_named_arrays({"a": jnp.zeros(2)}, {"p/a": np.ones(2, np.float32), "q/z": np.ones(1)}, "p", "")
    np.testing.assert_array_equal(back["a"], 1)
