r"""Energies of the parts of a signal: what delayed copies of some references explain of it, and what they leave.

They follow from inner products alone, by Pythagoras, which costs next to nothing once the Gram matrix of the delays
is factored. Where rounding would show in them they are measured on the signals, by iterative refinement.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex128, Float64
from numpy import ndarray
from scipy import fft

from jaxspk.metrics._block_toeplitz import block_toeplitz, block_toeplitz_cholesky, cholesky, solve_lower

_RESOLUTION = 2e-8
"""Relative error allowed in an energy: 1e-7 dB."""
_NEGLIGIBLE = 1e-12
"""Energies this far below that of an estimate (120 dB) need not be exact."""
_ROUNDING = 32 * np.finfo(np.float64).eps
"""Error of an energy found by Pythagoras, relative to the energy of the filters; up to 8 epsilon in trials."""
_MOST_REFINEMENTS = 10
"""One is enough but for nearly dependent references."""


class Parts(NamedTuple):
    """Energies of the parts of estimates."""

    target: Float64[ndarray, "references estimates"]
    """Explained by the one reference."""
    distortion: Float64[ndarray, "references estimates"]
    """All else."""
    interference: Float64[ndarray, "references estimates"]
    """Of that, what the other references explain."""
    explained: Float64[ndarray, " estimates"]
    """Explained by all references together."""
    artifacts: Float64[ndarray, " estimates"]
    """Explained by none."""


def decompose(
    references: Float64[ndarray, "references samples"],
    estimates: Float64[ndarray, "estimates samples"],
    taps: int,
) -> Parts:
    """Projects estimates on the delays 0 to ``taps - 1`` of each reference, and of all references.

    Args:
      references: of unit energy.
      estimates: of unit energy, or silent.
      taps: how many delays; an estimate is taken to be followed by ``taps - 1`` zeros.
    """
    count = len(references)
    inner = _correlate(references, np.concatenate([references, estimates]), taps)
    gram, cross = inner[:, :count].transpose(2, 1, 0), inner[:, count:]
    each = [slice(j, j + 1) for j in range(count)]
    spans = [_Span.of(references[j], gram[:, j, j]) for j in each]
    alone = [_project(span, estimates, cross[j]) for span, j in zip(spans, each, strict=True)]
    if count == 1:
        everything = _settle(spans[0], estimates, alone[0], alone[0].left)
        target, distortion = everything.explained[None], everything.left[None]
        return Parts(target, distortion, np.zeros_like(target), everything.explained, everything.left)

    span = _Span.of(references, gram)
    together = _project(span, estimates, cross)
    gaps = np.array([projection.left for projection in alone]) - together.left
    together = _settle(span, estimates, together, gaps.min(axis=0))
    alone = [
        _settle(span, estimates, projection, gap) for span, projection, gap in zip(spans, alone, gaps, strict=True)
    ]
    distortion = np.array([projection.left for projection in alone])
    interference = distortion - together.left
    # So near each other that their difference says little: almost nothing but artifacts.
    for j, e in np.argwhere(interference < 1e-7 * distortion):
        filters = together.filters[e].copy()
        filters[j] -= alone[j].filters[e, 0]
        interference[j, e] = np.sum(span.filter(filters) ** 2)
    target = np.array([projection.explained for projection in alone])
    return Parts(target, distortion, interference, together.explained, together.left)


@dataclasses.dataclass(frozen=True)
class _Span:
    """All delays of some references."""

    references: Float64[ndarray, "references samples"]
    factor: Float64[ndarray, "rows rows"]
    """Lower Cholesky factor of the inner products of the delays, with rows in the order (delay, reference)."""

    @classmethod
    def of(
        cls,
        references: Float64[ndarray, "references samples"],
        gram: Float64[ndarray, "taps references references"],
    ) -> "_Span":
        try:
            return cls(references, block_toeplitz_cholesky(gram).T)
        except np.linalg.LinAlgError:
            return cls(references, _regularized_cholesky(block_toeplitz(gram)))

    def filter(self, filters: Float64[ndarray, "*estimates references taps"]) -> Float64[ndarray, "*estimates longer"]:
        """The sum of the references under their filters, ``samples + taps - 1`` long."""
        samples, taps = self.references.shape[-1], filters.shape[-1]
        size, step = _transform(samples, taps)
        pieces = _spectra(self.references, size, step)
        filtered = fft.irfft(np.einsum("rcf,...rf->...cf", pieces, fft.rfft(filters, size)), size)
        count = filtered.shape[-2]
        total = np.zeros((*filters.shape[:-2], (count - 1) * step + size))
        for index in range(count):
            total[..., index * step : index * step + size] += filtered[..., index, :]
        return total[..., : samples + taps - 1]

    def solve(
        self, inner: Float64[ndarray, "references estimates taps"]
    ) -> tuple[Float64[ndarray, "estimates references taps"], Float64[ndarray, " estimates"]]:
        """Filters of the projections of signals with these inner products, and the energies of the projections."""
        references, estimates, taps = inner.shape
        right_side = inner.transpose(2, 0, 1).reshape(taps * references, estimates)
        half = solve_lower(self.factor, right_side)
        solution = solve_lower(self.factor, half, transposed=True)
        return solution.T.reshape(estimates, taps, references).swapaxes(1, 2), np.sum(half**2, axis=0)


class _Projection(NamedTuple):
    """Of estimates on a span."""

    explained: Float64[ndarray, " estimates"]
    """Energy of the projection."""
    left: Float64[ndarray, " estimates"]
    """Energy of the rest."""
    filters: Float64[ndarray, "estimates references taps"]
    """The projection is the sum of the references under these filters."""


def _project(
    span: _Span,
    estimates: Float64[ndarray, "estimates samples"],
    cross: Float64[ndarray, "references estimates taps"],
) -> _Projection:
    """By Pythagoras."""
    filters, explained = span.solve(cross)
    return _Projection(explained, np.sum(estimates**2, axis=-1) - explained, filters)


def _settle(
    span: _Span,
    estimates: Float64[ndarray, "estimates samples"],
    projection: _Projection,
    gap: Float64[ndarray, " estimates"],
) -> _Projection:
    """Replaces what rounding may have spoiled; ``gap`` is another energy that follows from it as a difference."""
    smallest = np.minimum(np.minimum(projection.explained, projection.left), gap)
    doubtful = _ROUNDING * np.sum(projection.filters**2, axis=(1, 2)) > _RESOLUTION * smallest
    if not doubtful.any():
        return projection
    settled = _Projection(*(part.copy() for part in projection))
    for part, measured in zip(settled, _refine(span, estimates[doubtful], projection.filters[doubtful]), strict=True):
        part[doubtful] = measured
    return settled


def _refine(
    span: _Span,
    estimates: Float64[ndarray, "estimates samples"],
    filters: Float64[ndarray, "estimates references taps"],
) -> _Projection:
    r"""By filtering the references.

    With :math:`g` the inner products of the residual with the delays, and :math:`G` theirs with each other, better
    filters are :math:`G^{-1} g` away and take :math:`g^\top G^{-1} g` more off the residual's energy.
    """
    taps = filters.shape[-1]
    for _ in range(_MOST_REFINEMENTS):
        projection = span.filter(filters)
        residual = np.pad(estimates, [(0, 0), (0, taps - 1)]) - projection
        inner = _correlate(span.references, residual, taps)
        change, gain = span.solve(inner)
        left = np.sum(residual**2, axis=-1)
        explained = np.sum(projection**2, axis=-1) + 2 * np.einsum("ret,ert->e", inner, filters) + gain
        if np.all((gain <= _RESOLUTION * left) | (left <= _NEGLIGIBLE)):
            break
        filters = filters + change
    return _Projection(explained, np.maximum(left - gain, 0), filters)


def _regularized_cholesky(matrix: Float64[ndarray, "n n"]) -> Float64[ndarray, "n n"]:
    """Lower factor of a matrix of unit diagonal that may be singular, after the least addition that cures it."""
    eye = np.eye(len(matrix))
    for ridge in (0.0, *10.0 ** np.arange(-15, 0)):
        try:
            return cholesky(matrix + ridge * eye)
        except np.linalg.LinAlgError:
            continue
    return eye


# --- Correlation and convolution with few taps, by short transforms that stay in cache. ---


def _correlate(
    first: Float64[ndarray, "m samples"], second: Float64[ndarray, "n longer"], lags: int
) -> Float64[ndarray, "m n lags"]:
    """Sums over time of ``first[t] * second[t + lag]``, for lags from 0; the second may be ``lags - 1`` longer."""
    size, step = _transform(first.shape[-1], lags)
    pieces = _spectra(first, size, step)
    reach = pieces.shape[1] * step + lags - 1
    padded = np.pad(second, [(0, 0), (0, max(0, reach - second.shape[-1]))])
    windows = np.lib.stride_tricks.sliding_window_view(padded[:, :reach], size, axis=-1)[:, ::step]
    correlations: ndarray = fft.irfft(np.einsum("mcf,ncf->mnf", pieces.conj(), fft.rfft(windows)), size)
    return correlations[..., :lags]


def _transform(samples: int, taps: int) -> tuple[int, int]:
    """The length of the transforms, and how many samples each takes."""
    size: int = fft.next_fast_len(min(4 * taps, samples + taps - 1), real=True)
    return size, size - taps + 1


def _spectra(
    signals: Float64[ndarray, "n samples"], size: int, step: int
) -> Complex128[ndarray, "n pieces frequencies"]:
    """Transforms of the successive pieces of ``step`` samples, each followed by zeros."""
    count = -(-signals.shape[-1] // step)
    padded = np.pad(signals, [(0, 0), (0, count * step - signals.shape[-1])])
    spectra: ndarray = fft.rfft(padded.reshape(len(signals), count, step), size)
    return spectra
