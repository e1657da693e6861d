"""A gradient must not depend on how it is run: compiled, batched, scanned, rematerialised, donated, sharded."""

import dataclasses
import itertools
from collections.abc import Callable
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
    compiled: Callable[[Example], Vector],
    *,
    eager: bool = True,
) -> Transformations:
    """Runs the function's gradient under every transformation, at four inputs near ``example``.

    Args:
      function: with its own rule.
      example: a well-conditioned input, away from kinks.
      layout: its differentiable arguments.
      cotangent: weights of the value's entries.
      compiled: the function's gradient at an example, compiled alone, flat.
      eager: whether to run without jit as well, which compiles every operation for itself.
    """
    vector, given = flat_arguments(example, layout)
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

    def alone(x: Vector) -> Vector:
        arguments = layout.rebuild(x, example.arguments)
        return compiled(dataclasses.replace(example, arguments=tuple(arguments)))

    def agree(name: str, found: Any, right: Vector, line: float = _AGREES) -> None:
        checked.append(name)
        found, largest = np.asarray(found), np.abs(right).max(initial=0.0)
        apart = np.abs(found - right).max(initial=0.0)
        if not apart <= line * largest:
            problems.append(f"{name} changes the result by {apart / (largest or 1.0):.2g} of its largest entry")

    with jax.enable_x64(True):
        data = [None if argument is None else jnp.asarray(argument) for argument in given]
        expected = np.stack([alone(x) for x in inputs])
        if eager:
            agree("no jit", gradient(jnp.asarray(vector)), expected[0])
        scanned, rematerialised = jax.jit(
            lambda xs: (
                jax.lax.scan(lambda carry, x: (carry, gradient(x)), 0, xs)[1],
                jax.vmap(jax.checkpoint(gradient))(xs),
            )
        )(inputs)
        agree("scan", scanned, expected)
        agree("remat", rematerialised, expected)
        donated = jax.jit(jax.vmap(gradient), donate_argnums=0)
        for count in DEVICES:
            if count > jax.device_count():
                notes.append(f"sharding over {count} devices was not tried: there are {jax.device_count()}")
                continue
            mesh = Mesh(np.array(jax.devices()[:count]), ("batch",))
            placed = NamedSharding(mesh, PartitionSpec("batch"))  # type: ignore[no-untyped-call]
            agree(f"vmap, donated, on {count}", donated(jax.device_put(inputs.copy(), placed)), expected)
        direction = scales * np.sign(np.cos(3.0 * np.arange(len(vector)) + 1.0))
        try:
            product = jax.jit(lambda x, d: jax.jvp(gradient, (x,), (d,))[1])(vector, direction)
        except TypeError as error:
            problems.append(f"second order: {str(error).splitlines()[0]}")
        else:
            # Of the gradient's own differences: what it should be needs no compiling.
            right, bar = _difference(alone, vector, direction)
            if bar <= DECIDES_FROM * np.abs(right).max(initial=0.0):
                agree("second order", product, right, DECIDES_FROM)
            else:
                notes.append("second order was not tried at an input where the gradient jumps nearby")
    return Transformations(tuple(checked), tuple(problems), tuple(notes))


def _difference(function: Callable[[Vector], Vector], x: Vector, direction: Vector) -> tuple[Vector, float]:
    """Central differences, three steps extrapolated to an error of sixth order, and how far they may be off.

    Nearby jumps spoil large steps and rounding spoils small ones; the triple that agrees best with itself counts.
    """
    found: list[tuple[float, Vector]] = []
    for largest in (7, 12, 17, 22):
        steps = 2.0 ** -np.arange(largest, largest + 3)
        central = [(function(x + h * direction) - function(x - h * direction)) / (2 * h) for h in steps]
        once = [finer + (finer - coarser) / 3 for coarser, finer in itertools.pairwise(central)]
        change = (once[1] - once[0]) / 15
        found.append((float(np.abs(change).max(initial=0.0)), once[1] + change))
    bar, product = min(found, key=lambda entry: entry[0])
    return product, bar
