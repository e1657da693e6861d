"""Independent witnesses of a gradient in float64, each with its own error bar.

Reverse and forward mode run on a plain form of the function, without custom rules; slopes from values alone
come from adaptive Richardson differences. How much rounding may move a gradient is not guessed but measured:
the input is shaken by two units in the last place of its row, eight times, and the largest answer counts. Rounding
that stays the same over so small a distance shows in second differences over a larger one, where the smooth part
of the gradient cancels.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspk.testing._differences import LEVELS, STEPS, Slopes, slopes_from_rises
from jaxspk.testing._examples import (
    Example,
    Function,
    Layout,
    Vector,
    coordinate_scales,
    flat_arguments,
    options_key,
)

RESOLUTION = 1e-3
"""A coordinate's scale is at least this share of the largest entry of the gradient."""
SHAKE = 2.0**-51
"""Relative size of the perturbations that measure the effect of rounding."""
DIRECTIONS = 4
"""Random directions checked besides the coordinates."""
EVERY_COORDINATE_UP_TO = 4096
"""Larger inputs have their differences taken along a random choice of this many coordinates."""

_ENTRIES = 64
"""A value of more entries is summed up before its slopes are taken."""
_PAIRS = 4
_STIR = 2.0**-36
_SAFETY = 8.0
_FLOOR = 1e-8
# A dent as deep as the value rounds is taken to be this wide at least, relative to a coordinate's scale.
_DENT_WIDTH = 2.0**-26
# An argument whose rises are this many times as large as such a dent cannot be fooled by one.
_DENTS = 2.0**10


@dataclasses.dataclass(frozen=True)
class Witness:
    """What one method says about every coordinate of a gradient.

    Attributes:
      name: of the method.
      low: lower end of what is right; differs from ``high`` only at kinks.
      high: upper end of what is right.
      bars: the method's own error bars; infinite where it says nothing.
      kinks: coordinates with two one-sided slopes.
    """

    name: str
    low: Vector
    high: Vector
    bars: Vector
    kinks: Vector


@dataclasses.dataclass(frozen=True)
class Evidence:
    r"""All that is known about the gradient of one function at one input, before any claim is looked at.

    Attributes:
      example: the input.
      layout: which coordinate is which.
      cotangent: the weight of each entry of the value.
      value: the function's value, raveled.
      value_noise: how far rounding may move each entry of the value.
      witnesses: one a method.
      scale: of every coordinate, max(\|g_i\|, 1e-3 max\|g\|).
      directions: ``[directions, coordinates]``, the random ones.
      direction_slopes: the slopes along them.
      fine: a bar for every coordinate, the smallest of the witnesses'.
    """

    example: Example
    layout: Layout
    cotangent: Vector
    value: Vector
    value_noise: Vector
    witnesses: tuple[Witness, ...]
    scale: Vector
    directions: Vector
    direction_slopes: Slopes
    fine: Vector

    @property
    def kinks(self) -> Vector:
        """Coordinates that have two one-sided slopes."""
        return functools.reduce(np.logical_or, (w.kinks for w in self.witnesses))

    def tolerance(self, witness: Witness) -> Vector:
        """How far a right claim may lie from this witness."""
        return np.maximum(witness.bars, _FLOOR * self.scale)


