r"""Scores of separated voices, in dB: BSS-eval's SDR, SIR and SAR, and SI-SDR.

All are ratios of energies of parts of an estimate. They compute in float64, do not depend on the scale of the
references or estimates, and agree about silence:

========================  ====================  =============================================================
reference                 estimate              score
========================  ====================  =============================================================
silent                    any                   NaN: there is nothing to recover. ``numpy.nanmean`` leaves it out
not silent                silent                -inf: nothing of it was recovered
not silent                perfect               +inf, or where rounding stands in for zero more than 100
========================  ====================  =============================================================
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.metrics._projections import decompose

_MOST_SOURCES = 8
_TIE_DB = 1e-9
"""Permutations whose mean scores differ by less are equally good."""


class BssEval(NamedTuple):
    """Scores in dB of :func:`bss_eval`, each ``[*batch, sources]``, in the order of the references."""

    sdr: Float64[ndarray, "*batch sources"]
    """Source to distortion: what of the estimate is the reference, against all else."""
    sir: Float64[ndarray, "*batch sources"]
    """Source to interference: against what comes from the other references."""
    sar: Float64[ndarray, "*batch sources"]
    """Sources to artifacts: what comes from any reference, against what comes from none."""
    permutation: Int[ndarray, "*batch sources"]
    """Reference ``j`` is scored against ``estimates[permutation[j]]``."""


def bss_eval(references: ArrayLike, estimates: ArrayLike, *, filter_length: int = 512, permute: bool = True) -> BssEval:
    r"""SDR, SIR and SAR of BSS-eval (version 3, "sources"), with the best permutation.

    An estimate :math:`\hat s`, followed by ``filter_length - 1`` zeros, is projected on the delays 0 to
    ``filter_length - 1`` of one reference, :math:`P_j \hat s`, and on those of all references,
    :math:`P \hat s`. So any causal filter of that length applied to the reference is allowed.

    .. math::
        \text{SDR} = 10 \log_{10} \frac{\|P_j \hat s\|^2}{\|\hat s - P_j \hat s\|^2} \qquad
        \text{SIR} = 10 \log_{10} \frac{\|P_j \hat s\|^2}{\|P \hat s - P_j \hat s\|^2} \qquad
        \text{SAR} = 10 \log_{10} \frac{\|P \hat s\|^2}{\|\hat s - P \hat s\|^2}

    Values are those of ``mir_eval.separation.bss_eval_sources`` to 1e-6 dB, below 100 dB, at a small part of its time:
    the Gram matrix of all delays is block-Toeplitz and factored as such, once for all estimates. They part only where
    mir_eval's own rounding is larger, for references so band-limited that their delays are nearly dependent; there
    its value also changes when the references are scaled, this one does not.

    Args:
      references: the true sources, ``[sources, samples]``, or ``[samples]`` for one; up to 8 with ``permute``. Any
        real dtype; integers are taken as they are.
      estimates: ``[*batch, sources, samples]``; several sets of estimates of the same references share most of the
        work.
      filter_length: in samples.
      permute: takes the permutation with the largest mean SIR, as mir_eval does (the first in lexicographic order
        among equals); otherwise estimate ``j`` is scored against reference ``j``.

    Returns:
      The three scores and the permutation. SIR is +inf for a single source, which nothing interferes with. The
      mixture itself lies in the span of the references: its SAR is above 100. Silence: see the table of this module;
      a silent reference is left out of :math:`P`, and in the choice of the permutation a silent estimate counts
      as -10,000 dB.

    Raises:
      ArgumentError: shapes differ or are empty, or a sample is not finite.
      ArgumentTypeError: samples are not real numbers.

    Example:
      >>> import numpy as np
      >>> sources = np.random.default_rng(0).normal(size=(2, 4000))
      >>> mixture = sources.sum(axis=0)
      >>> bss_eval(sources, sources[::-1] + 0.1 * mixture).permutation
      array([1, 0])

    References:
      Vincent, Gribonval and Févotte, *Performance measurement in blind audio source separation*, IEEE TASLP 14,
      2006; Vincent et al., *The signal separation evaluation campaign (2007-2010)*, Signal Processing 92, 2012.
    """
    true, given = _unit_energy("references", references), _unit_energy("estimates", estimates)
    true = true[None] if true.ndim == 1 else true
    given = given[None] if given.ndim == 1 else given
    if true.ndim != 2 or given.shape[-2:] != true.shape:
        raise ArgumentError(
            "`references` must have shape [sources, samples] and `estimates` [*batch, sources, samples], "
            f"got {np.shape(references)} and {np.shape(estimates)}."
        )
    if not isinstance(filter_length, int | np.integer) or filter_length < 1:
        raise ArgumentError(f"`filter_length` must be a whole number of samples, at least 1, got {filter_length!r}.")
    sources, samples = true.shape
    if permute and sources > _MOST_SOURCES:
        raise ArgumentError(
            f"`references` must hold at most {_MOST_SOURCES} sources to try every permutation, got {sources}: "
            "order the estimates and pass `permute=False`."
        )
    # Every reference against every estimate: [sources, batch, sources].
    scores = np.full((3, sources, given.size // samples), np.nan)
    heard = true.any(axis=1)
    if heard.any():
        parts = decompose(true[heard], given.reshape(-1, samples), int(filter_length))
        scores[0, heard] = _ratio_db(parts.target, parts.distortion)
        scores[1, heard] = _ratio_db(parts.target, parts.interference)
        scores[2, heard] = _ratio_db(parts.explained, parts.artifacts)
    scores = scores.reshape(3, sources, -1, sources).transpose(0, 2, 1, 3)
    permutations = (
        best_permutation(scores[1]) if permute else np.broadcast_to(np.arange(sources), (scores.shape[1], sources))
    )
    chosen = np.take_along_axis(scores, permutations[None, ..., None], axis=-1)[..., 0]
    batch = given.shape[:-2]
    sdr, sir, sar = chosen.reshape(3, *batch, sources)
    return BssEval(sdr, sir, sar, permutations.reshape(*batch, sources))


def si_sdr(references: ArrayLike, estimates: ArrayLike, *, zero_mean: bool = False) -> Float64[ndarray, "*batch"]:
    r"""Scale-invariant signal-to-distortion ratio, in dB.

    .. math::
        10 \log_{10} \frac{\|\alpha s\|^2}{\|\hat s - \alpha s\|^2},\qquad
        \alpha = \frac{\langle \hat s, s \rangle}{\|s\|^2}

    It is symmetric in the two: with :math:`\rho` their correlation it is
    :math:`10 \log_{10} \rho^2 / (1 - \rho^2)`.

    Args:
      references: ``[*batch, samples]``, any real dtype.
      estimates: likewise; the leading axes broadcast, so that
        ``si_sdr(references[:, None], estimates)`` scores every pair.
      zero_mean: takes the mean off both first. Evaluations differ in this; sound has next to none, so it moves the
        score of a recording in its last digits only.

    Returns:
      One score a signal, ``[*batch]``. Silence (a constant too, with ``zero_mean``): see the table of this
      module.

    Raises:
      ArgumentError: shapes do not fit or are empty, or a sample is not finite.
      ArgumentTypeError: samples are not real numbers.

    Example:
      >>> import numpy as np
      >>> reference = np.array([1.0, -1.0, 1.0, -1.0])
      >>> noise = np.array([0.1, 0.1, -0.1, -0.1])
      >>> round(float(si_sdr(reference, 5 * (reference + noise))), 6)
      20.0

    References:
      Le Roux et al., `SDR: half-baked or well done? <https://arxiv.org/abs/1811.02508>`_, ICASSP 2019, eq. (5).
    """
    true = _unit_energy("references", references, zero_mean=zero_mean)
    given = _unit_energy("estimates", estimates, zero_mean=zero_mean)
    if true.shape[-1] != given.shape[-1]:
        raise ArgumentError(
            f"`references` and `estimates` must have as many samples, got {true.shape[-1]} and {given.shape[-1]}."
        )
    try:
        batch = np.broadcast_shapes(true.shape[:-1], given.shape[:-1])
    except ValueError:
        raise ArgumentError(
            "`references` and `estimates` must have leading axes that broadcast, "
            f"got shapes {true.shape} and {given.shape}."
        ) from None
    target = np.sum(true * given, axis=-1, keepdims=True) * true
    scores = _ratio_db(np.sum(target**2, axis=-1), np.sum((given - target) ** 2, axis=-1))
    heard = np.broadcast_to(true.any(axis=-1), batch)
    return np.where(heard, scores, np.nan)


def best_permutation(scores: ArrayLike) -> Int[ndarray, "*batch references"]:
    """Which estimate to take for each reference, for the largest sum of scores.

    Args:
      scores: ``[*batch, references, estimates]``, higher is better; at most 8 of each. NaN counts as 0, infinities
        as 10,000 dB.

    Returns:
      A permutation: ``result[j]`` is the estimate for reference ``j``. Of equally good ones (to 1e-9) it is the
      first in lexicographic order, so it is the identity where the order makes no difference.

    Raises:
      ArgumentError: the last two axes differ or are longer than 8.

    Example:
      >>> import numpy as np
      >>> best_permutation(np.array([[0.0, 9.0], [8.0, 2.0]]))
      array([1, 0])
    """
    table = np.asarray(scores, dtype=np.float64)
    count = table.shape[-1] if table.ndim else 0
    if table.shape[-2:] != (count, count) or not 1 <= count <= _MOST_SOURCES:
        raise ArgumentError(
            f"`scores` must have shape [*batch, n, n] with n from 1 to {_MOST_SOURCES}, got {table.shape}."
        )
    finite = np.nan_to_num(table, nan=0.0, posinf=1e4, neginf=-1e4)
    permutations = np.array(list(itertools.permutations(range(count))))
    means = finite[..., np.arange(count), permutations].mean(axis=-1)
    good = means >= means.max(axis=-1, keepdims=True) - _TIE_DB
    best: ndarray = permutations[np.argmax(good, axis=-1)]
    return best


# --- Shared. ---


def _unit_energy(name: str, signals: ArrayLike, *, zero_mean: bool = False) -> Float64[ndarray, "*batch samples"]:
    """Checked float64 signals, each scaled to unit energy; silence stays silence."""
    try:
        array = np.asarray(signals)
    except ValueError:
        raise ArgumentError(f"`{name}` must be one array, got signals of different lengths.") from None
    if array.dtype.kind == "b" or not np.can_cast(array.dtype, np.float64, "same_kind"):
        raise ArgumentTypeError(f"`{name}` must hold real numbers, got dtype {array.dtype}.")
    if array.ndim == 0 or array.size == 0:
        raise ArgumentError(f"`{name}` must have a last axis of samples and none empty, got shape {array.shape}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ArgumentError(f"`{name}` must be finite, got NaN or infinity: find what made it, or use `np.nan_to_num`.")
    # By the peak first: the energy of the very loud and the very quiet leaves the range of float64.
    array = _divide(array, np.abs(array).max(axis=-1, keepdims=True))
    if zero_mean:
        array = array - array.mean(axis=-1, keepdims=True)
    return _divide(array, np.linalg.norm(array, axis=-1, keepdims=True))


def _divide(array: ndarray, by: ndarray) -> ndarray:
    """The quotient, and 0 where it would be 0 / 0."""
    quotient: ndarray = array / np.where(by == 0, 1.0, by)
    return quotient


def _ratio_db(numerator: ArrayLike, denominator: ArrayLike) -> ndarray:
    """``10 log10`` of a ratio of energies; no energy above is -inf, whatever is below."""
    above, below = np.asarray(numerator), np.asarray(denominator)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0, -np.inf, 10 * np.log10(above / below))
