"""Time-frequency masks: ideal ones from known sources, active bins, and their application."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.errors import ArgumentError


def ideal_binary_mask(
    source_spectra: Inexact[Array, "*batch sources frames bins"],
) -> Float[Array, "*batch sources frames bins"]:
    r"""One for the loudest source of each bin, zero for the others.

    .. math:: m_{stk} = [\, s = \arg\max_{s'} |S_{s'tk}| \,]

    Args:
      source_spectra: spectra or magnitudes.

    Returns:
      One-hot along ``sources``, in the real dtype of the spectra. Of equally loud sources the first takes the
      bin, so bins silent in all sources go to source 0; :func:`active_bins` leaves them out.
    """
    magnitudes = _magnitudes("source_spectra", source_spectra)
    loudest = jnp.argmax(magnitudes, axis=-3)
    return jax.nn.one_hot(loudest, magnitudes.shape[-3], axis=-3, dtype=magnitudes.dtype)


def ideal_ratio_mask(
    source_spectra: Inexact[Array, "*batch sources frames bins"], *, exponent: float = 1.0
) -> Float[Array, "*batch sources frames bins"]:
    r"""Each source's share of the bin; the shares sum to one.

    .. math:: m_{stk} = |S_{stk}|^p \Big/ \sum_{s'} |S_{s'tk}|^p

    Args:
      source_spectra: spectra or magnitudes.
      exponent: :math:`p`; 1 shares by magnitude, 2 by power (the Wiener filter of uncorrelated sources).

    Returns:
      In [0, 1], in the real dtype of the spectra; equal shares where all sources are silent.
    """
    _checks.check_range("exponent", exponent, low=0, low_open=True)
    magnitudes = _magnitudes("source_spectra", source_spectra)
    loudest = jnp.max(magnitudes, axis=-3, keepdims=True)
    # Relative to the loudest, so that powers neither over- nor underflow.
    silent = loudest == 0
    relative = jnp.where(silent, jnp.ones_like(magnitudes), magnitudes / jnp.where(silent, 1, loudest))
    powers = relative**exponent
    return powers / jnp.sum(powers, axis=-3, keepdims=True)


def phase_sensitive_mask(
    source_spectra: Complex[Array, "*batch sources frames bins"],
    mixture_spectrum: Complex[Array, "*batch frames bins"],
) -> Float[Array, "*batch sources frames bins"]:
    r"""The real factor that brings the mixture's bin nearest to the source's, kept in [0, 1].

    .. math:: m_{stk} = \mathrm{clip}\left(\mathrm{Re} \frac{S_{stk}}{X_{tk}},\, 0,\, 1\right)

    Returns:
      Zero where the mixture is. The masks of a bin need not sum to one.

    References:
      Erdogan et al., *Phase-sensitive and recognition-boosted speech separation using deep recurrent neural
      networks*, ICASSP 2015, section 3.
    """
    _check_sources("source_spectra", source_spectra, mixture_spectrum)
    mixture = jnp.expand_dims(mixture_spectrum, -3)
    silent = mixture == 0
    ratio = jnp.real(source_spectra / jnp.where(silent, 1, mixture))
    return jnp.clip(jnp.where(silent, 0, ratio), 0, 1)


def active_bins(
    mixture_spectrum: Inexact[Array, "*batch frames bins"],
    source_spectra: Inexact[Array, "*batch sources frames bins"] | None = None,
    *,
    threshold_db: float = 40.0,
    reference: Literal["mixture", "any_source", "every_source"] = "mixture",
) -> Bool[Array, "*batch frames bins"]:
    r"""The bins louder than ``threshold_db`` below the maximum.

    .. math:: a_{tk} = \Big[\, |X_{tk}| > 10^{-\theta/20} \max_{t'k'} |X_{t'k'}| \,\Big]

    The deep clustering paper keeps the bins above −40 dB "relative to the source's maximum" and leaves open
    whether one source must pass or all; public code takes the mixture. ``reference`` says which.

    Args:
      mixture_spectrum: spectrum or magnitudes.
      source_spectra: needed unless ``reference`` is ``"mixture"``.
      threshold_db: :math:`\theta`, positive.
      reference: ``"mixture"``: the mixture against its own maximum. ``"any_source"``, ``"every_source"``:
        each source against its own maximum, and at least one, or all, must pass.

    Returns:
      True where the bin counts. The maximum is that of the utterance, over frames and bins; in silence no bin
      is active.

    References:
      Hershey et al., `Deep clustering <https://arxiv.org/abs/1508.04306>`_, ICASSP 2016, section 3.
    """
    _checks.check_choice("reference", reference, ("mixture", "any_source", "every_source"))
    _checks.check_range("threshold_db", threshold_db, low=0, low_open=True)
    if reference == "mixture":
        return _above_threshold(_magnitudes("mixture_spectrum", mixture_spectrum), threshold_db)
    if source_spectra is None:
        raise ArgumentError(f"`source_spectra` are needed for reference={reference!r}, got None.")
    _check_sources("source_spectra", source_spectra, mixture_spectrum)
    active = _above_threshold(_magnitudes("source_spectra", source_spectra), threshold_db)
    return active.any(-3) if reference == "any_source" else active.all(-3)


def apply_masks(
    mixture_spectrum: Inexact[Array, "*batch frames bins"], masks: Float[Array, "*batch sources frames bins"]
) -> Inexact[Array, "*batch sources frames bins"]:
    """The mixture times each mask; masks that sum to one give sources that sum to the mixture."""
    _check_sources("masks", masks, mixture_spectrum)
    return jnp.expand_dims(mixture_spectrum, -3) * masks.astype(mixture_spectrum.dtype)


def _magnitudes(name: str, spectra: Inexact[Array, "*batch frames bins"]) -> Float[Array, "*batch frames bins"]:
    _checks.check_rank(name, spectra, 2, "frames, bins")
    magnitudes = jnp.abs(spectra)
    return magnitudes.astype(at_least_float32(magnitudes.dtype))


def _above_threshold(
    magnitudes: Float[Array, "*batch frames bins"], threshold_db: float
) -> Bool[Array, "*batch frames bins"]:
    loudest = jnp.max(magnitudes, axis=(-2, -1), keepdims=True)
    return magnitudes > loudest * 10 ** (-threshold_db / 20)


def _check_sources(name: str, spectra: Array, mixture_spectrum: Array) -> None:
    _checks.check_rank(name, spectra, 3, "sources, frames, bins")
    without_sources = (*spectra.shape[:-3], *spectra.shape[-2:])
    if without_sources != mixture_spectrum.shape:
        raise ArgumentError(
            f"`{name}` must have the mixture's shape {mixture_spectrum.shape} with an axis of sources before "
            f"(frames, bins), got {spectra.shape}."
        )