def gather_evidence(
    function: Function,
    example: Example,
    layout: Layout,
    *,
    cotangent: Vector | None = None,
    autodiff: bool = True,
    seed: int = 0,
    shake: float = SHAKE,
) -> Evidence:
    """Asks every witness about the gradient of ``sum(cotangent * function(...))``.

    Args:
      function: the plain form: no custom rule, or one that is not to be asked (``autodiff=False``).
      example: the input.
      layout: its differentiable arguments.
      cotangent: weight of each entry of the value, ones by default.
      autodiff: whether reverse and forward mode may testify.
      seed: of the random directions and perturbations.
      shake: relative size of the perturbations; the rounding unit of the precision in which claims are made.
    """
    vector, data = flat_arguments(example, layout)
    scales = coordinate_scales(example, layout)
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], size=(DIRECTIONS, len(vector)))
    offsets = generator.uniform(-1, 1, size=(_PAIRS, len(vector))) * scales
    offsets = np.concatenate([offsets * shake, -offsets * shake, offsets * _STIR, -offsets * _STIR])
    chosen = _chosen_coordinates(len(vector), generator)
    # A direction moves every coordinate by its scale; its unit is the whole move.
    directions = signs * scales
    with jax.enable_x64(True):
        kernel = _kernel(function, layout, options_key(example.options), autodiff, chosen is not None)
        size = kernel.value_size(vector, data)
        weights = np.ones(size) if cotangent is None else np.asarray(cotangent, np.float64).ravel()
        coordinates = np.arange(len(vector)) if chosen is None else chosen
        found = kernel.run(vector, data, weights, offsets, directions, scales, coordinates)
    found = {name: np.asarray(array, np.float64) for name, array in found.items()}
    return _evidence(example, layout, weights, found, directions, scales, coordinates, offsets)


def _evidence(
    example: Example,
    layout: Layout,
    cotangent: Vector,
    found: dict[str, Vector],
    directions: Vector,
    scales: Vector,
    coordinates: Vector,
    offsets: Vector,
) -> Evidence:
    count = len(scales)
    eps = float(np.finfo(np.float64).eps)
    with np.errstate(all="ignore"):
        shaken, stirred = found["shaken_values"][: 2 * _PAIRS], found["shaken_values"][2 * _PAIRS :]
        bent = (stirred[:_PAIRS] + stirred[_PAIRS:]) / 2
        value_noise = np.maximum(np.abs(shaken - found["value"]).max(0), np.abs(bent - found["value"]).max(0))
        value_noise = value_noise + eps * np.abs(found["value"])
    # The first rows belong to coordinates, the last to directions.
    lengths = np.concatenate([scales[coordinates], np.ones(len(directions))])
    slopes = weighted_slopes(found["rises"], lengths, cotangent, value_noise)
    alone, together = _split(slopes, len(coordinates))
    depth = float(np.abs(cotangent) @ value_noise)
    alone, hidden = widened_by_dents(alone, scales[coordinates], layout.owners()[coordinates], depth)
    together = dataclasses.replace(together, bars=together.bars + hidden)
    witnesses = []
    none = np.zeros(count, bool)
    if "reverse" in found:
        bars = _bars(found["reverse"], found["shaken"])
        witnesses.append(Witness("reverse mode", found["reverse"], found["reverse"], bars, none))
        witnesses.append(Witness("forward mode", found["forward"], found["forward"], bars, none))
    witnesses.append(_spread("Richardson", alone, coordinates, count))
    best = _best(witnesses)
    largest = np.max(np.abs(best), initial=0.0, where=np.isfinite(best))
    scale = np.maximum(np.where(np.isfinite(best), np.abs(best), 0.0), RESOLUTION * largest)
    fine = functools.reduce(np.minimum, (w.bars for w in witnesses))
    return Evidence(
        example, layout, cotangent, found["value"], value_noise, tuple(witnesses), scale, directions, together, fine
    )


