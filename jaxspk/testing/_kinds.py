"""Ways to be wrong about a gradient: by bending the right one, or by calling it with a wrong input."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxspk.testing._examples import Example, Vector, is_floating
from jaxspk.testing._scenes import Scene

ALTERNATIVES: Mapping[str, tuple[Any, ...]] = {
    "balance": ("none", "partition"),
    "normalize": ("none", "weights"),
    "centroid": ("raw", "normalized"),
    "cosine_floor": (None, 1e-6),
}
"""Options of the losses that are words, and the words they may be."""


Wrong = Callable[[Scene], Vector | None]
"""A wrong gradient, flat; None where the mistake cannot be made at this input."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One way to be wrong.

    Attributes:
      name: in words.
      group: the class of mistake, for the kill matrix.
      wrong: the wholly wrong gradient.
    """

    name: str
    group: str
    wrong: Wrong

    def at(self, scene: Scene) -> Vector | None:
        """The wrong gradient at one input, computed once."""
        if self.name not in scene.cache:
            found = self.wrong(scene)
            if found is not None:
                # A slip that also divides by zero would be caught for the wrong reason.
                found = np.where(np.isfinite(found), found, scene.right)
            scene.cache[self.name] = found
        return scene.cache[self.name]


def kinds_for(scene: Scene, names: Sequence[str], formulas: Sequence[Kind] = ()) -> list[Kind]:
    """Every way to be wrong that makes sense for the arguments of one input."""
    return [*formulas, *_bending_kinds(scene), *_calling_kinds(scene, names)]


# --- Kinds that bend the right gradient ---


def _per_array(bend: Callable[[Vector], Vector]) -> Wrong:
    return lambda scene: np.concatenate([np.ravel(bend(array)) for array in scene.arrays()])


def _one_argument(position: int, bend: Callable[[Vector], Vector]) -> Wrong:
    def wrong(scene: Scene) -> Vector:
        arrays = scene.arrays()
        arrays[position] = bend(arrays[position])
        return np.concatenate([np.ravel(array) for array in arrays])

    return wrong


def _last_row_dropped(array: Vector) -> Vector:
    if array.ndim == 0:
        return array
    kept = array.copy()
    kept[-1] = 0
    return kept


def _transposed(array: Vector) -> Vector:
    if array.ndim < 2:
        return array
    return np.asarray(np.swapaxes(array, -1, -2).reshape(array.shape))


def _rolled(axis: int) -> Callable[[Vector], Vector]:
    return lambda array: np.roll(array, 1, axis) if array.ndim >= -axis and array.ndim else array


def _radial(scene: Scene) -> Vector:
    """The projection that a normalisation brings, forgotten: a part along the vector itself."""
    found = []
    for position, gradient in zip(scene.evidence.layout.argnums, scene.arrays(), strict=True):
        vectors = np.asarray(scene.example.arguments[position], np.float64)
        if vectors.ndim == 0:
            found.append(np.ravel(gradient))
            continue
        norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
        sizes_ = np.linalg.norm(gradient, axis=-1, keepdims=True)
        found.append(np.ravel(gradient + sizes_ * vectors / np.where(norms > 0, norms, 1)))
    return np.concatenate(found)


def _chain_factor(scene: Scene) -> Vector:
    """Divided by the length of each row: the 1/‖x‖ of a normalisation, forgotten or applied twice."""
    found = []
    for position, gradient in zip(scene.evidence.layout.argnums, scene.arrays(), strict=True):
        vectors = np.asarray(scene.example.arguments[position], np.float64)
        norms = np.linalg.norm(vectors, axis=-1, keepdims=True) if vectors.ndim else np.abs(vectors)
        found.append(np.ravel(gradient * np.where(norms > 0, norms, 1)))
    return np.concatenate(found)


def _tie(scene: Scene) -> Vector | None:
    """Rows that are equal share their gradient, as if the tie were broken evenly."""
    changed, found = False, []
    for position, gradient in zip(scene.evidence.layout.argnums, scene.arrays(), strict=True):
        vectors = np.asarray(scene.example.arguments[position], np.float64)
        if vectors.ndim < 2:
            found.append(np.ravel(gradient))
            continue
        rows, inverse = np.unique(vectors.reshape(-1, vectors.shape[-1]), axis=0, return_inverse=True)
        inverse = np.ravel(inverse)
        flat = gradient.reshape(-1, vectors.shape[-1])
        means = np.zeros_like(rows)
        np.add.at(means, inverse, flat)
        means = means / np.bincount(inverse, minlength=len(rows))[:, None]
        changed |= len(rows) < len(flat)
        found.append(np.ravel(np.where(np.bincount(inverse)[inverse][:, None] > 1, means[inverse], flat)))
    return np.concatenate(found) if changed else None


def _bending_kinds(scene: Scene) -> list[Kind]:
    arrays = scene.arrays()
    kinds = [
        Kind("sign flipped", "sign", lambda s: -s.right),
        Kind("twice the gradient", "factor 2", lambda s: 2 * s.right),
        Kind("half the gradient", "factor 2", lambda s: 0.5 * s.right),
        Kind("transposed", "transpose", _per_array(_transposed)),
        Kind("last row left out", "wrong index range", _per_array(_last_row_dropped)),
        Kind("first row left out", "wrong index range", _per_array(lambda a: np.flip(_last_row_dropped(np.flip(a))))),
        Kind("shifted by one row", "off by one", _per_array(_rolled(-2))),
        Kind("shifted by one column", "off by one", _per_array(_rolled(-1))),
        Kind("radial part kept", "missing chain factor", _radial),
        Kind("length of the row forgotten", "missing chain factor", _chain_factor),
        Kind("equal rows share their gradient", "tie", _tie),
        Kind("summed where averaged", "dropped term", lambda s: s.right * s.cotangent.size),
        Kind("row mean removed", "dropped term", _per_array(lambda a: a - a.mean(-1, keepdims=True) if a.ndim else a)),
        Kind("column mean removed", "dropped term", _per_array(lambda a: a - a.mean(0) if a.ndim else a)),
    ]
    if len(arrays) > 1:
        for position in range(len(arrays)):
            name = f"differentiable argument {position}"
            kinds.append(Kind(f"{name} stopped", "stopped gradient", _one_argument(position, np.zeros_like)))
            kinds.append(Kind(f"{name} has its sign flipped", "sign", _one_argument(position, np.negative)))
    return kinds


# --- Kinds that call the right gradient with a wrong input ---


def _called_with(change: Callable[[Example], Example | None]) -> Wrong:
    def wrong(scene: Scene) -> Vector | None:
        changed = change(scene.example)
        return None if changed is None else scene.claim(changed, scene.cotangent)

    return wrong


def _replaced(position: int, change: Callable[[Vector], Vector]) -> Callable[[Example], Example]:
    def changed(example: Example) -> Example:
        arguments = list(example.arguments)
        arguments[position] = change(np.asarray(arguments[position]))
        return dataclasses.replace(example, arguments=tuple(arguments))

    return changed


def _exchanged(first: int, second: int) -> Callable[[Example], Example]:
    def changed(example: Example) -> Example:
        arguments = list(example.arguments)
        arguments[first], arguments[second] = arguments[second], arguments[first]
        return dataclasses.replace(example, arguments=tuple(arguments))

    return changed


def _with_option(name: str, value: Any) -> Callable[[Example], Example]:
    return lambda example: dataclasses.replace(example, options={**example.options, name: value})


def _calling_kinds(scene: Scene, names: Sequence[str]) -> list[Kind]:
    example, layout = scene.example, scene.evidence.layout
    kinds = []

    def add(name: str, group: str, change: Callable[[Example], Example | None]) -> None:
        kinds.append(Kind(name, group, _called_with(change)))

    for position, argument in enumerate(example.arguments):
        if argument is None:
            continue
        array, name = np.asarray(argument), names[position]
        if array.dtype == bool:
            add(f"`{name}` negated", "sign", _replaced(position, np.logical_not))
        if array.ndim and position not in layout.argnums:
            add(f"`{name}` off by one", "off by one", _replaced(position, lambda a: np.roll(a, 1, 0)))
            if is_floating(array):
                add(f"`{name}` ignored", "stale mask", _replaced(position, np.ones_like))
                add(f"`{name}` squared", "missing chain factor", _replaced(position, np.square))
                mask = _replaced(position, lambda a: np.asarray(a > 0, np.float64))
                add(f"`{name}` taken as a mask", "stale mask", mask)
        if array.ndim > 1 and position in layout.argnums:
            add(f"`{name}` of the row before", "stale mask", _replaced(position, lambda a: np.roll(a, 1, -2)))
        if array.ndim == 0 and position in layout.argnums:
            add(f"`{name}` not multiplied in", "missing chain factor", _replaced(position, np.ones_like))
    same = [
        (i, j)
        for i in layout.argnums
        for j in layout.argnums
        if i < j and np.ndim(example.arguments[i]) and np.shape(example.arguments[i]) == np.shape(example.arguments[j])
    ]
    for i, j in same:
        add(f"`{names[i]}` and `{names[j]}` exchanged", "transpose", _exchanged(i, j))
    for option, value in example.options.items():
        if isinstance(value, bool):
            add(f"{option}={not value}", "stale mask", _with_option(option, not value))
        elif isinstance(value, float) and option not in ALTERNATIVES:
            # Not larger: a share must stay one.
            add(f"{option} half as large", "missing chain factor", _with_option(option, 0.5 * value))
        for other in ALTERNATIVES.get(option, ()):
            if other != value:
                add(f"{option}={other!r}", "dropped term", _with_option(option, other))
    if np.size(scene.cotangent) > 1 and _takes_weights(scene):
        kinds.append(Kind("cotangent ignored", "dropped term", lambda s: s.claim(s.example, np.ones_like(s.cotangent))))
        kinds.append(
            Kind("cotangent off by one", "off by one", lambda s: s.claim(s.example, np.roll(s.cotangent, 1, 0)))
        )
    return kinds


def _takes_weights(scene: Scene) -> bool:
    return bool(np.any(scene.cotangent != 1))
