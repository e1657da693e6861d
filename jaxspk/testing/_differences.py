r"""Slopes from values alone: Richardson extrapolation that brings its own error bar.

For steps :math:`h_k = h_0 2^{-k}` the central difference is :math:`f' + c_1 h^2 + c_2 h^4 + \dots` and the second
difference over :math:`h` is :math:`c_0 h + c_1 h^3 + \dots` plus the gap between the slopes from both sides, which
is 0 unless there is a kink; a triangle of weighted differences removes one power a column.
Large steps suffer from truncation, small ones from rounding. Every entry of the triangle therefore carries an
estimate of both, and the entry with the smallest sum is taken (Ridders 1982), together with that sum.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxspk.testing._examples import Vector

LEVELS = 18
"""Steps from a quarter of a coordinate's scale downwards, halved each time."""

STEPS: Vector = np.ldexp(0.25, -np.arange(LEVELS))
_EVEN = (2, 4, 6, 8, 10, 12)
_ODD = (1, 3, 5, 7, 9, 11)
_KINK_SHARE = 1e-8
_EXPLAINED = 8
_UNIT = 2.0**-53
_MOST_ROUNDING = 2.0**-20
"""What moves a value by more than this share of itself is no rounding, whatever shaking the input says."""
_JUMP_LEVELS = 4
_JUMP_SHARE = 0.2
"""A slope divides a rise by 16 over that many halvings of the step, a square root by 4."""


@dataclasses.dataclass(frozen=True)
class Slopes:
    """Slopes along several directions, each an interval with an error bar.

    Attributes:
      low: smaller of the two one-sided slopes at a kink, else the slope.
      high: larger of the two one-sided slopes at a kink, else the slope.
      bars: half widths that hold the error of either end.
      kinks: where the one-sided slopes differ by more than their error bars.
    """

    low: Vector
    high: Vector
    bars: Vector
    kinks: Vector


def slopes_from_rises(rises: Vector, scales: Vector, noise: Vector) -> Slopes:
    r"""Slopes per unit from the rises :math:`f(x \pm h_k s_i d_i) - f(x)`.

    Args:
      rises: ``[directions, 2, LEVELS]``, first along the direction, then against it.
      scales: ``[directions]``, the lengths :math:`s_i` by which ``STEPS`` were multiplied.
      noise: ``[directions]``, how far rounding may move one rise.
    """
    steps = STEPS[None, :] * scales[:, None]
    with np.errstate(all="ignore"):
        # A sum that is small here may be made of parts as large as it becomes nearby.
        parts = np.where(np.isfinite(rises), np.abs(rises), 0.0).max((1, 2))
        rounding = (noise + _UNIT * parts)[:, None] / steps
        central, bars = _extrapolate((rises[:, 0] - rises[:, 1]) / (2 * steps), rounding, _EVEN)
        # The slope from above less the slope from below. Even where it is too small to be called a kink it bounds
        # what the central difference of the same steps can know: a kink between the steps and the input hides there.
        gaps, gap_bars = _extrapolate((rises[:, 0] + rises[:, 1]) / steps, 2 * rounding, _ODD)
        best = np.argmin(bars + (np.abs(gaps) + gap_bars) / 2, axis=-1)
        slope, bar = _settled(central, bars, rounding, best)
        gap, gap_bar = _settled(gaps, gap_bars, 2 * rounding, best)
        # A rise that does not shrink with its step is a jump, or an infinite slope: nothing is known there.
        finest = np.abs(rises[..., -1])
        before = np.abs(rises[..., -2 * _JUMP_LEVELS : -_JUMP_LEVELS]).max(-1)
        # Where the value falls off steeply next to the input, shaking it moves the value by all of the jump.
        explained = np.minimum(noise, _MOST_ROUNDING * parts)
        jumps = ((finest > 8 * explained[:, None]) & (finest > _JUMP_SHARE * before)).any(-1)
        size = np.abs(gap)
        kinks = ~jumps & (size > 4 * gap_bar) & (size > _KINK_SHARE * (np.abs(slope) + size))
    half = np.where(kinks, size / 2, 0.0)
    bar = bar + gap_bar / 2 + np.where(kinks, 0.0, size / 2)
    return Slopes(slope - half, slope + half, np.where(jumps, np.inf, bar), kinks)


def _extrapolate(differences: Vector, rounding: Vector, powers: Sequence[int]) -> tuple[Vector, Vector]:
    """For every step the best entry of its row in Richardson's triangle, and an estimate of its error."""
    entries, errors = [differences], [np.full_like(differences, np.inf)]
    amplification = 1.0
    for column, power in enumerate(powers, 1):
        weight = 2.0**power
        amplification *= (weight + 1) / (weight - 1)
        last = entries[-1]
        entry = last.copy()
        entry[:, 1:] = last[:, 1:] + (last[:, 1:] - last[:, :-1]) / (weight - 1)
        error = np.full_like(differences, np.inf)
        moved = np.maximum(np.abs(entry - last)[:, 1:], np.abs(entry[:, 1:] - last[:, :-1]))
        error[:, 1:] = moved + amplification * rounding[:, 1:]
        error[:, :column] = np.inf
        entries.append(entry)
        errors.append(error)
    table, bars = np.stack(entries, -1), np.stack(errors, -1)
    bars = np.where(np.isfinite(table) & np.isfinite(bars), bars, np.inf)
    column = np.argmin(bars, axis=-1)[..., None]
    return np.take_along_axis(table, column, -1)[..., 0], np.take_along_axis(bars, column, -1)[..., 0]


def _settled(values: Vector, estimates: Vector, rounding: Vector, best: Vector) -> tuple[Vector, Vector]:
    """The value at the chosen step, with a bar that covers the step before and all smaller ones.

    An error estimate can be small by accident, and a cluster of kinks near the input looks smooth from afar.
    Smaller steps see it, though; what rounding cannot explain of their difference counts as error.
    """
    rows = np.arange(len(values))
    value, bar = values[rows, best], 2 * estimates[rows, best]
    apart = np.abs(values - value[:, None])
    smaller = np.arange(values.shape[1]) > best[:, None]
    unexplained = np.where(smaller & np.isfinite(apart), apart - _EXPLAINED * rounding, 0.0)
    before = np.maximum(best - 1, 0)
    # A larger step with a far larger estimate of its own says nothing about this one.
    comparable = estimates[rows, before] < 8 * bar
    bar = np.maximum(bar, np.where(comparable, apart[rows, before], 0.0))
    bar = np.maximum(bar, 2 * unexplained.max(-1))
    return value, np.where(np.isfinite(value), bar, np.inf)
