"""What must hold for a gradient because of what its loss does not depend on.

A law needs no second computation of the gradient. It is violated by an amount, of which the witnesses' error bars
excuse a part.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxspk.testing._examples import Vector
from jaxspk.testing._scenes import Scene

_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Law:
    """An equation that the gradient obeys.

    Attributes:
      name: in words.
      equation: in LaTeX.
      violations: at one input, entries that should be 0, and for each what rounding excuses and what it is made of.
    """

    name: str
    equation: str
    violations: Callable[[Scene], tuple[Vector, Vector, Vector]]

    def broken_by(self, scene: Scene) -> tuple[float, bool]:
        """Worst violation relative to the terms that should cancel, and whether it is more than rounding."""
        if not np.isfinite(scene.evidence.fine).all() or scene.evidence.kinks.any():
            return 0.0, False
        entries, excused, terms = (np.ravel(part) for part in self.violations(scene))
        relative = np.abs(entries) / np.where(terms > 0, terms, 1.0)
        broken = np.abs(entries) > excused + _ROUNDING * terms
        return float(relative.max(initial=0.0, where=excused <= 1e-6 * terms)), bool(broken.any())


def scale_invariance(*arguments: int) -> Law:
    """The length of no row matters."""

    def violations(scene: Scene) -> tuple[Vector, Vector, Vector]:
        parts = [_inner(scene, argument, axis=-1) for argument in arguments]
        return _joined(parts)

    return Law("scale invariance", r"\langle x_i, g_i\rangle = 0", violations)


def homogeneity(degree: int, *arguments: int) -> Law:
    """The loss grows with this power of a common factor of the arguments."""

    def violations(scene: Scene) -> tuple[Vector, Vector, Vector]:
        parts = [_inner(scene, argument, axis=None) for argument in arguments]
        entry, excused, terms = (np.sum([part[k] for part in parts]) for k in range(3))
        value = scene.cotangent.ravel() * scene.evidence.value
        noise = np.abs(scene.cotangent.ravel()) * scene.evidence.value_noise
        return (
            np.atleast_1d(entry - degree * value.sum()),
            np.atleast_1d(excused + 64 * degree * noise.sum()),
            np.atleast_1d(terms + degree * np.abs(value).sum()),
        )

    return Law(f"homogeneity of degree {degree}", rf"\langle x, g\rangle = {degree}\,\ell", violations)


def translation(groups: Sequence[Sequence[int]], axes: tuple[int, ...] = (-2,)) -> Law:
    """A common shift of the rows of each group of arguments changes nothing."""

    def violations(scene: Scene) -> tuple[Vector, Vector, Vector]:
        parts = []
        for group in groups:
            sums = [
                (g.sum(axes), b.sum(axes), np.abs(g).sum(axes))
                for g, b in ((scene.gradient(argument), scene.bars(argument)) for argument in group)
            ]
            parts.append([np.sum([s[k] for s in sums], axis=0) for k in range(3)])
        return _joined(parts)

    return Law("translation", r"\sum_i g_i = 0", violations)


def rotation(*arguments: int) -> Law:
    """A common rotation of all rows changes nothing."""

    def violations(scene: Scene) -> tuple[Vector, Vector, Vector]:
        products, errors, sizes = [], [], []
        for argument in arguments:
            x, g, bars = scene.values(argument), scene.gradient(argument), scene.bars(argument)
            rows, slopes, error = (array.reshape(-1, array.shape[-1]) for array in (x, g, bars))
            products.append(rows.T @ slopes)
            errors.append(np.abs(rows).T @ error)
            sizes.append(np.abs(rows).T @ np.abs(slopes))
        product, excused, terms = (np.sum(parts, axis=0) for parts in (products, errors, sizes))
        return product - product.T, excused + excused.T, terms + terms.T

    return Law("rotation", r"X^\top G \text{ symmetric}", violations)


def no_gradient(argument: int) -> Law:
    """The loss does not depend on the argument; its slope is 0 next to those of the others."""

    def violations(scene: Scene) -> tuple[Vector, Vector, Vector]:
        gradient = np.atleast_1d(scene.gradient(argument))
        largest = np.full_like(gradient, scene.evidence.scale.max(initial=0.0))
        return gradient, np.atleast_1d(scene.bars(argument)), largest

    return Law("no gradient", r"\partial\ell/\partial b = 0", violations)


def permutation(axes: Mapping[int, int], value_axis: int | None = None) -> Law:
    """Rows may be numbered otherwise: the gradient is numbered otherwise with them.

    Args:
      axes: for every argument that is numbered so, the axis.
      value_axis: the axis of the value that is numbered so, if any.
    """

    def violations(scene: Scene) -> tuple[Vector, Vector, Vector]:
        first = next(iter(axes))
        order = np.roll(np.arange(scene.values(first).shape[axes[first]]), 1)[::-1]
        moved = list(scene.example.arguments)
        for argument, axis in axes.items():
            if moved[argument] is not None:
                moved[argument] = np.take(np.asarray(moved[argument]), order, axis)
        cotangent = scene.cotangent if value_axis is None else np.take(scene.cotangent, order, value_axis)
        example = dataclasses.replace(scene.example, arguments=tuple(moved))
        layout = scene.evidence.layout
        found = layout.unflatten(scene.claim(example, cotangent))
        parts = []
        for argument, gradient in zip(layout.argnums, found, strict=True):
            expected, bars = scene.gradient(argument), scene.bars(argument)
            if argument in axes:
                expected, bars = (np.take(array, order, axes[argument]) for array in (expected, bars))
            scale = np.maximum(np.abs(expected), 1e-3 * np.abs(scene.right).max(initial=0.0))
            parts.append((np.atleast_1d(gradient - expected), np.atleast_1d(2 * bars), np.atleast_1d(scale)))
        return _joined(parts)

    return Law("permutation", r"g(Px) = P\,g(x)", violations)


def _inner(scene: Scene, argument: int, axis: int | None) -> tuple[Vector, Vector, Vector]:
    x, g, bars = scene.values(argument), scene.gradient(argument), scene.bars(argument)
    parts = (x * g, np.abs(x) * bars, np.abs(x * g))
    entry, excused, terms = (np.asarray(part.sum(axis)) for part in parts)
    return entry, excused, terms


def _joined(parts: Sequence[Sequence[Any]]) -> tuple[Vector, Vector, Vector]:
    entries, excused, terms = (
        np.concatenate([np.ravel(np.asarray(part[k], np.float64)) for part in parts]) for k in range(3)
    )
    return entries, excused, terms
