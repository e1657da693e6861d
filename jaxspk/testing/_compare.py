"""Claims about a gradient, judged against the evidence."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jaxspk.testing._examples import Example, Function, Layout, Vector
from jaxspk.testing._witnesses import SHAKE, Evidence, Witness, gather_evidence

DECIDES_FROM = 1e-6
"""A mistake of this size in one coordinate, relative to the coordinate's scale, is caught in float64."""
DECIDES_FROM_FLOAT32 = 1e-3
"""The same in float32, relative to the largest entry of the gradient."""

_FLOOR = 1e-8
EPSILON = {"float32": 2.0**-23, "bfloat16": 2.0**-7}
"""Distance from 1 to the next number, of the narrow types."""

_FLOAT32_SHARE = 0.1 * DECIDES_FROM_FLOAT32
_WELL_CONDITIONED = 64
# A sum of a few products rounds by some units, enough to decide a tie another way than float64 does.
_UNITS = 4
_EXCUSED = 4


@dataclasses.dataclass(frozen=True)
class Discrepancy:
    """Where a claim lies furthest from a witness.

    Attributes:
      witness: the method that disagrees.
      argument: position of the argument.
      index: of the entry inside it.
      claimed: the claimed derivative.
      low: smallest right value; the two differ only at a kink.
      high: largest right value.
      relative_error: distance from the right values, relative to the coordinate's scale.
      tolerated: the error that the witness's own bar would have excused.
    """

    witness: str
    argument: int
    index: tuple[int, ...]
    claimed: float
    low: float
    high: float
    relative_error: float
    tolerated: float

    def __str__(self) -> str:
        right = f"{self.low!r}" if self.low == self.high else f"between {self.low!r} and {self.high!r}"
        return (
            f"argument {self.argument}{list(self.index)}: claimed {self.claimed!r}, {self.witness} says {right}; "
            f"relative error {self.relative_error:.3g}, tolerated {self.tolerated:.3g}"
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One claim against the evidence at one input.

    Attributes:
      passed: no witness objects.
      errors: worst relative error against every witness, where its bar decides at all.
      worst: the largest discrepancy, of those that exceed their tolerance if there are any.
      undecided: coordinates where no witness's bar is below ``DECIDES_FROM``.
    """

    passed: bool
    errors: Mapping[str, float]
    worst: Discrepancy | None
    undecided: int


def compare(claim: Vector, evidence: Evidence) -> Comparison:
    """Judges one claimed gradient, coordinate by coordinate and along the random directions."""
    errors: dict[str, float] = {}
    found: list[tuple[bool, float, Witness, int, float]] = []
    scale = _safe(evidence.scale)
    claim = np.asarray(claim, np.float64)
    for witness in evidence.witnesses:
        distance, tolerance = _distance(claim, witness), evidence.tolerance(witness)
        relative = np.where(distance > 0, distance / scale, 0.0)
        decides = tolerance <= DECIDES_FROM * evidence.scale
        errors[witness.name] = float(np.max(relative, initial=0.0, where=decides & np.isfinite(relative)))
        fails = _exceeds(distance, tolerance)
        shown = np.where(fails, relative, np.where(decides, relative, -1.0))
        position = int(np.argmax(np.where(fails.any() & ~fails, -1.0, np.nan_to_num(shown, nan=np.inf))))
        found.append(
            (
                bool(fails.any()),
                float(relative[position]),
                witness,
                position,
                float(tolerance[position] / scale[position]),
            )
        )
    fails_along, along = _along(claim, evidence)
    errors["random directions"] = float(along.max(initial=0.0))
    failed = [entry for entry in found if entry[0]]
    worst = max(failed or found, key=lambda entry: np.nan_to_num(entry[1], nan=np.inf))
    _, relative_error, witness, position, tolerated = worst
    argument, index = evidence.layout.locate(position)
    discrepancy = Discrepancy(
        witness.name,
        argument,
        index,
        float(claim[position]),
        float(witness.low[position]),
        float(witness.high[position]),
        relative_error,
        tolerated,
    )
    undecided = int(np.sum((evidence.fine > DECIDES_FROM * evidence.scale) & (evidence.scale > 0)))
    passed = not failed and not fails_along.any()
    return Comparison(passed, errors, discrepancy, undecided)


def rejected(claims: Vector, evidence: Evidence) -> Vector:
    """Which of many claims ``[claims, coordinates]`` at one input some witness objects to."""
    fails = np.zeros(len(claims), bool)
    for witness in evidence.witnesses:
        fails |= _exceeds(_distance(claims, witness), evidence.tolerance(witness)).any(-1)
    return np.asarray(fails | _along(claims, evidence)[0].any(-1), bool)


def sizes(claims: Vector, evidence: Evidence) -> Vector:
    """Size of each mistake: how far a coordinate leaves what is right, relative to its scale.

    Counted where some witness can judge to ``DECIDES_FROM``. Elsewhere no slope exists, as at a jump, or rounding
    hides it; and at a kink every slope between the two sides is right.
    """
    bars = np.stack([witness.bars for witness in evidence.witnesses])
    sharpest = bars.argmin(0)[None]
    low, high = (
        np.take_along_axis(np.stack([getattr(witness, end) for witness in evidence.witnesses]), sharpest, 0)[0]
        for end in ("low", "high")
    )
    with np.errstate(all="ignore"):
        away = np.maximum(np.maximum(low - claims, claims - high), 0.0) / _safe(evidence.scale)
    decided = (evidence.scale > 0) & (bars.min(0) <= DECIDES_FROM * evidence.scale)
    # The witness's own rounding is no mistake.
    away = np.where(away * evidence.scale > bars.min(0), away, 0.0)
    largest: Vector = np.where(decided, np.where(np.isfinite(claims), away, np.inf), 0.0).max(-1)
    return largest


def _distance(claims: Vector, witness: Witness) -> Vector:
    """Distance to the interval of right values; a claim that is not finite is infinitely wrong."""
    with np.errstate(all="ignore"):
        distance = np.maximum(np.maximum(witness.low - claims, claims - witness.high), 0.0)
    return np.where(np.isfinite(claims), np.nan_to_num(distance, nan=0.0), np.inf)


def _exceeds(distance: Vector, tolerance: Vector) -> Vector:
    # A claim that is not finite fails even where the witness says nothing, unless the witness is lost as well.
    return np.where(np.isinf(distance), np.isfinite(tolerance), distance > tolerance)


def _along(claims: Vector, evidence: Evidence) -> tuple[Vector, Vector]:
    """Failures and relative errors along the random directions that cross no kink."""
    slopes, directions = evidence.direction_slopes, evidence.directions
    size = np.abs(directions) @ evidence.scale
    with np.errstate(all="ignore"):
        distance = np.abs(claims @ directions.T - slopes.low)
        usable = ~slopes.kinks & np.isfinite(slopes.bars) & (size > 0)
        fails = usable & (distance > np.maximum(4 * slopes.bars, 10 * _FLOOR * size))
        relative = np.where(usable & (slopes.bars <= DECIDES_FROM * size), distance / _safe(size), 0.0)
    return fails, np.nan_to_num(relative, nan=0.0, posinf=0.0)


def _safe(scale: Vector) -> Vector:
    return np.where(scale > 0, scale, 1.0)


# --- float32 and bfloat16 against float64 at the same, already rounded, input. ---


@dataclasses.dataclass(frozen=True)
class LowPrecision:
    """A gradient computed in a narrow type against the float64 gradient at the same input.

    Attributes:
      dtype: the narrow type.
      error: worst error relative to the largest entry of the gradient, of the coordinates that the input's own
        rounding moves by at most 64 units.
      passed: no coordinate is off by more than the input's own rounding explains, or a tenth of
        ``DECIDES_FROM_FLOAT32``.
    """

    dtype: str
    error: float
    passed: bool


def compare_low_precision(claim: Vector, evidence: Evidence, dtype: str) -> LowPrecision:
    """Judges a claim made in float32; for bfloat16 only the error is of interest."""
    fails, relative = _low_precision(claim[None], evidence, EPSILON[dtype])
    return LowPrecision(dtype, float(relative.max(initial=0.0)), not bool(fails.any()))


def rejected_low_precision(claims: Vector, evidence: Evidence) -> Vector:
    """Which of many float32 claims are wrong."""
    return np.asarray(_low_precision(claims, evidence, 0.0)[0].any(-1))


def low_precision_evidence(
    function: Function, example: Example, layout: Layout, cotangent: Vector | None, *, autodiff: bool, dtype: str
) -> Evidence:
    """Evidence in float64 at the rounded input, shaken by a few of the narrow type's own rounding units."""
    return gather_evidence(
        function,
        example.cast(jnp.dtype(dtype)),
        layout,
        cotangent=cotangent,
        autodiff=autodiff,
        shake=max(_UNITS * EPSILON[dtype], SHAKE),
    )


def excused(evidence: Evidence, plain: Vector) -> Evidence:
    """The evidence in a narrow type with bars that also hold what autodiff of the plain form loses in that type.

    Args:
      evidence: in float64.
      plain: reverse mode of the plain form in the narrow type.
    """
    witness = evidence.witnesses[0]
    lost, layout = _distance(plain, witness), evidence.layout
    worst = [np.full(part.size, part.max(initial=0.0)) for part in layout.unflatten(lost)]
    bars = witness.bars + _EXCUSED * np.concatenate(worst)
    return dataclasses.replace(evidence, witnesses=(dataclasses.replace(witness, bars=bars),))


def _low_precision(claims: Vector, evidence: Evidence, eps: float) -> tuple[Vector, Vector]:
    largest = float(evidence.scale.max(initial=0.0))
    # Reverse mode comes first where it may testify: its bars are those of an input rounded to the narrow type.
    witness = evidence.witnesses[0]
    distance = _distance(claims, witness)
    tolerance = np.maximum(2 * witness.bars, _FLOAT32_SHARE * largest)
    fails = _exceeds(distance, tolerance)
    decides = witness.bars <= _UNITS * _WELL_CONDITIONED * eps * largest
    with np.errstate(all="ignore"):
        relative = np.where(decides & (largest > 0), distance / (largest or 1.0), 0.0)
    return fails, relative
