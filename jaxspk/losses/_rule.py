"""How a gradient derived by hand becomes a loss's reverse-mode rule: one place for every family.

A family writes two functions. ``forward(options, *arrays)`` gives the value and what the gradient needs
again; ``backward(options, residuals, cotangent)`` is the gradient derived by hand. From the pair,
:class:`Rule` makes the three public faces of a loss: wired, plain, and gradient.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array

from jaxspk import _checks
from jaxspk.errors import ArgumentError, ArgumentTypeError


@dataclasses.dataclass(frozen=True)
class Rule:
    """A loss and its hand-derived gradient.

    Attributes:
      forward: ``(options, *arrays) -> (value, residuals)``; safe to differentiate, since it is the plain form
        too.
      backward: ``(options, residuals, cotangent) -> gradients``, one for each differentiable array, in order.
      data: how many of the last arrays are data (labels, margins), with gradient zero.
    """

    forward: Callable[..., tuple[Array, Any]]
    backward: Callable[..., tuple[Array, ...]]
    data: int = 0

    def loss(self, options: Hashable, arrays: Sequence[Array]) -> Array:
        """The value, with ``backward`` as its reverse-mode rule."""
        value: Array = _loss(self, options, *arrays)
        return value

    def plain(self, options: Hashable, arrays: Sequence[Array]) -> Array:
        """The same value with no custom rule."""
        value: Array = _plain(self, options, *arrays)
        return value

    def grad(
        self, options: Hashable, arrays: Sequence[Array], cotangent: Array | None, given: Sequence[Any]
    ) -> tuple[Array, ...]:
        """The vector-Jacobian product, each gradient in the dtype of the argument as it was ``given``."""
        gradients = _grad(self, options, cotangent, *arrays)
        return tuple(
            gradient.astype(getattr(argument, "dtype", gradient.dtype))
            for gradient, argument in zip(gradients, given, strict=True)
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _wired(rule: Rule, options: Hashable, *arrays: Array) -> Array:
    return rule.forward(options, *arrays)[0]


def _wired_forward(rule: Rule, options: Hashable, *arrays: Array) -> tuple[Array, Any]:
    return rule.forward(options, *arrays)


def _wired_backward(rule: Rule, options: Hashable, residuals: Any, cotangent: Array) -> tuple[Array | None, ...]:
    return (*rule.backward(options, residuals, cotangent), *(None,) * rule.data)


_wired.defvjp(_wired_forward, _wired_backward)

# Compiled once for each rule, options and shapes, also where the caller does not compile; inside a caller's own `jit`
# they dissolve into it.
_jit = functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
_loss = _jit(_wired)


@_jit
def _plain(rule: Rule, options: Hashable, *arrays: Array) -> Array:
    return rule.forward(options, *arrays)[0]


@_jit
def _grad(rule: Rule, options: Hashable, cotangent: Array | None, *arrays: Array) -> tuple[Array, ...]:
    value, residuals = rule.forward(options, *arrays)
    if cotangent is None:
        cotangent = jnp.ones_like(value)
    _checks.check_shape("cotangent", cotangent, value.shape, "that of the value")
    return rule.backward(options, residuals, cotangent.astype(value.dtype))


def accumulation_dtype(*arrays: Any) -> np.dtype[Any]:
    """float64 where any array has it, else float32; bfloat16 and float16 never accumulate."""
    wide = any(getattr(array, "dtype", None) == np.float64 for array in arrays)
    return np.dtype(np.float64 if wide else np.float32)


def scalar(name: str, value: Any, dtype: DTypeLike) -> Array:
    """A Python number or an array of no axes, as an array of ``dtype``."""
    array = jnp.asarray(value)
    _checks.check_shape(name, array, (), "a scalar")
    return array.astype(dtype)


def check_hyperparameter(name: str, value: Any, *, low: float, high: float = float("inf")) -> None:
    """Refuses a Python number outside [low, high]; an array, perhaps traced, is taken on trust."""
    if isinstance(value, (int, float)):
        _checks.check_range(name, float(value), low=low, high=high)


def check_integer(name: str, array: Any) -> None:
    """Refuses labels whose dtype is not an integer."""
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ArgumentTypeError(f"`{name}` must hold integers, got dtype {array.dtype}.")


def check_at_least(name: str, value: Any, least: int) -> None:
    """Refuses a Python number below ``least``; an array, perhaps traced, is taken on trust."""
    if isinstance(value, int) and value < least:
        raise ArgumentError(f"`{name}` must be at least {least}, got {value}.")
