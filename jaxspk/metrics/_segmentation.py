"""Who speaks when: diarization error rate and its parts."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from jaxspk import _checks
from jaxspk.errors import ArgumentError

Stretch = tuple[float | int, float | int, str]
"""When somebody speaks: start and end in seconds, and who."""


class DiarizationErrors(NamedTuple):
    """Seconds of speech that are wrong, and of how many.

    Two voices at once count twice. Errors of several recordings may be added: :meth:`__add__` does, but for
    ``speakers``, which then is empty.

    Attributes:
      missed: somebody speaks whom the hypothesis does not have.
      false_alarm: the hypothesis has somebody who does not speak.
      confusion: somebody else speaks.
      total: of speech in the reference.
      speakers: for each name in the hypothesis that stands for somebody in the reference, who that is.
    """

    missed: float
    false_alarm: float
    confusion: float
    total: float
    speakers: tuple[tuple[str, str], ...] = ()

    @property
    def rate(self) -> float:
        """The diarization error rate; NaN where nobody speaks. It can be above 1."""
        wrong = self.missed + self.false_alarm + self.confusion
        return wrong / self.total if self.total > 0 else float("nan")

    def __add__(self, other: object) -> "DiarizationErrors":
        if not isinstance(other, DiarizationErrors):
            return NotImplemented
        missed, false_alarm, confusion, total = np.add(self[:4], other[:4]).tolist()
        return DiarizationErrors(missed, false_alarm, confusion, total)


def diarization_error_rate(
    reference: Sequence[Stretch],
    hypothesis: Sequence[Stretch],
    *,
    collar_seconds: float = 0.0,
    skip_overlap: bool = False,
) -> DiarizationErrors:
    r"""Share of speech that is attributed wrongly, the names in the hypothesis given to speakers in the best way.

    .. math::
        \mathrm{DER} = \frac{\int \max(r, h) - c}{\int r} =
        \frac{\int \max(r - h, 0) + \max(h - r, 0) + (\min(r, h) - c)}{\int r}

    with :math:`r` the number of speakers at a time in the reference, :math:`h` that in the hypothesis and :math:`c`
    that of the correct ones. The three terms are what is missed, falsely alarmed and confused. Each name of the
    hypothesis stands for at most one speaker, so that :math:`\int c` is greatest.

    Args:
      reference: start, end and speaker of each turn; in any order. What one speaker says twice at once counts once.
      hypothesis: likewise; its names mean nothing.
      collar_seconds: not scored on either side of every start and end of the reference's turns, as NIST's 0.25 s
        (pyannote.metrics has the sum of both sides). A speaker's turns that touch or overlap are one turn.
      skip_overlap: score only where at most one speaks in the reference.

    Returns:
      The parts in seconds; ``.rate`` is the diarization error rate.

    Raises:
      ArgumentError: a turn ends before it starts or has no finite times.

    Example:
      >>> errors = diarization_error_rate([(0, 4, "ann"), (4, 8, "bob")], [(0, 5, "1"), (5, 10, "2")])
      >>> errors.rate, errors.confusion, errors.false_alarm
      (0.375, 1.0, 2.0)

    References:
      NIST, *The 2009 (RT-09) rich transcription meeting recognition evaluation plan*; Bredin, *pyannote.metrics*,
      Interspeech 2017.
    """
    _checks.check_range("collar_seconds", collar_seconds, low=0.0)
    true, found = _merged("reference", reference), _merged("hypothesis", hypothesis)
    edges = [edge for turn in true for edge in turn[:2]]
    collars = [(edge - collar_seconds, edge + collar_seconds) for edge in edges] if collar_seconds else []
    times = np.unique([*edges, *(edge for turn in found for edge in turn[:2]), *itertools.chain(*collars)])
    if len(times) < 2:
        return DiarizationErrors(0.0, 0.0, 0.0, 0.0)
    middles = (times[:-1] + times[1:]) / 2
    speakers, said = _presence(true, middles)
    names, heard = _presence(found, middles)
    scored = np.ones(len(middles), bool)
    for first, last in collars:
        scored[np.searchsorted(middles, first) : np.searchsorted(middles, last)] = False
    if skip_overlap:
        scored &= said.sum(0) < 2
    lengths = np.diff(times) * scored

    together: Float64[ndarray, "speakers names"] = (said * lengths) @ heard.T
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(together, maximize=True)
    correct = float(together[rows, columns].sum())
    r, h = said.sum(0), heard.sum(0)
    return DiarizationErrors(
        missed=float(lengths @ np.maximum(r - h, 0)),
        false_alarm=float(lengths @ np.maximum(h - r, 0)),
        # Not below 0 for the rounding of sums.
        confusion=max(float(lengths @ np.minimum(r, h)) - correct, 0.0),
        total=float(lengths @ r),
        speakers=tuple(
            (names[column], speakers[row])
            for row, column in sorted(zip(rows, columns, strict=True), key=lambda pair: names[pair[1]])
            if together[row, column] > 0
        ),
    )


def _merged(name: str, turns: Sequence[Stretch]) -> list[Stretch]:
    """Each speaker's turns in order, those that touch or overlap as one; empty ones left out."""
    merged: list[Stretch] = []
    for start, end, speaker in sorted(turns, key=lambda turn: (turn[2], turn[0], turn[1])):
        if not (np.isfinite(start) and np.isfinite(end) and start <= end):
            raise ArgumentError(
                f"`{name}` must hold turns that end after they start, got {start:g} to {end:g} s of {speaker!r}."
            )
        if merged and merged[-1][2] == speaker and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], float(end)), speaker)
        elif end > start:
            merged.append((float(start), float(end), speaker))
    return merged


def _presence(
    turns: Sequence[Stretch], times: Float64[ndarray, " times"]
) -> tuple[tuple[str, ...], Bool[ndarray, "speakers times"]]:
    """Who speaks at which of the ascending times."""
    speakers = tuple(sorted({speaker for _, _, speaker in turns}))
    present = np.zeros((len(speakers), len(times)), bool)
    for start, end, speaker in turns:
        row = speakers.index(speaker)
        present[row, np.searchsorted(times, start) : np.searchsorted(times, end)] = True
    return speakers, present
