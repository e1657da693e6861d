"""Planted mistakes: what a suite must catch before its silence means anything.

A mistake is a wrong gradient as a function of the input, made in one of three ways: by bending the right gradient
(a sign, a factor, a transpose, one coordinate), by calling the right gradient with a wrong input (labels off by
one, a stale mask, another option), or by a formula of its own (dropped terms and the sources' misprints, in
``_misprints.py``). Each is blended with the right gradient to sweep its size over nine decades.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxspk.testing._compare import DECIDES_FROM, DECIDES_FROM_FLOAT32, rejected, rejected_low_precision, sizes
from jaxspk.testing._examples import Example, Vector, is_floating
from jaxspk.testing._scenes import Scene

SMALLEST_SIZE = 1e-9
NOTHING = 1e-12
"""A mistake that never changes a coordinate by more than this share of its scale changes nothing."""

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


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A planted mistake: a kind, blended in by ``share``, or one coordinate moved by ``share`` of its scale.

    Attributes:
      kind: what is wrong, or None for a single coordinate.
      share: 1 for wholly wrong.
      place: in [0, 1), which coordinate, as a share of their number.
      only: predicate of the inputs where the mistake shows itself, or None for all.
      dtype: "float64", or "float32" for a mistake that is made in that type only.
    """

    kind: Kind | None
    share: float
    place: float = 0.0
    only: str | None = None
    dtype: str = "float64"

    @property
    def group(self) -> str:
        """The class of mistake."""
        if self.dtype == "float32":
            return "float32 only"
        if self.kind is None:
            return "one coordinate" if self.only is None else "one coordinate, at " + self.only
        return self.kind.group

    @property
    def name(self) -> str:
        """In words."""
        return self.group if self.kind is None else self.kind.name

    def at(self, scene: Scene) -> Vector:
        """The wrong gradient at one input; the right one where the mistake does not show."""
        right = scene.right
        if self.only is not None and not CONDITIONS[self.only](scene):
            return right
        if self.kind is None:
            moved = right.copy()
            coordinate = int(self.place * len(right))
            scale = scene.evidence.scale
            unit = scale.max(initial=0.0) if self.dtype == "float32" else scale[coordinate]
            moved[coordinate] += self.share * unit
            return moved
        wrong = self.kind.at(scene)
        if wrong is None:
            return right
        return np.asarray(right + self.share * (wrong - right))


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
            add(f"{option} half as large again", "missing chain factor", _with_option(option, 1.5 * value))
        for other in ALTERNATIVES.get(option, ()):
            if other != value:
                add(f"{option}={other!r}", "dropped term", _with_option(option, other))
    if np.size(scene.cotangent) > 1 and _takes_weights(scene):
        kinds.append(
            Kind("cotangent ignored", "dropped term", lambda s: s.claim(s.example, np.ones_like(s.cotangent)))
        )
        kinds.append(
            Kind("cotangent off by one", "off by one", lambda s: s.claim(s.example, np.roll(s.cotangent, 1, 0)))
        )
    return kinds


def _takes_weights(scene: Scene) -> bool:
    return bool(np.any(scene.cotangent != 1))


# --- Conditions under which a mistake shows itself ---


def _has_equal_rows(scene: Scene) -> bool:
    for position in scene.evidence.layout.argnums:
        array = np.asarray(scene.example.arguments[position], np.float64)
        if array.ndim > 1:
            rows = array.reshape(-1, array.shape[-1])
            if len(np.unique(rows, axis=0)) < len(rows):
                return True
    return False


def _has_unequal_sizes(scene: Scene) -> bool:
    for position in scene.evidence.layout.argnums:
        array = np.abs(np.asarray(scene.example.arguments[position], np.float64))
        if array.ndim > 1:
            rows = array.max(-1)
            if rows.max() > 2.0**10 * rows.min():
                return True
    return False


CONDITIONS: Mapping[str, Callable[[Scene], bool]] = {
    "equal rows": _has_equal_rows,
    "rows of unequal size": _has_unequal_sizes,
}
"""Rare inputs at which alone some mistakes are made."""


