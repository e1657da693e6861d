"""Claims about a gradient: what is to be proven, computed as a user would, under jit."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspk.testing._examples import Example, Function, Layout, Vector, is_floating, options_key

OWN_RULE = "own rule"
"""The gradient that JAX finds, by the function's custom rule where it has one."""
BY_HAND = "gradient"
"""The gradient that a function written by hand returns."""

Claim = Callable[[Example, Vector | None], Vector]
"""From an example and the weights of the value's entries to a flat gradient."""


def ask(
    function: Function,
    gradient: Function | None,
    names: Sequence[str],
    layout: Layout,
    example: Example,
    cotangent: Vector | None,
) -> tuple[Vector, dict[str, Vector]]:
    """The value in its own shape, and the claims of these names, flat; all from one compiled function."""
    weighted = cotangent is not None and gradient is not None and accepts_cotangent(gradient)
    run = _compiled(function, gradient, tuple(names), layout.argnums, options_key(example.options), weighted)
    value, claims = run(as_jax(example), weights(cotangent, example))
    return np.asarray(value, np.float64), {name: layout.flatten(found) for name, found in claims.items()}


def rules_of(
    functions: tuple[Function, ...], layout: Layout, example: Example, cotangent: Vector | None
) -> list[Vector]:
    """What JAX finds for each of several functions of the same arguments, from one compiled function."""
    run = _compiled_rules(functions, layout.argnums, options_key(example.options))
    return [layout.flatten(found) for found in run(as_jax(example), weights(cotangent, example))]


def value_of(function: Function, example: Example) -> Vector:
    """The function's value at an example, in its own shape, as float64."""
    value = _compiled_value(function, options_key(example.options))(as_jax(example))
    return np.asarray(value, np.float64)


def value_shape(function: Function, example: Example) -> tuple[int, ...]:
    """The shape of the function's value at an example."""
    shapes = tuple(None if a is None else (np.shape(a), np.asarray(a).dtype) for a in example.arguments)
    return _traced_shape(function, shapes, options_key(example.options))


def has_own_rule(function: Function, example: Example) -> bool:
    """Whether a ``jax.custom_vjp`` rule decides about the function's gradient, so that autodiff proves nothing."""
    shapes = tuple(None if a is None else (np.shape(a), np.asarray(a).dtype) for a in example.arguments)
    return _traced_rule(function, shapes, options_key(example.options))


def accepts_cotangent(gradient: Function) -> bool:
    """Whether a hand-written gradient takes the weights of the value's entries."""
    try:
        return "cotangent" in inspect.signature(gradient).parameters
    except (TypeError, ValueError):
        return False


def as_jax(example: Example) -> tuple[Any, ...]:
    """The arguments as JAX's arrays."""
    return tuple(None if argument is None else jnp.asarray(argument) for argument in example.arguments)


def weights(cotangent: Vector | None, example: Example) -> Any:
    """The cotangent in the dtype of the value: that of the arguments, float32 at least."""
    if cotangent is None:
        return None
    wide = any(is_floating(a) and np.asarray(a).dtype == np.float64 for a in example.arguments)
    return jnp.asarray(cotangent, np.float64 if wide else np.float32)


_Options = tuple[tuple[str, Any], ...]


def _rule(function: Function, argnums: tuple[int, ...], options: _Options, arguments: Any, cotangent: Any) -> Any:
    def of(*differentiable: Any) -> Any:
        rebuilt = list(arguments)
        for position, argument in zip(argnums, differentiable, strict=True):
            rebuilt[position] = argument
        return function(*rebuilt, **dict(options))

    value, pull = jax.vjp(of, *(arguments[i] for i in argnums))
    return pull(jnp.ones_like(value) if cotangent is None else cotangent.astype(value.dtype))


@functools.lru_cache(maxsize=512)
def _compiled(
    function: Function,
    gradient: Function | None,
    names: tuple[str, ...],
    argnums: tuple[int, ...],
    options: _Options,
    weighted: bool,
) -> Callable[..., Any]:
    def run(arguments: Any, cotangent: Any) -> Any:
        keywords = dict(options)
        claims: dict[str, Any] = {}
        if BY_HAND in names and gradient is not None:
            given = {"cotangent": cotangent} if weighted else {}
            claims[BY_HAND] = gradient(*arguments, **keywords, **given)
        if OWN_RULE in names:
            claims[OWN_RULE] = _rule(function, argnums, options, arguments, cotangent)
        return function(*arguments, **keywords), claims

    return jax.jit(run)


@functools.lru_cache(maxsize=512)
def _compiled_rules(functions: tuple[Function, ...], argnums: tuple[int, ...], options: _Options) -> Callable[..., Any]:
    return jax.jit(lambda arguments, cotangent: [_rule(f, argnums, options, arguments, cotangent) for f in functions])


@functools.lru_cache(maxsize=512)
def _compiled_value(function: Function, options: _Options) -> Callable[..., Any]:
    return jax.jit(lambda arguments: function(*arguments, **dict(options)))


@functools.lru_cache(maxsize=512)
def _traced_rule(function: Function, shapes: tuple[Any, ...], options: _Options) -> bool:
    arguments = [None if shape is None else np.zeros(*shape) for shape in shapes]
    # The text of a program holds all programs inside it.
    return "custom_vjp_call" in str(jax.make_jaxpr(lambda *given: function(*given, **dict(options)))(*arguments))


@functools.lru_cache(maxsize=512)
def _traced_shape(function: Function, shapes: tuple[Any, ...], options: _Options) -> tuple[int, ...]:
    arguments = [None if shape is None else np.zeros(*shape) for shape in shapes]
    return tuple(jax.eval_shape(lambda *given: function(*given, **dict(options)), *arguments).shape)
