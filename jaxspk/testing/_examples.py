"""One input of a function, and the differentiable part of it seen as one vector."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxspk.errors import ArgumentError

Vector = npt.NDArray[Any]
"""A NumPy array, of float64 unless said otherwise."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One call of a function.

    Attributes:
      arguments: the positional arguments, arrays (or None where the function allows it).
      options: the keyword arguments; hashable, and few different ones, since each compiles anew.
      note: what makes this input hard, in words.
    """

    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""

    def cast(self, dtype: npt.DTypeLike) -> "Example":
        """The same call with every floating argument rounded to ``dtype``."""

        def rounded(argument: Any) -> Any:
            return np.asarray(argument, dtype) if is_floating(argument) else argument

        return dataclasses.replace(self, arguments=tuple(map(rounded, self.arguments)))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each coordinate of the flat vector of differentiable arguments comes from.

    Attributes:
      argnums: positions of the differentiable arguments.
      shapes: their shapes, in the same order.
    """

    argnums: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(map(math.prod, self.shapes))

    def owners(self) -> Vector:
        """For each coordinate of the flat vector, which of the differentiable arguments it belongs to."""
        return np.repeat(np.arange(len(self.shapes)), [math.prod(shape) for shape in self.shapes])

    def flatten(self, arrays: Any) -> Vector:
        """One float64 vector of the differentiable arguments, or of one gradient each."""
        if len(self.shapes) == 1 and not isinstance(arrays, tuple | list):
            arrays = (arrays,)
        arrays = tuple(np.asarray(array) for array in arrays)
        found = tuple(array.shape for array in arrays)
        if found != self.shapes:
            raise ArgumentError(
                f"`gradient` must return one array per differentiable argument, of shapes {self.shapes}, got {found}."
            )
        return np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])

    def unflatten(self, vector: Any) -> list[Any]:
        """The arrays of a flat vector, NumPy's or JAX's."""
        arrays, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            arrays.append(vector[start : start + size].reshape(shape))
            start += size
        return arrays

    def rebuild(self, vector: Any, data: Sequence[Any]) -> list[Any]:
        """All arguments again: ``data`` with the differentiable ones taken from the flat vector."""
        arguments = list(data)
        for position, array in zip(self.argnums, self.unflatten(vector), strict=True):
            arguments[position] = array
        return arguments

    def locate(self, coordinate: int) -> tuple[int, tuple[int, ...]]:
        """The argument and the index inside it of one coordinate of the flat vector."""
        for argument, shape in zip(self.argnums, self.shapes, strict=True):
            size = math.prod(shape)
            if coordinate < size:
                return argument, tuple(int(i) for i in np.unravel_index(coordinate, shape))
            coordinate -= size
        raise IndexError(coordinate)


def is_floating(argument: Any) -> bool:
    """Whether an argument is a floating number or array, bfloat16 included."""
    if argument is None:
        return False
    dtype = np.asarray(argument).dtype
    return bool(np.issubdtype(dtype, np.floating)) or dtype.name == "bfloat16"


def layout_of(example: Example, argnums: Sequence[int] | None) -> Layout:
    """The layout of an example; without ``argnums`` every floating argument is differentiable."""
    if argnums is None:
        argnums = [i for i, argument in enumerate(example.arguments) if is_floating(argument)]
    wrong = [i for i in argnums if i >= len(example.arguments) or not is_floating(example.arguments[i])]
    if wrong or not argnums:
        raise ArgumentError(
            f"`argnums` must name floating arguments, got {tuple(argnums)} for {len(example.arguments)} arguments "
            f"of dtypes {tuple(None if a is None else np.asarray(a).dtype.name for a in example.arguments)}."
        )
    return Layout(tuple(argnums), tuple(np.asarray(example.arguments[i]).shape for i in argnums))


def flat_arguments(example: Example, layout: Layout) -> tuple[Vector, tuple[Any, ...]]:
    """The differentiable arguments as one float64 vector, and the rest with None in their places."""
    vector = layout.flatten(tuple(example.arguments[i] for i in layout.argnums))
    data = tuple(
        None if i in layout.argnums or argument is None else np.asarray(argument)
        for i, argument in enumerate(example.arguments)
    )
    wide = tuple(a.astype(np.float64) if a is not None and is_floating(a) else a for a in data)
    return vector, wide


def coordinate_scales(example: Example, layout: Layout) -> Vector:
    """A natural length for steps in each coordinate: the largest entry of its row, of its argument, or one."""
    scales = []
    for position in layout.argnums:
        array = np.abs(np.asarray(example.arguments[position], np.float64))
        largest = array.max(initial=0.0) or 1.0
        rows = array.max(axis=-1, keepdims=True, initial=0.0) if array.ndim > 1 else np.full_like(array, largest)
        scales.append(np.broadcast_to(np.where(rows > 0, rows, largest), array.shape).ravel())
    return np.concatenate(scales)


def as_example(drawn: Any) -> Example:
    """An example from what a strategy or a caller gives: an example, a tuple of arguments, or one argument."""
    if isinstance(drawn, Example):
        return drawn
    return Example(tuple(drawn) if isinstance(drawn, tuple | list) else (drawn,))


def options_key(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The options as something hashable, to find compiled functions again."""
    key = tuple(sorted(options.items()))
    try:
        hash(key)
    except TypeError:
        raise ArgumentError(
            f"the options of an example must be hashable, got {dict(options)!r}; pass arrays as positional arguments."
        ) from None
    return key


Function = Callable[..., Any]
"""A function of arrays; its value is a number or an array of per-example values."""
