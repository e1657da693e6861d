"""Scores of pairs of voices from their embeddings, in float64."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk.errors import ArgumentError, ArgumentTypeError


def cosine_scores(enrol: ArrayLike, test: ArrayLike) -> Float64[ndarray, "*batch"]:
    """Cosine of the angle between two embeddings.

    Args:
      enrol: ``[*batch, dim]``, of any length but 0.
      test: ``[*batch, dim]``; batch axes may broadcast.

    Returns:
      ``[*batch]``, from -1 to 1.

    Raises:
      ArgumentError: shapes do not fit, or an embedding is zero or not finite.
      ArgumentTypeError: an argument holds no real numbers.

    Example:
      >>> cosine_scores([[2.0, 0.0]], [[1.0, 0.0], [0.0, 3.0]])
      array([1., 0.])
    """
    a, b = unit_rows("enrol", enrol), unit_rows("test", test)
    _check_fit(a, b, 1)
    return np.asarray(np.einsum("...d,...d->...", a, b))


def crop_distance_scores(enrol: ArrayLike, test: ArrayLike) -> Float64[ndarray, "*batch"]:
    r"""Minus the mean Euclidean distance between the crops of two recordings, all against all.

    .. math:: -\frac{1}{m n} \sum_{a,b} \lVert u_a - v_b \rVert_2

    for embeddings of unit length; the score of *In defence of metric learning* for 10 and 10 crops.

    Args:
      enrol: ``[*batch, crops, dim]``, scaled to unit length.
      test: ``[*batch, crops, dim]``; batch axes may broadcast, the number of crops may differ.

    Returns:
      ``[*batch]``, from -2 to 0.

    Raises:
      ArgumentError: shapes do not fit, or an embedding is zero or not finite.
      ArgumentTypeError: an argument holds no real numbers.

    Example:
      >>> crop_distance_scores([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0]]).round(4).item()
      -0.7071

    References:
      Chung et al., *In defence of metric learning for speaker recognition*, Interspeech 2020, section 4.3.
    """
    a, b = unit_rows("enrol", enrol), unit_rows("test", test)
    _check_fit(a, b, 2)
    # Of unit vectors; rounding may lift the cosine of equal ones above 1.
    distances = np.sqrt(np.maximum(2 - 2 * (a @ np.swapaxes(b, -1, -2)), 0))
    return np.asarray(-distances.mean((-2, -1)))


def unit_rows(name: str, embeddings: ArrayLike) -> Float64[ndarray, "*batch dim"]:
    """Embeddings scaled to unit length, in float64."""
    values = np.asarray(embeddings)
    if values.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"`{name}` must hold real numbers, got dtype {values.dtype}.")
    if values.ndim < 1 or values.shape[-1] < 1:
        raise ArgumentError(f"`{name}` must be [*batch, dim], got shape {values.shape}.")
    values = values.astype(np.float64)
    # Scaled first, so that squares neither overflow nor vanish.
    largest = np.abs(values).max(-1, keepdims=True)
    if not np.isfinite(largest).all() or (largest == 0).any():
        raise ArgumentError(f"`{name}` must hold embeddings that are finite and not zero.")
    values = values / largest
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def _check_fit(a: Float64[ndarray, "..."], b: Float64[ndarray, "..."], axes: int) -> None:
    try:
        if a.ndim < axes or b.ndim < axes or a.shape[-1] != b.shape[-1]:
            raise ValueError
        np.broadcast_shapes(a.shape[:-axes], b.shape[:-axes])
    except ValueError:
        kind = "[*batch, dim]" if axes == 1 else "[*batch, crops, dim]"
        raise ArgumentError(f"`enrol` and `test` must both be {kind}, got shapes {a.shape} and {b.shape}.") from None
