"""Trees of arrays as named NumPy arrays, and back into a tree of the same structure."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxspk.errors import CheckpointError


def to_named_arrays(tree: PyTree, prefix: str) -> dict[str, np.ndarray]:
    """Copies of all leaves on the host, each named by its path; JAX keys as their data.

    Args:
      tree: any tree of arrays.
      prefix: first part of every name.

    Returns:
      NumPy arrays that share no memory with the device's, which may be donated next.
    """
    named = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        data = jax.random.key_data(leaf) if _is_key(leaf) else leaf
        named[_name(prefix, path)] = np.array(data)
    return named


def from_named_arrays(template: PyTree, arrays: Mapping[str, np.ndarray], prefix: str, where: str) -> PyTree:
    """The tree whose leaves :func:`to_named_arrays` named.

    Args:
      template: a tree of the same structure, shapes and dtypes.
      arrays: at least the arrays named with ``prefix``.
      prefix: as given then.
      where: what the arrays were read from, for messages.

    Returns:
      A tree of new arrays on the default device.

    Raises:
      CheckpointError: an array is missing, left over, or of another shape or dtype.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(prefix, path) for path, _ in paths]
    strangers = sorted({name for name in arrays if name.startswith(f"{prefix}/")} ^ set(names))
    if strangers:
        raise CheckpointError(
            f"{where}: of another model or optimiser, {strangers[0]} is in only one of the two; "
            "take the config and model the run was begun with."
        )
    leaves = []
    for name, (_, leaf) in zip(names, paths, strict=True):
        data = jax.random.key_data(leaf) if _is_key(leaf) else leaf
        array = arrays[name]
        if array.shape != data.shape or array.dtype != data.dtype:
            raise CheckpointError(
                f"{where}: of another model or optimiser, {name} is {array.dtype}{list(array.shape)} there "
                f"and {data.dtype}{list(data.shape)} here; take the config and model the run was begun with."
            )
        # A copy: a donated array must not lie in NumPy's memory.
        restored = jnp.array(array, copy=True)
        leaves.append(jax.random.wrap_key_data(restored, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else restored)
    return jax.tree.unflatten(structure, leaves)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """The sha-256 of named arrays: of their names, dtypes, shapes and bytes.

    Args:
      arrays: in any order.

    Returns:
      64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return total.hexdigest()


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _name(prefix: str, path: Any) -> str:
    return "/".join([prefix, *(jax.tree_util.keystr((part,), simple=True) for part in path)])