def weighted_slopes(rises: Vector, lengths: Vector, cotangent: Vector, noise: Vector) -> Slopes:
    """Slopes of the weighted sum of the value's entries, from the rises of each.

    Entry by entry, because each may have a kink of its own: with weights of both signs the right values of the
    sum are a wider interval than the slopes of the sum.
    """
    entries = rises.shape[-1]
    if entries != len(cotangent):
        cotangent, noise = np.ones(1), np.abs(cotangent) @ noise[:, None]
    each = slopes_from_rises(
        np.moveaxis(rises, -1, 1).reshape(-1, *rises.shape[1:3]),
        np.repeat(lengths, entries),
        np.tile(noise, len(lengths)),
    )
    low, high, bars, kinks = (part.reshape(-1, entries) for part in dataclasses.astuple(each))
    with np.errstate(invalid="ignore"):
        ends = np.stack([low * cotangent, high * cotangent])
        counted = cotangent != 0
        # An entry without weight says nothing, not even that its slope is unknown.
        widths = np.where(counted, np.abs(cotangent) * bars, 0.0)
    return Slopes(
        np.where(counted, ends.min(0), 0.0).sum(-1),
        np.where(counted, ends.max(0), 0.0).sum(-1),
        widths.sum(-1),
        (kinks & counted).any(-1),
    )


def widened_by_dents(slopes: Slopes, lengths: Vector, owners: Vector, depth: float) -> tuple[Slopes, float]:
    """Slopes with bars for the kinks that may hide below rounding, where an argument's gradient is next to nothing.

    Where there is one kink there may be more. In a nearly collapsed batch every maximum is nearly a tie. Its kinks
    lie closer to the input than any step, in a dent less deep than the value rounds, and the slopes from afar agree
    with one another on a wrong answer.

    Args:
      slopes: along the coordinates.
      lengths: of the coordinates.
      owners: the argument that each belongs to.
      depth: how far rounding may move the value.

    Returns:
      The slopes, and by how much a whole move along a random direction may be off.
    """
    hidden = depth / _DENT_WIDTH if slopes.kinks.any() else 0.0
    with np.errstate(invalid="ignore"):
        rises = np.abs(slopes.low + slopes.high) / 2 * lengths
    small = np.array([rises[owners == owner].max() < _DENTS * hidden for owner in owners], bool)
    bars = np.where(small, np.maximum(slopes.bars, hidden / lengths), slopes.bars)
    return dataclasses.replace(slopes, bars=bars), hidden if small.any() else 0.0


def _bars(gradient: Vector, shaken: Vector) -> Vector:
    with np.errstate(all="ignore"):
        shaken, stirred = shaken[: 2 * _PAIRS], shaken[2 * _PAIRS :]
        bent = (stirred[:_PAIRS] + stirred[_PAIRS:]) / 2
        moved = np.maximum(np.abs(shaken - gradient).max(axis=0), np.abs(bent - gradient).max(axis=0))
    return np.where(np.isfinite(gradient) & np.isfinite(moved), _SAFETY * moved, np.inf)


def _best(witnesses: Sequence[Witness]) -> Vector:
    """The middle of whichever witness has the smallest bar, coordinate by coordinate."""
    bars = np.stack([w.bars for w in witnesses])
    middles = np.stack([(w.low + w.high) / 2 for w in witnesses])
    return np.asarray(np.take_along_axis(middles, bars.argmin(0)[None], 0)[0])


def _spread(name: str, slopes: Slopes, coordinates: Vector, count: int) -> Witness:
    """A witness that speaks only of the coordinates it was asked about."""

    def placed(values: Vector, otherwise: Any) -> Vector:
        out = np.full(count, otherwise, dtype=np.asarray(values).dtype)
        out[coordinates] = values
        return out

    low, high = placed(slopes.low, 0.0), placed(slopes.high, 0.0)
    return Witness(name, low, high, placed(slopes.bars, np.inf), placed(slopes.kinks, False))


def _split(slopes: Slopes, first: int) -> tuple[Slopes, Slopes]:
    fields = dataclasses.astuple(slopes)
    return Slopes(*(field[:first] for field in fields)), Slopes(*(field[first:] for field in fields))


def _chosen_coordinates(count: int, generator: np.random.Generator) -> Vector | None:
    if count <= EVERY_COORDINATE_UP_TO:
        return None
    return np.sort(generator.choice(count, EVERY_COORDINATE_UP_TO, replace=False))


