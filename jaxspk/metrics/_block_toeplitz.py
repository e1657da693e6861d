r"""Symmetric positive definite block-Toeplitz matrices: a Cholesky factor in quadratic instead of cubic time.

Block :math:`(a, b)` of such a matrix depends on :math:`b - a` only, as do the inner products between delayed
signals. Taking the matrix moved down by one block, :math:`Z T Z^\top`, away from itself leaves
:math:`U^\top U - V^\top V` with two block rows :math:`U, V`. Schur's algorithm carries these two rows through
the elimination: move :math:`U` by one block, turn both hyperbolically so that :math:`V` begins with zeros, and
the new :math:`U` is the next block row of the factor.

A few blocks are grouped into one, so that most of the work is one product of matrices a step. The second row is
computed from the new first one (the "mixed" form of a downdate), which keeps the algorithm backward stable but where
the matrix is nearly singular within one group already; the result is therefore checked.

References:
  Kailath and Sayed, *Displacement structure: theory and applications*, SIAM Review 37, 1995; Bojanczyk, Brent
  and de Hoog, *Stability analysis of a general Toeplitz systems solver*, Numerical Algorithms 10, 1995.
"""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.linalg import lapack

_STEP = 8
"""Rows of the factor made at a time, about. Many make fewer calls, but lose more to rounding."""
_TOLERANCE = 1e-13
"""Largest error of the factored matrix, relative to its diagonal, that passes for rounding."""


def block_toeplitz(blocks: Float64[ndarray, "lags channels channels"]) -> Float64[ndarray, "rows rows"]:
    """The whole matrix: block ``(a, b)`` is ``blocks[b - a]``, transposed ``blocks[a - b]`` below the diagonal."""
    return _block_rows(blocks, len(blocks))


def block_toeplitz_cholesky(
    blocks: Float64[ndarray, "lags channels channels"],
) -> Float64[ndarray, "rows rows"]:
    r"""Upper triangular :math:`R` with :math:`R^\top R` the matrix of :func:`block_toeplitz`.

    Args:
      blocks: the first block row; ``blocks[0]`` is symmetric.

    Returns:
      The factor, ``rows = lags * channels``, in row-major order.

    Raises:
      numpy.linalg.LinAlgError: the matrix is not positive definite, or so nearly not that the factor is inaccurate.
    """
    lags, channels, _ = blocks.shape
    # A divisor, so that the grouped blocks still tile the matrix.
    taps = max(taps for taps in range(1, min(lags, max(1, _STEP // channels)) + 1) if lags % taps == 0)
    first = _block_rows(blocks, taps)
    size, rows = first.shape
    factor = np.zeros((rows, rows))
    corner = cholesky(first[:, :size])
    factor[:size] = solve_lower(corner, first)
    factor[:size, :size] = corner.T
    pair = np.concatenate([factor[:size, : rows - size], factor[:size, size:]])
    below = np.tri(size, k=-1, dtype=bool)
    for start in range(size, rows, size):
        upper, lower = _hyperbolic_rotation(pair[:size, :size], pair[size:, :size])
        pair[:size] = upper @ pair
        pair[:size, :size][below] = 0.0  # But for rounding it is.
        factor[start : start + size, start:] = pair[:size]
        pair = np.concatenate([pair[:size, :-size], lower @ pair[:, size:]])
    # Every error is carried into the last block, which a small product shows.
    last = factor[:, -channels:]
    if np.abs(last.T @ last - blocks[0]).max() > _TOLERANCE * np.abs(blocks[0]).max():
        raise np.linalg.LinAlgError("the matrix is too nearly singular")
    return factor


def _block_rows(blocks: ndarray, count: int) -> ndarray:
    """The first ``count`` block rows, ``[count * channels, lags * channels]``."""
    lags, channels, _ = blocks.shape
    both_sides = np.concatenate([blocks[:0:-1].swapaxes(1, 2), blocks])
    delays = np.arange(lags) - np.arange(count)[:, None]
    rows: ndarray = both_sides[delays + lags - 1].swapaxes(1, 2)
    return rows.reshape(count * channels, lags * channels)


def _hyperbolic_rotation(u: ndarray, v: ndarray) -> tuple[ndarray, ndarray]:
    r"""Matrices that make :math:`U' = A\,[U; V]` and then :math:`V' = B\,[U'; V]`, where V' starts with zeros.

    With :math:`K = V_1 U_1^{-1}` of the leading blocks, :math:`L L^\top = I - K^\top K` and
    :math:`M M^\top = I - K K^\top`: :math:`U' = L^{-1}(U - K^\top V)`, :math:`V' = M^\top V - M^{-1} K L U'`,
    which leaves :math:`U^\top U - V^\top V` as it was.
    """
    eye = np.eye(len(u))
    k = solve_lower(u.T, v.T).T
    left, right = cholesky(eye - k.T @ k), cholesky(eye - k @ k.T)
    upper = solve_lower(left, np.concatenate([eye, -k.T], axis=1))
    return upper, np.concatenate([-solve_lower(right, k @ left), right.T], axis=1)


# LAPACK itself: scipy.linalg's and numpy.linalg's checks cost more than the work at these sizes.


def cholesky(matrix: ndarray) -> ndarray:
    """The lower factor."""
    factor: ndarray
    factor, info = lapack.dpotrf(matrix, lower=1, clean=1)
    if info != 0:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    return factor


def solve_lower(triangle: ndarray, right_side: ndarray, *, transposed: bool = False) -> ndarray:
    """Substitution with a lower triangle, or with its transpose."""
    solution: ndarray
    solution, info = lapack.dtrtrs(triangle, right_side, lower=1, trans=int(transposed))
    if info != 0:
        raise np.linalg.LinAlgError("the triangle is singular")
    return solution
