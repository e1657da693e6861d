"""Planted mistakes: what a suite must catch before its silence means anything.

A mistake is a wrong gradient as a function of the input, made in one of three ways: by bending the right gradient
(a sign, a factor, a transpose, one coordinate), by calling the right gradient with a wrong input (labels off by
one, a stale mask, another option), or by a formula of its own (dropped terms and the sources' misprints, in
``_misprints.py``). Each is blended with the right gradient to sweep its size over nine decades.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxspk.testing._compare import DECIDES_FROM, DECIDES_FROM_FLOAT32, rejected, rejected_low_precision, sizes
from jaxspk.testing._examples import Vector
from jaxspk.testing._kinds import Kind
from jaxspk.testing._scenes import Scene

SMALLEST_SIZE = 1e-9
NOTHING = 1e-12
"""A mistake that never changes a coordinate by more than this share of its scale changes nothing."""


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
      size: how far a coordinate leaves what is right at most, relative to its scale, over all inputs.
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


def plant_whole(kinds: Sequence[Kind]) -> list[Mistake]:
    """Every kind, wholly wrong."""
    return [Mistake(kind, 1.0) for kind in kinds]


def plant_of_all_sizes(kinds: Sequence[Kind], scenes: Sequence[Scene], count: int, seed: int) -> list[Mistake]:
    """Kinds in part and single coordinates, with sizes from 1 down to 1e-9.

    Args:
      kinds: ways to be wrong.
      scenes: the inputs, which decide what rare conditions a mistake may need.
      count: of mistakes.
      seed: of sizes and places.
    """
    generator = np.random.default_rng([seed, 2])
    conditions = [name for name, holds in CONDITIONS.items() if any(map(holds, scenes))]
    decades = -np.log10(SMALLEST_SIZE)
    mistakes: list[Mistake] = []
    for turn in range(max(0, count)):
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
                size[changed] = np.maximum(size[changed], sizes(claims, scene.evidence))
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