# --- What runs on the device, compiled once for each function, layout and set of options. ---


@dataclasses.dataclass(frozen=True)
class _Kernel:
    run: Callable[..., dict[str, Any]]
    value_size: Callable[..., int]


@functools.lru_cache(maxsize=512)
def _kernel(
    function: Function, layout: Layout, options: tuple[tuple[str, Any], ...], autodiff: bool, partial: bool
) -> _Kernel:
    keywords = dict(options)

    def values(x: Any, data: Any) -> Any:
        return jnp.ravel(function(*layout.rebuild(x, data), **keywords))

    def contracted(x: Any, data: Any, cotangent: Any) -> Any:
        return jnp.vdot(cotangent, values(x, data))

    def run(
        x: Any, data: Any, cotangent: Any, offsets: Any, directions: Any, scales: Any, coordinates: Any
    ) -> dict[str, Any]:
        # All points in one batch, so that the function is compiled once: every step along every coordinate and
        # direction, then the shaken inputs, then the input itself.
        lines = len(coordinates) + len(directions)
        steps = np.stack([STEPS, -STEPS]).ravel()
        extra = np.arange(lines, lines + len(offsets) + 1)
        row = np.concatenate([np.repeat(np.arange(lines), len(steps)), extra])
        step = np.concatenate([np.tile(steps, lines), np.ones(len(extra))])
        moves = jnp.concatenate([directions, offsets, jnp.zeros_like(x)[None]])

        def value_at(index: Any) -> Any:
            along_axis = jnp.arange(x.size) == coordinates[jnp.minimum(index[0], len(coordinates) - 1)]
            move = jnp.where(
                index[0] < len(coordinates),
                jnp.where(along_axis, scales, jnp.zeros_like(scales)),
                moves[jnp.maximum(index[0] - len(coordinates), 0)],
            )
            return values(x + index[1] * move, data)

        computed = _map(value_at, (row, step), x.size)
        value = computed[-1]
        # Differences entry by entry, before the sum: an entry that does not change cancels exactly.
        rises = computed[: lines * len(steps)] - value
        if value.size > _ENTRIES:
            rises = rises @ cotangent[:, None]
        found = {
            "value": value,
            "shaken_values": computed[lines * len(steps) : -1],
            "rises": rises.reshape(lines, 2, LEVELS, -1),
        }
        if autodiff:
            gradient = jax.grad(contracted)
            points = x + jnp.concatenate([jnp.zeros_like(x)[None], offsets])
            gradients = jax.vmap(lambda at: gradient(at, data, cotangent))(points)
            found["reverse"], found["shaken"] = gradients[0], gradients[1:]

            def forward(coordinate: Any) -> Any:
                tangent = jnp.where(jnp.arange(x.size) == coordinate, jnp.ones_like(x), jnp.zeros_like(x))
                return jax.jvp(lambda at: contracted(at, data, cotangent), (x,), (tangent,))[1]

            found["forward"] = _map(forward, np.arange(x.size), x.size)
        return found

    def value_size(x: Any, data: Any) -> int:
        return int(jax.eval_shape(values, x, data).size)

    # Never with less optimisation to compile faster: XLA's level 0 was seen to compute a wrong gradient here.
    return _Kernel(jax.jit(run), value_size)


def _map(function: Callable[[Any], Any], over: Any, size: int) -> Any:
    """``vmap`` where everything fits in 64 MiB, else a loop over batches."""
    count, batch = len(jax.tree.leaves(over)[0]), max(1, 2**23 // size)
    if count <= batch:
        return jax.vmap(function)(jax.tree.map(jnp.asarray, over))
    # A whole number of batches: a rest would be compiled again.
    missing = -count % batch
    padded = jax.tree.map(lambda array: jnp.asarray(np.concatenate([array, array[:1].repeat(missing, 0)])), over)
    return jax.lax.map(function, padded, batch_size=batch)[:count]
