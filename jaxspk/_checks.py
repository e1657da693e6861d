"""Checks of arguments, with messages that name the argument, what came and what was expected.

Shapes and dtypes are known while JAX traces, so these cost nothing under ``jit``.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from jaxspk.errors import ArgumentError, ArgumentTypeError


def check_floating(name: str, array: Any) -> None:
    """Refuses an array whose dtype is not floating (bfloat16 and float8 count as floating)."""
    import jax.numpy as jnp

    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ArgumentTypeError(
            f"`{name}` must be floating, got dtype {array.dtype}; convert it: `{name}.astype(jnp.float32)`."
        )


def check_rank(name: str, array: Any, rank: int, axes: str) -> None:
    """Refuses an array with fewer than ``rank`` axes; ``axes`` says what the last ones are."""
    if array.ndim < rank:
        raise ArgumentError(f"`{name}` must have at least {rank} axes, [*batch, {axes}], got {_shape(array)}.")


def check_shape(name: str, array: Any, shape: Sequence[int], because: str = "") -> None:
    """Refuses an array whose shape is not ``shape``; ``because`` says where the expectation comes from."""
    if tuple(array.shape) != tuple(shape):
        reason = f" ({because})" if because else ""
        raise ArgumentError(f"`{name}` must have shape {tuple(shape)}{reason}, got {_shape(array)}.")


def check_same_shape(name: str, array: Any, other_name: str, other: Any) -> None:
    """Refuses two arrays of different shapes."""
    if tuple(array.shape) != tuple(other.shape):
        raise ArgumentError(
            f"`{name}` and `{other_name}` must have the same shape, got {_shape(array)} and {_shape(other)}."
        )


def check_same_axes_but_last(name: str, array: Any, other_name: str, other: Any, way_out: str = "") -> None:
    """Refuses two arrays that differ on any axis but the last."""
    if tuple(array.shape[:-1]) != tuple(other.shape[:-1]):
        raise ArgumentError(
            f"`{name}` and `{other_name}` must agree on every axis but the last, "
            f"got {_shape(array)} and {_shape(other)}. {way_out}".rstrip()
        )


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Refuses a value that is not among the choices."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ArgumentError(f"`{name}` must be one of {listed}, got {value!r}.")


def check_range(
    name: str,
    value: float | int,
    *,
    low: float | int = -np.inf,
    high: float | int = np.inf,
    low_open: bool = False,
) -> None:
    """Refuses a number outside [low, high], or (low, high] with ``low_open``; NaN is outside."""
    inside = (low < value if low_open else low <= value) and value <= high
    if not inside:
        first, last = "(" if low_open or low == -np.inf else "[", ")" if high == np.inf else "]"
        bounds = f"{first}{_number(low)}, {_number(high)}{last}"
        raise ArgumentError(f"`{name}` must lie in {bounds}, got {value!r}.")


def _number(value: float | int) -> str:
    try:
        return f"{value:g}"
    except OverflowError:  # An integer beyond the range of floats.
        return "10^300 and more" if value > 0 else "-10^300 and less"


def _shape(array: Any) -> str:
    return f"shape {tuple(array.shape)}"
