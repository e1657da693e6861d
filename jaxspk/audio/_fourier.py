"""Fourier transforms of real rows, each device its own rows where a mesh is in force.

XLA's partitioner does not divide real transforms: it gathers all rows on every device, which then transforms all of
them. Whoever divides a batch between devices sets the mesh (``jax.set_mesh``), and these transform what lies there.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Complex, Float


def rfft(rows: Float[Array, "*batch samples"], size: int | None = None) -> Complex[Array, "*batch bins"]:
    """``jnp.fft.rfft`` of the last axis."""
    transformed: Array = _where_they_lie(functools.partial(jnp.fft.rfft, n=size), rows)
    return transformed


def irfft(rows: Complex[Array, "*batch bins"], size: int) -> Float[Array, "*batch samples"]:
    """``jnp.fft.irfft`` of the last axis."""
    transformed: Array = _where_they_lie(functools.partial(jnp.fft.irfft, n=size), rows)
    return transformed


def _where_they_lie(transform: Callable[[Array], Array], rows: Array) -> Array:
    mesh = jax.sharding.get_abstract_mesh()
    automatic = not mesh.empty and all(kind == AxisType.Auto for kind in mesh.axis_types)
    if not automatic or rows.ndim < 2 or rows.shape[0] % mesh.size:
        return transform(rows)
    spec: Callable[..., PartitionSpec] = PartitionSpec  # Not typed in jax.
    along = spec(mesh.axis_names)
    return jax.shard_map(transform, in_specs=along, out_specs=along)(rows)
