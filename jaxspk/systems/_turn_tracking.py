"""From voices of windows to turns: who speaks in every tenth of a second, changing no oftener than it must."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from jaxspk.systems._voice_clusters import unit_rows

CELL_SECONDS = 0.1
# How much likelier a voice is per unit of cosine, and what a change costs, in natural logarithms.
_SCALE, _CHANGE = 10.0, 3.0
_ROUNDS = 3


class Windowed(NamedTuple):
    """The speech of a recording.

    Attributes:
      stretches: first sample, and the one after the last, of each stretch.
      spans: likewise of the windows, none of them in two stretches.
      points: where each window lies, of unit length.
    """

    stretches: Int[np.ndarray, "stretches 2"]
    spans: Int[np.ndarray, "windows 2"]
    points: Float[np.ndarray, "windows directions"]


def track_turns(
    recordings: list[Windowed], centres: Float64[np.ndarray, "voices directions"], sample_rate: int
) -> list[list[tuple[int, int, int]]]:
    """First sample, the one after the last, and voice of each turn of each recording, in order of time.

    A cell of a tenth of a second lies between the windows over it, the nearer counting more. Its log-likelihoods are
    its cosines with the voices' centres, scaled; within a stretch of speech the best path through the cells is taken
    (Viterbi), and the centres are computed anew from what was given to each voice, three times.

    Args:
      recordings: whose windows were clustered together.
      centres: of the voices.
      sample_rate: of the samples.
    """
    cell = round(CELL_SECONDS * sample_rate)
    turns: list[list[tuple[int, int, int]]] = []
    for last in (False,) * (_ROUNDS - 1) + (True,):
        sums = np.zeros_like(centres)
        turns = [[] for _ in recordings]
        for recording, found in zip(recordings, turns, strict=True):
            for edges, points in _cells(recording, cell):
                voices = _best_path(_SCALE * points @ centres.T, _CHANGE)
                np.add.at(sums, voices, points)
                if last:
                    found += _runs(edges, voices)
        heard = np.linalg.norm(sums, axis=1) > 0
        centres = np.where(heard[:, None], unit_rows(sums), centres)
    return turns


def _cells(recording: Windowed, cell: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Edges and points of the cells of each stretch."""
    firsts = np.searchsorted(recording.spans[:, 0], recording.stretches[:, 0])
    lasts = np.searchsorted(recording.spans[:, 0], recording.stretches[:, 1])
    for (begin, end), first, last in zip(recording.stretches.tolist(), firsts, lasts, strict=True):
        if last > first:
            spans = recording.spans[first:last]
            edges = np.append(np.arange(begin, end, cell), end)
            middles, half = (edges[:-1] + edges[1:]) / 2, max(float(np.diff(spans).max()) / 2, 1.0)
            weights = np.maximum(1 - np.abs(middles[:, None] - spans.mean(1)) / half, 1e-3)
            yield edges, unit_rows(weights @ recording.points[first:last])


def _best_path(scores: Float64[np.ndarray, "cells voices"], change: float) -> Int[np.ndarray, " cells"]:
    cells, voices = scores.shape
    total, before = scores[0].copy(), np.zeros((cells, voices), int)
    stay = np.arange(voices)
    for cell in range(1, cells):
        best = int(total.argmax())
        before[cell] = np.where(total >= total[best] - change, stay, best)
        total = np.maximum(total, total[best] - change) + scores[cell]
    path = np.zeros(cells, int)
    path[-1] = int(total.argmax())
    for cell in range(cells - 1, 0, -1):
        path[cell - 1] = before[cell, path[cell]]
    return path


def _runs(edges: np.ndarray, voices: np.ndarray) -> list[tuple[int, int, int]]:
    changes = [0, *(np.flatnonzero(np.diff(voices)) + 1).tolist(), len(voices)]
    return [(int(edges[begin]), int(edges[end]), int(voices[begin])) for begin, end in itertools.pairwise(changes)]
