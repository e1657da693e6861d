"""A gradient must not depend on how it is run: compiled, batched, scanned, rematerialised, donated, sharded."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxspk.testing._compare import DECIDES_FROM
from jaxspk.testing._examples import Example, Function, Layout, Vector, coordinate_scales, flat_arguments

BATCH = 4
"""Inputs run together; divisible by every number of devices tried."""
DEVICES = (1, 2, 4)

_AGREES = 1e-9


@dataclasses.dataclass(frozen=True)
class Transformations:
    """What was found.

    Attributes:
      checked: names of the transformations that ran.
      problems: those that changed the gradient, in words.
      notes: those that could not run here, in words.
    """

    checked: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check_transformations(
    function: Function,
    example: Example,
    layout: Layout,
    cotangent: Vector,
    expected: Vector,
    *,
    reference: Function | None = None,
    eager: bool = True,
) -> Transformations:
    """Runs the function's gradient under every transformation, at four inputs near ``example``.

    Args:
      function: with its own rule.
      example: a well-conditioned input, away from kinks.
      layout: its differentiable arguments.
      cotangent: weights of the value's entries.
      expected: the gradient at ``example``, compiled alone.
      reference: a plain form, whose second derivative is compared; None to leave the second order out.
      eager: whether to run without jit as well, which compiles every operation for itself.
    """
    vector, data = flat_arguments(example, layout)
    scales = coordinate_scales(example, layout)
    # Distinct inputs that stay near the example.
    nudges = np.sign(np.sin(np.outer(np.arange(1, BATCH + 1), np.arange(1, len(vector) + 1)))) * scales * 2.0**-20
    nudges[0] = 0
    inputs = vector + nudges
    checked: list[str] = []
    problems: list[str] = []
    notes: list[str] = []

    def gradient(x: Any) -> Any:
        def total(at: Any) -> Any:
            return jnp.vdot(cotangent, function(*layout.rebuild(at, data), **example.options))

        return jax.grad(total)(x)

    def agree(name: str, found: Any, right: Vector, line: float = _AGREES) -> None:
        checked.append(name)
        found, largest = np.asarray(found), np.abs(right).max(initial=0.0)
        apart = np.abs(found - right).max(initial=0.0)
        if not apart <= line * largest:
            problems.append(f"{name} changes the result by {apart / (largest or 1.0):.2g} of its largest entry")

    with jax.enable_x64(True):
        scan, vmap, remat = jax.jit(
            lambda xs: (
                jax.lax.scan(lambda carry, x: (carry, gradient(x)), 0, xs)[1],
                jax.vmap(gradient)(xs),
                jax.vmap(jax.checkpoint(gradient))(xs),
            )
        )(inputs)
        together = np.asarray(scan)
        agree("scan", together[0], expected)
        agree("vmap", vmap, together)
        agree("remat", remat, together)
        if eager:
            agree("without jit", gradient(jnp.asarray(vector)), expected)
        donated = jax.jit(jax.vmap(gradient), donate_argnums=0)
        for count in DEVICES:
            if count > jax.device_count():
                notes.append(f"sharding over {count} devices was not tried: there are {jax.device_count()}")
                continue
            mesh = Mesh(np.array(jax.devices()[:count]), ("batch",))
            sharded = jax.device_put(inputs.copy(), NamedSharding(mesh, PartitionSpec("batch")))
            agree(f"donation, sharded over {count}", donated(sharded), together)
        if reference is not None:
            _second_order(function, reference, example, layout, cotangent, agree, problems)
    return Transformations(tuple(checked), tuple(problems), tuple(notes))


def _second_order(
    function: Function,
    reference: Function,
    example: Example,
    layout: Layout,
    cotangent: Vector,
    agree: Any,
    problems: list[str],
) -> None:
    """Hessian times a vector, forward over reverse through the rule and through the plain form."""
    vector, data = flat_arguments(example, layout)
    direction = coordinate_scales(example, layout) * np.sign(np.cos(3.0 * np.arange(len(vector)) + 1.0))

    def product(of: Function, x: Any, d: Any) -> Any:
        def total(at: Any) -> Any:
            return jnp.vdot(cotangent, of(*layout.rebuild(at, data), **example.options))

        return jax.jvp(jax.grad(total), (x,), (d,))[1]

    try:
        both = jax.jit(lambda x, d: (product(function, x, d), product(reference, x, d)))
        found, expected = both(vector, direction)
    except TypeError as error:
        problems.append(f"second order: {str(error).splitlines()[0]}")
        return
    agree("second order", found, np.asarray(expected), DECIDES_FROM)
