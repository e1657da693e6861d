"""The state of training, and what makes and disturbs it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything a step reads and changes; lives on the device.

    Attributes:
      params: the parameters, in the precision they are kept in.
      rest: the model's other variables: running statistics, counts of random draws.
      optimizer: optax's state.
      key: what every draw of the loop derives from, with the step.
      step: steps done, skipped ones included.
      skipped: steps whose loss or gradient was not finite and that changed nothing.
      bad_run: how many of these came in a row, up to now.
      rate_scale: what a plateau has made of the learning rate, as a factor.
      sums: the metrics, summed over the good steps since the last log point.
      summed: the number of these steps.
    """

    params: PyTree
    rest: PyTree
    optimizer: PyTree
    key: PRNGKeyArray
    step: Int[Array, ""]
    skipped: Int[Array, ""]
    bad_run: Int[Array, ""]
    rate_scale: Float[Array, ""]
    sums: dict[str, Float[Array, ""]]
    summed: Int[Array, ""]


def init_state(
    params: PyTree, rest: PyTree, optimizer: optax.GradientTransformation, key: PRNGKeyArray, metrics: Any
) -> TrainState:
    """The state before the first step.

    Args:
      params: initial parameters.
      rest: the model's other variables.
      optimizer: from :func:`make_optimizer`.
      key: a JAX key.
      metrics: names of the metrics, with the dtype and shape of each.

    Returns:
      A state that shares no memory with the arguments, so that it can be donated.
    """
    return TrainState(
        params=jax.tree.map(jnp.copy, params),
        rest=jax.tree.map(jnp.copy, rest),
        optimizer=jax.tree.map(jnp.copy, optimizer.init(params)),
        key=jnp.copy(key),
        step=jnp.zeros((), jnp.int32),
        skipped=jnp.zeros((), jnp.int32),
        bad_run=jnp.zeros((), jnp.int32),
        rate_scale=jnp.ones((), jnp.float32),
        sums={name: jnp.zeros((), metric.dtype) for name, metric in metrics.items()},
        summed=jnp.zeros((), jnp.int32),
    )


def add_weight_noise(params: PyTree, sigma: float, key: PRNGKeyArray) -> PyTree:
    r"""A copy of the parameters with independent normal noise, :math:`\theta + \sigma \epsilon`.

    The gradient is taken there; the update goes to the originals, as in Graves, *Practical variational
    inference for neural networks*, NIPS 2011, and in CURRENNT, whose setting is a standard deviation too.

    Args:
      params: any tree of arrays.
      sigma: the standard deviation of the noise.
      key: a JAX key.

    Returns:
      A tree of the same structure, shapes and dtypes.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + sigma * jax.random.normal(leaf_key, leaf.shape, leaf.dtype)
        for leaf, leaf_key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)