# --- Planting and catching ---


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one mistake.

    Attributes:
      kind: what is wrong, in words.
      group: the class of mistake.
      share: how much of it.
      dtype: in which it was made.
      size: the largest change of a coordinate relative to its scale, over all inputs.
      caught: at least one input gave it away.
    """

    kind: str
    group: str
    share: float
    dtype: str
    size: float
    caught: bool

    @property
    def line(self) -> float:
        """Mistakes of this size or larger have to be caught."""
        return DECIDES_FROM_FLOAT32 if self.dtype == "float32" else DECIDES_FROM

    @property
    def equivalent(self) -> bool:
        """It changes nothing on any input drawn."""
        return self.size <= NOTHING

    @property
    def survived(self) -> bool:
        """It should have been caught and was not."""
        return self.size >= self.line and not self.caught


def kinds_for(scene: Scene, names: Sequence[str], formulas: Sequence[Kind] = ()) -> list[Kind]:
    """Every way to be wrong that makes sense for the arguments of one input."""
    return [*formulas, *_bending_kinds(scene), *_calling_kinds(scene, names)]


def plant(kinds: Sequence[Kind], scenes: Sequence[Scene], count: int, seed: int) -> list[Mistake]:
    """All kinds whole, then kinds and single coordinates of every size down to 1e-9, ``count`` in all.

    Args:
      kinds: ways to be wrong, each planted whole even if they are more than ``count``.
      scenes: the inputs, which decide what rare conditions a mistake may need.
      count: of mistakes.
      seed: of sizes and places.
    """
    generator = np.random.default_rng([seed, 2])
    conditions = [name for name, holds in CONDITIONS.items() if any(map(holds, scenes))]
    mistakes = [Mistake(kind, 1.0) for kind in kinds]
    decades = -np.log10(SMALLEST_SIZE)
    turn = 0
    while len(mistakes) < count:
        share = float(10 ** (-decades * generator.random())) * float(generator.choice([-1.0, 1.0]))
        place = float(generator.random())
        which = turn % 8
        if which in (0, 4) and kinds:
            mistakes.append(Mistake(kinds[int(generator.integers(len(kinds)))], share))
        elif which == 3 and conditions:
            condition = conditions[turn // 8 % len(conditions)]
            mistakes.append(Mistake(None, share, place, only=condition))
        elif which == 7:
            # float32 has fewer digits, so its sizes end earlier.
            mistakes.append(Mistake(None, float(np.sign(share) * abs(share) ** 0.6), place, dtype="float32"))
        else:
            mistakes.append(Mistake(None, share, place))
        turn += 1
    return mistakes


def judge(mistakes: Sequence[Mistake], scenes: Sequence[Scene], narrow: Sequence[Scene]) -> list[Outcome]:
    """Looks for every mistake at every input with the same comparison that the right gradient passes.

    Args:
      mistakes: planted.
      scenes: inputs in float64.
      narrow: inputs in float32 with evidence in float64.
    """
    size = np.zeros(len(mistakes))
    caught = np.zeros(len(mistakes), bool)
    for dtype, places in (("float64", scenes), ("float32", narrow)):
        chosen = np.array([i for i, mistake in enumerate(mistakes) if mistake.dtype == dtype], int)
        if not len(chosen):
            continue
        for scene in places:
            claims = np.stack([mistakes[i].at(scene) for i in chosen])
            different = (claims != scene.right).any(-1)
            if not different.any():
                continue
            changed = chosen[different]
            claims = claims[different]
            if dtype == "float64":
                size[changed] = np.maximum(size[changed], sizes(claims, scene.right, scene.evidence))
                caught[changed] |= rejected(claims, scene.evidence)
            else:
                largest = scene.evidence.scale.max(initial=0.0) or 1.0
                moved = np.abs(claims - scene.right).max(-1) / largest
                size[changed] = np.maximum(size[changed], moved)
                caught[changed] |= rejected_low_precision(claims, scene.evidence)
    return [
        Outcome(mistake.name, mistake.group, mistake.share, mistake.dtype, float(size[i]), bool(caught[i]))
        for i, mistake in enumerate(mistakes)
    ]


def detection_curve(outcomes: Sequence[Outcome], dtype: str = "float64") -> list[tuple[float, int, int]]:
    """For every decade of size: its lower end, how many mistakes fell into it, how many of them were caught."""
    rows = []
    for decade in range(0, -10, -1):
        low, high = 10.0**decade, 10.0 ** (decade + 1) if decade < 0 else np.inf
        inside = [o for o in outcomes if o.dtype == dtype and low <= o.size < high]
        rows.append((low, len(inside), sum(o.caught for o in inside)))
    return rows


def smallest_line(outcomes: Sequence[Outcome], dtype: str = "float64") -> float:
    """The size from which every mistake was caught."""
    missed = [o.size for o in outcomes if o.dtype == dtype and not o.caught]
    return max(missed, default=0.0)
