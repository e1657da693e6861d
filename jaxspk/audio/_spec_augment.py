"""SpecAugment: stretches of time and of frequency blanked out at random, on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxspk import _checks


def spec_augment(
    features: Float[Array, "*batch frames bins"],
    key: PRNGKeyArray,
    *,
    time_masks: int = 2,
    time_width: int = 10,
    band_masks: int = 2,
    band_width: int = 4,
    where: Bool[Array, "*batch frames"] | None = None,
) -> Float[Array, "*batch frames bins"]:
    r"""Sets random runs of frames and random runs of bins to zero, other ones in every utterance.

    A run has a width uniform in :math:`\{0, \dots, W\}`, or up to the whole utterance where that is less, and starts
    anywhere it fits with equal chance. Runs may overlap. Zero is the mean of normalised features: normalise first.

    Args:
      features: floating, of any scale.
      key: decides all, a key of :func:`jax.random.key`.
      time_masks: runs of frames; 0 masks none.
      time_width: frames in a run, at most.
      band_masks: runs of bins; 0 masks none.
      band_width: bins in a run, at most.
      where: the frames that belong to each utterance, these first; runs of frames lie among them. None is all.

    Returns:
      The same shape and dtype.

    Raises:
      ArgumentError: a number is negative, or a shape does not fit.
      ArgumentTypeError: ``features`` are not floating.

    References:
      Park et al., *SpecAugment: a simple data augmentation method for automatic speech recognition*, Interspeech
      2019, section 2, without the warping of time.
    """
    _checks.check_floating("features", features)
    _checks.check_rank("features", features, 2, "frames, bins")
    for name, number in (
        ("time_masks", time_masks),
        ("time_width", time_width),
        ("band_masks", band_masks),
        ("band_width", band_width),
    ):
        _checks.check_range(name, number, low=0)
    *batch, frames, bins = features.shape
    if where is None:
        lengths = jnp.full(batch, frames)
    else:
        _checks.check_shape("where", where, features.shape[:-1], "the frames of `features`")
        lengths = jnp.sum(where, axis=-1)
    time_key, band_key = jax.random.split(key)
    blank_frames = _runs(time_key, lengths, frames, time_masks, time_width)
    blank_bins = _runs(band_key, jnp.full(batch, bins), bins, band_masks, band_width)
    blank = blank_frames[..., :, None] | blank_bins[..., None, :]
    return jnp.where(blank, jnp.zeros((), features.dtype), features)


def _runs(
    key: PRNGKeyArray, lengths: Int[Array, "*batch"], size: int, count: int, width: int
) -> Bool[Array, "*batch size"]:
    """Which of ``size`` places lie in one of so many runs among the first ``lengths``."""
    width_draws, start_draws = jax.random.uniform(key, (2, *lengths.shape, count), jnp.float32)
    longest = lengths[..., None]
    widths = _below(width_draws, jnp.minimum(width, longest) + 1)
    starts = _below(start_draws, longest - widths + 1)
    places = jnp.arange(size)
    inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
    return jnp.any(inside, axis=-2)


def _below(draws: Float[Array, "*draws"], bounds: Int[Array, "*bounds"]) -> Int[Array, "*draws"]:
    """Integers from 0 to below the bounds, of draws from [0, 1); compiles faster than ``randint``."""
    return jnp.floor(draws * bounds.astype(draws.dtype)).astype(jnp.int32)
