"""When the speaker changes: which changes were found, which were missed, which are none."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxspk import _checks
from jaxspk.errors import ArgumentError
from jaxspk.metrics._segmentation import Stretch

Instant = float | int | tuple[float | int, float | int]
"""When something changes, in seconds; or from when to when, where any moment between is as good."""


class ChangeErrors(NamedTuple):
    """How many changes were found, and how many there are. Those of several recordings may be added.

    Attributes:
      hits: changes that were found.
      reference: changes that there are.
      found: what was taken for a change.
    """

    hits: int
    reference: int
    found: int

    @property
    def precision(self) -> float:
        """Share of what was found that is a change; NaN where nothing was found."""
        return self.hits / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the changes that were found; NaN where there is none."""
        return self.hits / self.reference if self.reference else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where there is nothing to find and nothing was found."""
        both = self.reference + self.found
        return 2 * self.hits / both if both else float("nan")

    @property
    def miss_rate(self) -> float:
        """Share of the changes that were missed; NaN where there is none."""
        return 1 - self.recall

    @property
    def false_alarm_rate(self) -> float:
        """False alarms over themselves and all changes there are, after Delacourt and Wellekens."""
        wrong = self.found - self.hits
        return wrong / (wrong + self.reference) if wrong + self.reference else float("nan")

    def __add__(self, other: object) -> "ChangeErrors":
        if not isinstance(other, ChangeErrors):
            return NotImplemented
        return ChangeErrors(*(one + more for one, more in zip(self, other, strict=True)))


def change_detection_errors(
    reference: Sequence[Instant], found: Sequence[float | int], *, tolerance_seconds: float = 0.5
) -> ChangeErrors:
    r"""Compares changes that were found with those that there are.

    What was found is right where it lies no further than the tolerance from a change, and each change is found once at
    most: pairs are chosen so that they are as many as possible. With :math:`h` hits, :math:`r` changes and :math:`f`
    found,

    .. math:: P = \frac{h}{f},\quad R = \frac{h}{r},\quad F_1 = \frac{2h}{r + f},\quad
        \mathrm{miss} = 1 - R,\quad \mathrm{false\ alarm} = \frac{f - h}{f - h + r}.

    Args:
      reference: when the speaker changes, in any order: a moment, or from when to when (the pause between two turns, or
        the time in which both speak).
      found: moments, in any order.
      tolerance_seconds: how far off counts as found.

    Returns:
      The three counts; rates are their properties.

    Raises:
      ArgumentError: a time is not finite, or an interval ends before it starts.

    Example:
      >>> errors = change_detection_errors([4.0, (7.0, 7.4), 12.0], [4.3, 4.4, 7.6])
      >>> errors.hits, round(errors.f1, 3), round(errors.false_alarm_rate, 3)
      (2, 0.667, 0.25)

    References:
      Delacourt and Wellekens, *DISTBIC: a speaker-based segmentation for audio data indexing*, Speech Communication
      32, 2000.
    """
    _checks.check_range("tolerance_seconds", tolerance_seconds, low=0.0)
    windows = sorted((_interval(change) for change in reference), key=lambda window: window[1])
    moments = np.array(found, np.float64).ravel()
    if not np.isfinite(moments).all():
        raise ArgumentError("`found` must hold finite times in seconds.")
    # Each change takes the first free moment in reach, changes in order of their ends: no pairing has more pairs. A
    # thousandth of a millisecond forgives the rounding of decimal fractions.
    reach = tolerance_seconds + 1e-6
    free = sorted(moments.tolist())
    hits = 0
    for start, end in windows:
        within = next((moment for moment in free if moment >= start - reach), None)
        if within is not None and within <= end + reach:
            free.remove(within)
            hits += 1
    return ChangeErrors(hits, len(windows), moments.size)


def speaker_changes(turns: Sequence[Stretch]) -> tuple[tuple[float, float], ...]:
    """From when to when each change of speaker takes: the pause between two turns, or the time in which both speak.

    Args:
      turns: start, end and speaker, in any order. Turns of one speaker that follow each other are no change.

    Returns:
      Start and end of each change, in order of time.

    Example:
      >>> speaker_changes([(0, 2, "ann"), (2.5, 4, "ann"), (4.25, 6, "bob"), (5.5, 8, "ann")])
      ((4.0, 4.25), (5.5, 6.0))
    """
    changes = []
    ordered = sorted(turns, key=lambda turn: (turn[0], turn[1]))
    for before, after in itertools.pairwise(ordered):
        if before[2] != after[2]:
            first, last = sorted((float(before[1]), float(after[0])))
            changes.append((first, last))
    return tuple(changes)


def _interval(change: Instant) -> tuple[float, float]:
    start, end = change if isinstance(change, tuple) else (change, change)
    if not (np.isfinite(start) and np.isfinite(end) and start <= end):
        raise ArgumentError(f"`reference` must hold times in seconds, or (start, end) in order, got {change!r}.")
    return float(start), float(end)
