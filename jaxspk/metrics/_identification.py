"""Who of several known people speaks: closed-set identification."""

import numpy as np
from numpy.typing import ArrayLike

from jaxspk.errors import ArgumentError, ArgumentTypeError


def identification_accuracy(scores: ArrayLike, speakers: ArrayLike, *, top: int = 1) -> float:
    """Share of recordings whose own speaker is among the ``top`` best scored.

    Where several speakers score the same, a recording counts with the chance that its own is taken when they are put
    in a random order: no value depends on the order of speakers, and equal scores for all give ``top / speakers``.

    Args:
      scores: ``[recordings, speakers]``, each recording against every known speaker, higher for more similar voices.
      speakers: ``[recordings]``, the number of each recording's own speaker.
      top: from 1 to the number of speakers.

    Raises:
      ArgumentError: shapes or numbers do not fit, a score is not finite, or there is no recording.
      ArgumentTypeError: scores are no real numbers, or speakers no integers.

    Example:
      >>> identification_accuracy([[0.9, 0.1], [0.8, 0.2], [0.5, 0.5]], [0, 1, 1])
      0.5
    """
    values, own = np.asarray(scores), np.asarray(speakers)
    if values.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"`scores` must hold real numbers, got dtype {values.dtype}.")
    if own.dtype.kind not in "iu":
        raise ArgumentTypeError(f"`speakers` must hold integers, got dtype {own.dtype}.")
    if values.ndim != 2 or own.shape != values.shape[:1] or not values.size:
        raise ArgumentError(
            "`scores` and `speakers` must be [recordings, speakers] and [recordings], got shapes "
            f"{values.shape} and {own.shape}."
        )
    if not np.isfinite(values).all():
        raise ArgumentError("`scores` must be finite, got NaN or infinity.")
    if own.min() < 0 or own.max() >= values.shape[1]:
        raise ArgumentError(f"`speakers` must lie in 0..{values.shape[1] - 1}, got {own.min()}..{own.max()}.")
    if not 1 <= top <= values.shape[1]:
        raise ArgumentError(f"`top` must lie in 1..{values.shape[1]}, got {top}.")
    mine = np.take_along_axis(values, own[:, None].astype(np.int64), axis=1)
    better, equal = (values > mine).sum(1), (values == mine).sum(1)
    return float(np.clip((top - better) / equal, 0, 1).mean())
