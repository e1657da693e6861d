r"""How much what is heard before a moment differs from what is heard after it, for every moment of a recording.

Frames are summed over short cells: their number, their sum and the sum of their squares. Mean and covariance of any
window are differences of running sums of these, so that all moments together cost little more than one. Frames come in
blocks, of which no more than two windows are kept.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from jaxspk import metrics
from jaxspk.errors import ArgumentError

# Numbers in the running sums of products that are held at once: 64 MiB.
_LARGEST_SUMS = 2**23
# A covariance's diagonal is lifted by this share of its mean, so that what never varies has an inverse too.
_RIDGE = 1e-6
_TINY = 1e-12


Spread = Literal["none", "diagonal", "full"]
"""What is summed besides frames: nothing, their squares unit by unit, or all products."""


class Gaussians(NamedTuple):
    """Windows by their number of frames, means and covariances (divided by the number of frames).

    ``covariances`` has variances alone where units are taken for independent, and is None where means are compared.
    """

    counts: Float64[np.ndarray, " windows"]
    means: Float64[np.ndarray, "windows units"]
    covariances: Float64[np.ndarray, "windows units units"] | Float64[np.ndarray, "windows units"] | None


@dataclasses.dataclass(frozen=True)
class Cells:
    """Sums over cells of equally many frames; the last may have fewer.

    Attributes:
      counts: frames in each.
      totals: sums of frames.
      squares: sums of their products, or of their squares; None where nobody asks for covariances.
    """

    counts: Float64[np.ndarray, " cells"]
    totals: Float64[np.ndarray, "cells units"]
    squares: Float64[np.ndarray, "cells units units"] | Float64[np.ndarray, "cells units"] | None

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, some: slice) -> "Cells":
        return Cells(self.counts[some], self.totals[some], None if self.squares is None else self.squares[some])

    def then(self, other: "Cells") -> "Cells":
        """These cells and others after them."""
        squares = None
        if self.squares is not None and other.squares is not None:
            squares = np.concatenate([self.squares, other.squares])
        return Cells(np.concatenate([self.counts, other.counts]), np.concatenate([self.totals, other.totals]), squares)

    def running(self) -> "Running":
        """Their running sums."""
        squares = None if self.squares is None else _running(self.squares)
        return Running(_running(self.counts), _running(self.totals), squares)


@dataclasses.dataclass(frozen=True)
class Running:
    """Running sums of cells, from 0 on."""

    counts: Float64[np.ndarray, " edges"]
    totals: Float64[np.ndarray, "edges units"]
    squares: Float64[np.ndarray, "edges units units"] | Float64[np.ndarray, "edges units"] | None

    def windows(self, lows: Int[np.ndarray, " windows"], highs: Int[np.ndarray, " windows"]) -> Gaussians:
        """The windows from cells ``lows`` up to, without them, cells ``highs``; none may be empty."""
        counts = self.counts[highs] - self.counts[lows]
        means = (self.totals[highs] - self.totals[lows]) / counts[:, None]
        if self.squares is None:
            return Gaussians(counts, means, None)
        if self.squares.ndim == 2:
            squares = (self.squares[highs] - self.squares[lows]) / counts[:, None]
            return Gaussians(counts, means, squares - np.square(means))
        squares = (self.squares[highs] - self.squares[lows]) / counts[:, None, None]
        return Gaussians(counts, means, squares - means[:, :, None] * means[:, None, :])


Distance = Callable[[Gaussians, Gaussians], Float64[np.ndarray, " windows"]]


def sum_cells(
    blocks: Iterable[Float[np.ndarray, "_ units"]], frames_per_cell: int, *, spread: Spread
) -> Iterator[Cells]:
    """Cells of frames that come in blocks of any lengths, in blocks of no more than some tens of megabytes.

    The mean of the first block is taken from all frames: distances stay, and sums of squares keep their digits.
    """
    origin: np.ndarray | None = None
    rest: np.ndarray | None = None
    for block in blocks:
        frames = np.asarray(block, np.float64)
        if origin is None:
            origin = frames.mean(0) if len(frames) and spread != "none" else np.zeros(frames.shape[1])
        frames = frames - origin
        rest = frames if rest is None else np.concatenate([rest, frames])
        whole = len(rest) // frames_per_cell
        at_once = _cells_at_once(_numbers(rest.shape[1], spread))
        for start in range(0, whole, at_once):
            end = min(start + at_once, whole)
            yield _summed(rest[start * frames_per_cell : end * frames_per_cell], frames_per_cell, spread)
        rest = rest[whole * frames_per_cell :]
    if rest is not None and len(rest):
        yield _summed(rest, frames_per_cell, spread)


def sliding_curve(
    blocks: Iterable[Cells], distance: Distance, *, window: int, gap: int = 0
) -> Float64[np.ndarray, " edges"]:
    """Distance of the windows before and after each edge between cells.

    Args:
      blocks: cells, block after block.
      distance: of windows, many at once.
      window: cells in a window. Near the ends of all cells a window is as long as it can be; where that is less than
        half, the distance is NaN.
      gap: the cells before an edge that reach beyond it, as windows of sound do that overlap; they count on neither
        side, and the window after the edge is shorter by as many.

    Returns:
      One number an edge, those at both ends among them: cells and one.
    """
    least, reach = -(-window // 2), window - gap
    kept: Cells | None = None
    first = done = 0  # Number of the first cell that is kept, and of the edge that comes next.
    values: list[np.ndarray] = []

    def evaluate(upto: int) -> None:
        nonlocal done
        assert kept is not None
        running = kept.running()
        edges = np.arange(done, upto)
        lows, highs = np.maximum(edges - window, first), np.minimum(edges + reach, first + len(kept))
        enough = (edges - gap - lows >= max(least - gap, 1)) & (highs - edges >= max(least - gap, 1))
        found = np.full(len(edges), np.nan)
        if enough.any():
            before = running.windows(lows[enough] - first, edges[enough] - gap - first)
            after = running.windows(edges[enough] - first, highs[enough] - first)
            found[enough] = distance(before, after)
        values.append(found)
        done = upto

    for block in itertools.chain.from_iterable(map(_slabs, blocks)):
        kept = block if kept is None else kept.then(block)
        ready = first + len(kept) - reach + 1
        if ready > done:
            evaluate(ready)
            drop = max(0, done - window - first)
            kept, first = kept[drop:], first + drop
    if kept is None:
        return np.zeros(0)
    evaluate(first + len(kept) + 1)
    return np.concatenate(values)


class Growth(NamedTuple):
    """How the search for one change after the other goes, in cells.

    Attributes:
      shortest: on either side of a change.
      first: length of the window in which the first is sought.
      step: by which it grows while there is none.
      longest: length from which on its beginning moves too.
    """

    shortest: int
    first: int
    step: int
    longest: int


def growing_windows(
    blocks: Iterable[Cells], growth: Growth, penalty: float
) -> tuple[Int[np.ndarray, " changes"], Float64[np.ndarray, " changes"], Float64[np.ndarray, " edges"]]:
    r"""The algorithm of Chen and Gopalakrishnan: grow a window until the criterion says that there is a change in it.

    .. math:: \Delta\mathrm{BIC}(i) = \tfrac12\bigl(n \ln|\Sigma| - n_1 \ln|\Sigma_1| - n_2 \ln|\Sigma_2|\bigr)
        - \tfrac{\lambda}{2}\bigl(d + \tfrac{d(d+1)}{2}\bigr) \ln n

    There is a change where the largest is positive; the next window begins there.

    Args:
      blocks: cells with products, block after block.
      growth: lengths.
      penalty: :math:`\lambda`.

    Returns:
      Edges between cells at which there is a change, what the criterion is there, and the largest that it was at every
      edge in any window; NaN where it never was asked.
    """
    cells = _Supply(itertools.chain.from_iterable(map(_slabs, blocks)))
    criterion = np.full(1, np.nan)
    edges: list[int] = []
    values: list[float] = []
    start, length = 0, growth.first
    while True:
        got = cells.upto(start + length)
        end = min(start + length, got)
        criterion = _extended(criterion, got + 1)
        candidates = np.arange(start + growth.shortest, end - growth.shortest + 1)
        best, best_value = 0, 0.0
        if len(candidates):
            found = _criterion_within(cells, start, end, candidates, penalty)
            criterion[candidates] = np.fmax(criterion[candidates], found)
            place = int(found.argmax())
            best, best_value = int(candidates[place]), float(found[place])
        if best_value > 0:
            edges.append(best)
            values.append(best_value)
            start, length = best, growth.first
        elif end < start + length:
            break  # Nothing follows.
        elif length < growth.longest:
            length = min(length + growth.step, growth.longest)
        else:
            start += growth.step
        cells.forget(start)
    return np.array(edges, int), np.array(values, float), criterion[: got + 1]


def criterion_of(penalty: float) -> Distance:
    """The same criterion for windows before and after every edge."""

    def criterion(before: Gaussians, after: Gaussians) -> Float64[np.ndarray, " windows"]:
        return _criterion(before, after, _together(before, after), penalty)

    return criterion


def mean_distance(before: Gaussians, after: Gaussians) -> Float64[np.ndarray, " windows"]:
    r"""Squared distance of the means, :math:`\lVert\delta\rVert^2`."""
    distances: np.ndarray = np.square(before.means - after.means).sum(1)
    return distances


def cosine_distance(before: Gaussians, after: Gaussians) -> Float64[np.ndarray, " windows"]:
    """One minus the cosine of the means."""
    lengths = np.linalg.norm(before.means, axis=1) * np.linalg.norm(after.means, axis=1)
    distances: np.ndarray = 1 - (before.means * after.means).sum(1) / np.maximum(lengths, _TINY)
    return distances


def between_gaussians(name: str, shrinkage: float) -> Distance:
    r"""A distance of :mod:`jaxspk.metrics` between Gaussians, their covariances drawn towards a simpler one.

    As in :func:`speaker_statistics`, :math:`(1 - s) \Sigma + s\, \bar\sigma^2 I` with the mean variance.
    """

    def distance(before: Gaussians, after: Gaussians) -> Float64[np.ndarray, " windows"]:
        one, two = (_shrunk(_regular(windows), shrinkage) for windows in (before, after))
        if one.ndim == 2:
            return _DIAGONAL_DISTANCES[name](before.means - after.means, one, two)
        return GAUSSIAN_DISTANCES[name](before.means, one, after.means, two)

    return distance


def _shrunk(covariances: np.ndarray, shrinkage: float) -> np.ndarray:
    if covariances.ndim == 2:
        variances: np.ndarray = (1 - shrinkage) * covariances + shrinkage * covariances.mean(1, keepdims=True)
        return variances
    units = covariances.shape[-1]
    level = np.einsum("nii->n", covariances) / units
    drawn: np.ndarray = (1 - shrinkage) * covariances + shrinkage * level[:, None, None] * np.eye(units)
    return drawn


def _diagonal_trace(difference: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    distances: np.ndarray = (np.square(difference) * (1 / one + 1 / two)).sum(1)
    return distances


def _diagonal_divergence(difference: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    distances: np.ndarray = (one / two + two / one - 2).sum(1) / 2 + _diagonal_trace(difference, one, two) / 2
    return distances


def _diagonal_overlap(difference: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    middle = (one + two) / 2
    volumes = np.log(middle) - (np.log(one) + np.log(two)) / 2
    distances: np.ndarray = (np.square(difference) / middle / 8 + volumes / 2).sum(1)
    return distances


_DIAGONAL_DISTANCES: Mapping[str, Callable[..., Float64[np.ndarray, " windows"]]] = {
    "trace": _diagonal_trace,
    "kullback_leibler": _diagonal_divergence,
    "bhattacharyya": _diagonal_overlap,
}

MEAN_DISTANCES: Mapping[str, Distance] = {"mean": mean_distance, "cosine": cosine_distance}
"""Of windows by their means alone."""

GAUSSIAN_DISTANCES: Mapping[str, Callable[..., Float64[np.ndarray, " windows"]]] = {
    "trace": metrics.trace_distance,
    "kullback_leibler": metrics.kullback_leibler_distance,
    "bhattacharyya": metrics.bhattacharyya_distance,
}
"""Of windows by means and covariances."""


class _Supply:
    """Cells as they are asked for; those that nobody asks for any more are forgotten."""

    def __init__(self, blocks: Iterable[Cells]) -> None:
        self._blocks = iter(blocks)
        self._kept: Cells | None = None
        self._first = 0
        self._running: Running | None = None

    def upto(self, end: int) -> int:
        """Fetches cells until ``end`` are there or none is left; how many there were so far."""
        while self._first + self._length < end:
            block = next(self._blocks, None)
            if block is None:
                break
            self._kept = block if self._kept is None else self._kept.then(block)
            self._running = None
        return self._first + self._length

    def windows(self, lows: np.ndarray, highs: np.ndarray) -> Gaussians:
        """Of the numbers of cells since the beginning."""
        assert self._kept is not None
        if self._running is None:
            self._running = self._kept.running()
        return self._running.windows(lows - self._first, highs - self._first)

    def forget(self, before: int) -> None:
        """Cells before this one; not at once, for that costs a copy."""
        drop = before - self._first
        if self._kept is not None and drop > self._length / 2:
            self._kept, self._first, self._running = self._kept[drop:], before, None

    @property
    def _length(self) -> int:
        return 0 if self._kept is None else len(self._kept)


def _criterion_within(
    cells: _Supply, start: int, end: int, candidates: Int[np.ndarray, " candidates"], penalty: float
) -> Float64[np.ndarray, " candidates"]:
    whole = cells.windows(np.array([start]), np.array([end]))
    before = cells.windows(np.full_like(candidates, start), candidates)
    after = cells.windows(candidates, np.full_like(candidates, end))
    return _criterion(before, after, whole, penalty)


def _criterion(
    before: Gaussians, after: Gaussians, whole: Gaussians, penalty: float
) -> Float64[np.ndarray, " candidates"]:
    units = whole.means.shape[1]
    parameters = units + units * (units + 1) / 2
    gain = whole.counts * _log_determinant(_regular(whole))
    for side in (before, after):
        gain = gain - side.counts * _log_determinant(_regular(side))
    criterion: np.ndarray = gain / 2 - penalty / 2 * parameters * np.log(whole.counts)
    return criterion


def _together(before: Gaussians, after: Gaussians) -> Gaussians:
    """Both windows as one."""
    assert before.covariances is not None and after.covariances is not None
    counts = before.counts + after.counts
    share = (before.counts / counts)[:, None]
    difference = before.means - after.means
    spread = difference[:, :, None] * difference[:, None, :]
    return Gaussians(
        counts,
        share * before.means + (1 - share) * after.means,
        share[:, :, None] * before.covariances
        + (1 - share)[:, :, None] * after.covariances
        + (share * (1 - share))[:, :, None] * spread,
    )


def _regular(windows: Gaussians) -> np.ndarray:
    """Covariances, or variances, that have an inverse."""
    if windows.covariances is None:
        raise ArgumentError("covariances are needed, and were not summed.")
    if windows.covariances.ndim == 2:
        level = np.maximum(windows.covariances.mean(1, keepdims=True), 0)
        variances: np.ndarray = np.maximum(windows.covariances, 0) + _RIDGE * level + _TINY
        return variances
    units = windows.covariances.shape[-1]
    level = np.einsum("nii->n", windows.covariances) / units
    lifted: np.ndarray = windows.covariances + (_RIDGE * np.maximum(level, 0) + _TINY)[:, None, None] * np.eye(units)
    return lifted


def _log_determinant(matrices: Float64[np.ndarray, "windows units units"]) -> Float64[np.ndarray, " windows"]:
    determinants: np.ndarray = np.linalg.slogdet(matrices)[1]
    return determinants


def _summed(frames: Float64[np.ndarray, "frames units"], per_cell: int, spread: Spread) -> Cells:
    cells, units = -(-len(frames) // per_cell), frames.shape[1]
    counts = np.minimum(per_cell, len(frames) - per_cell * np.arange(cells)).astype(np.float64)
    # Zeros add nothing to any sum.
    padded = np.zeros((cells * per_cell, units))
    padded[: len(frames)] = frames
    filled = padded.reshape(cells, per_cell, units)
    squares: np.ndarray | None = None
    if spread != "none":
        squares = filled.mT @ filled if spread == "full" else np.square(filled).sum(1)
    return Cells(counts, filled.sum(1), squares)


def _slabs(cells: Cells) -> Iterator[Cells]:
    """The cells in pieces small enough for their running sums."""
    at_once = _cells_at_once(cells.totals[0].size if cells.squares is None else cells.squares[0].size)
    for start in range(0, len(cells), at_once):
        yield cells[start : start + at_once]


def _numbers(units: int, spread: Spread) -> int:
    return units * units if spread == "full" else units


def _cells_at_once(numbers: int) -> int:
    return max(64, _LARGEST_SUMS // numbers)


def _running(sums: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(sums[:1]), np.cumsum(sums, axis=0)])


def _extended(values: np.ndarray, length: int) -> np.ndarray:
    """As long at least, and then some, so that growing costs little; NaN where nothing was."""
    if len(values) >= length:
        return values
    longer = np.full(max(length, math.ceil(1.5 * len(values))), np.nan)
    longer[: len(values)] = values
    return longer
