"""Hypothesis strategies that make hard inputs on purpose.

What hypothesis draws is the plan (which row repeats which, what is tiny, what is tied) and a seed for the rest,
so that a failing input shrinks to the fewest hard things, and drawing is fast. Entries are multiples of 1/64:
short to print, exact in float32. Shapes are the caller's: keep them few, since each compiles anew.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from jaxspk.testing._examples import Vector

Draw = Callable[..., Any]
"""What hypothesis gives a composite strategy: hypothesis's own name for it cannot be checked at run time."""

if TYPE_CHECKING:
    Shape = Sequence[int]
    Names = Sequence[str]
    Numbers = Sequence[float]
    Options = Mapping[str, Any]
else:
    # The run-time checks of the tests look at a random item, and hypothesis forbids chance while it draws.
    Shape = Names = Numbers = Options = Any

GRID = 64
"""Entries are multiples of 1 / GRID before they are scaled."""

ROW_KINDS = ("fresh", "duplicate", "near", "opposite", "axis", "tiny", "huge")
"""What a row may be: new; equal to an earlier one, or almost, or its opposite; a unit vector along an axis,
which makes ties; or 2^-20 or 2^20 times a new one."""

NEAR = (2.0**-10, 2.0**-20, 2.0**-30, 2.0**-40)
"""How far almost equal rows are apart, relative to the row."""

seeds = st.integers(0, 2**32 - 1)
"""Seeds of what is not planned."""


@st.composite
def rows(
    draw: Draw,
    shape: Shape,
    *,
    kinds: Names = ROW_KINDS,
    hardness: float | int = 0.35,
    size: float | int = 1.0,
) -> Vector:
    """Arrays whose rows (along the last axis) repeat, oppose, tie with or dwarf one another.

    Args:
      draw: given by hypothesis.
      shape: of the array.
      kinds: which of ``ROW_KINDS`` may occur; "fresh" always may.
      hardness: share of rows that may be something else than fresh.
      size: typical size of an entry, a power of two for short numbers.
    """
    count = int(np.prod(shape[:-1]))
    generator = np.random.default_rng(draw(seeds))
    array = _fresh(generator, (count, shape[-1]))
    hard = [kind for kind in kinds if kind != "fresh"]
    hard_rows = max(1, round(hardness * count)) if hard and count else 0
    plan = draw(
        st.lists(
            st.tuples(st.integers(0, max(count - 1, 0)), st.sampled_from(hard or ["fresh"]), st.integers(0, 3)),
            max_size=hard_rows,
        )
    )
    for row, kind, choice in plan:
        other = array[int(generator.integers(count))]
        array[row] = _hard_row(kind, array[row], other, choice, generator)
    return np.asarray((array * size).reshape(tuple(shape)))


def _fresh(generator: np.random.Generator, shape: Shape) -> Vector:
    array = np.round(generator.normal(size=tuple(shape)) * GRID)
    return np.asarray(np.where(array == 0, 1.0, array) / GRID)


def _hard_row(kind: str, row: Vector, other: Vector, choice: int, generator: np.random.Generator) -> Vector:
    if kind == "duplicate":
        return other
    if kind == "near":
        largest = np.abs(other).max()
        return np.asarray(other + NEAR[choice] * largest * generator.choice([-1.0, 1.0], size=len(other)))
    if kind == "opposite":
        return np.asarray(-other)
    if kind == "axis":
        return np.asarray(np.eye(len(row))[choice % len(row)])
    if kind == "tiny":
        return np.asarray(row * 2.0**-20)
    if kind == "huge":
        return np.asarray(row * 2.0**20)
    return row


@st.composite
def numbers(draw: Draw, shape: Shape, low: float | int, high: float | int) -> Vector:
    """Arrays of multiples of 1/64 in [low, high]."""
    generator = np.random.default_rng(draw(seeds))
    return np.asarray(generator.integers(round(low * GRID), round(high * GRID) + 1, size=tuple(shape)) / GRID)


@st.composite
def codes(draw: Draw, shape: Shape, *, kinds: Names = ("duplicate", "near", "constant", "saturated")) -> Vector:
    """Codes of a sigmoid layer, ``[..., frames, units]`` in (0, 1): repeated frames, dead and saturated units."""
    generator = np.random.default_rng(draw(seeds))
    array = generator.integers(4, GRID - 3, size=tuple(shape)) / GRID
    flat = array.reshape(-1, shape[-1])
    plan = draw(st.lists(st.tuples(st.sampled_from(list(kinds)), st.integers(0, 63), st.integers(0, 3)), max_size=2))
    for kind, place, choice in plan:
        row, other, unit = place % len(flat), int(generator.integers(len(flat))), place % shape[-1]
        if kind == "duplicate":
            flat[row] = flat[other]
        elif kind == "near":
            flat[row] = flat[other] + NEAR[choice] * generator.choice([-1.0, 1.0], size=shape[-1])
        elif kind == "constant":
            array[..., unit] = 0.5
        else:
            array[..., unit] = [2.0**-12, 1 - 2.0**-12, 2.0**-20, 1 - 2.0**-20][choice]
    return np.asarray(array)


@st.composite
def class_labels(draw: Draw, shape: Shape, classes: int) -> Vector:
    """Labels below ``classes``: even, all the same, one class against the rest, or some classes absent."""
    generator = np.random.default_rng(draw(seeds))
    plan = draw(st.sampled_from(["even", "random", "one against the rest", "one class"]))
    count = int(np.prod(shape))
    labels: Any = np.arange(count) % classes
    if plan == "random":
        labels = generator.integers(0, classes, size=count)
    elif plan == "one against the rest":
        labels = (np.arange(count) == generator.integers(count)).astype(np.int64)
    elif plan == "one class":
        labels = np.full(count, generator.integers(classes))
    return np.asarray(labels.reshape(tuple(shape)), np.int32)


@st.composite
def bin_weights(draw: Draw, shape: Shape) -> Vector:
    """Weights of bins: ones, zeros and ones, whole numbers, or very unequal."""
    generator = np.random.default_rng(draw(seeds))
    plan = draw(st.sampled_from(["ones", "mask", "counts", "unequal"]))
    if plan == "ones":
        return np.ones(tuple(shape))
    if plan == "mask":
        return np.asarray(generator.integers(0, 2, size=tuple(shape)), np.float64)
    if plan == "counts":
        return np.asarray(generator.integers(0, 5, size=tuple(shape)), np.float64)
    return np.ldexp(1.0, generator.integers(-12, 3, size=tuple(shape)))


def flags(shape: Shape) -> st.SearchStrategy[Vector]:
    """Booleans, for pairs of the same speaker and for must-links."""
    return st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda drawn: np.asarray(drawn, bool).reshape(tuple(shape))
    )


def draw_many(strategy: st.SearchStrategy[Any], count: int, seed: int) -> list[Any]:
    """The first ``count`` values that a strategy gives for a seed; the same ones every time."""
    import hypothesis

    from jaxspk.testing._check import search_settings

    drawn: list[Any] = []

    settings = hypothesis.settings(search_settings(count), phases=[hypothesis.Phase.generate])
    collect: Any = hypothesis.seed(seed)(settings(hypothesis.given(strategy)(lambda value: drawn.append(value))))
    collect()
    return drawn
