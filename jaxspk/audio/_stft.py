"""Short-time Fourier transform and its inverse: pure, jittable, differentiable, exact for every length.

Frames of ``n_fft`` samples every ``hop_length``. The waveform is padded with zeros on both sides until every
sample lies in as many frames as any other, so the inverse divides by one number a phase of the hop, never by
almost nothing. Framing and overlap-add are reshapes and sums of shifted blocks of one hop: no gather, no
scatter, forwards or backwards.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.audio import _fourier
from jaxspk.errors import ArgumentError, ArgumentTypeError


def num_frames(samples: int, n_fft: int = 256, hop_length: int = 64) -> int:
    r"""Frames of :func:`stft`: :math:`\lceil s / h \rceil + \lceil n / h \rceil - 1`."""
    return -(-samples // hop_length) + -(-n_fft // hop_length) - 1


def stft(
    waveform: Float[Array, "*batch samples"], *, n_fft: int = 256, hop_length: int = 64
) -> Complex[Array, "*batch frames bins"]:
    r"""Short-time Fourier transform with a periodic square-root Hann window.

    .. math::
        X_{tk} = \sum_{m=0}^{n-1} \sin\left(\frac{\pi m}{n}\right) x_{t h + m - p}\, e^{-2 \pi i k m / n}

    with :math:`n` = ``n_fft``, :math:`h` = ``hop_length``, :math:`p = (\lceil n/h \rceil - 1) h` zeros before
    the first sample, and zero beyond the last.

    Args:
      waveform: at least one sample.
      n_fft: samples a frame. The default, 256 at 8 kHz, is deep clustering's 32 ms.
      hop_length: samples from frame to frame, at most ``n_fft // 2`` so that the inverse is well conditioned.

    Returns:
      ``[*batch, num_frames(samples, n_fft, hop_length), n_fft // 2 + 1]``, complex64, or complex128 for
      float64.

    Raises:
      ArgumentTypeError: ``waveform`` is not floating.
      ArgumentError: no samples, or sizes outside the ranges above.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(1000.0) / 1000
      >>> stft(x).shape
      (19, 129)
      >>> bool(jnp.abs(istft(stft(x), length=1000) - x).max() < 1e-6)
      True
    """
    _checks.check_floating("waveform", waveform)
    _checks.check_rank("waveform", waveform, 1, "samples")
    _check_sizes(n_fft, hop_length)
    samples = waveform.shape[-1]
    if samples == 0:
        raise ArgumentError("`waveform` must have at least one sample, got none.")
    waveform = waveform.astype(at_least_float32(waveform.dtype))
    overlap = _blocks_a_frame(n_fft, hop_length)
    frames = num_frames(samples, n_fft, hop_length)
    before = (overlap - 1) * hop_length
    after = (frames + overlap - 1) * hop_length - before - samples
    padded = jnp.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(before, after)])
    window = jnp.asarray(_root_hann(n_fft), waveform.dtype)
    return _fourier.rfft(frame(padded, n_fft, hop_length) * window)


def istft(
    spectrum: Complex[Array, "*batch frames bins"], *, n_fft: int = 256, hop_length: int = 64, length: int
) -> Float[Array, "*batch samples"]:
    r"""Inverse of :func:`stft`; of any other spectrum, the waveform whose STFT is nearest in squares.

    .. math::
        x_j = \frac{\sum_t w_{j + p - t h}\, y_{t, j + p - t h}}{\sum_t w_{j + p - t h}^2},
        \qquad y_t = \mathrm{irfft}(X_t), \quad w_m = \sin(\pi m / n)

    Args:
      spectrum: as :func:`stft` lays it out.
      n_fft: as in :func:`stft`.
      hop_length: as in :func:`stft`.
      length: samples of the waveform; ``num_frames(length, n_fft, hop_length)`` must be the number of frames.

    Returns:
      ``[*batch, length]``, float32, or float64 for complex128.

    Raises:
      ArgumentTypeError: ``spectrum`` is not complex.
      ArgumentError: frames or bins do not fit ``length`` and ``n_fft``.

    References:
      Griffin and Lim, *Signal estimation from modified short-time Fourier transform*, 1984, eq. (6).
    """
    _checks.check_rank("spectrum", spectrum, 2, "frames, bins")
    _check_sizes(n_fft, hop_length)
    if not jnp.issubdtype(spectrum.dtype, jnp.complexfloating):
        raise ArgumentTypeError(
            f"`spectrum` must be complex, got dtype {spectrum.dtype}; apply masks to the complex mixture."
        )
    frames, bins = spectrum.shape[-2:]
    if bins != n_fft // 2 + 1:
        raise ArgumentError(f"`spectrum` must have n_fft // 2 + 1 = {n_fft // 2 + 1} bins, got {bins}.")
    if length < 1 or frames != num_frames(length, n_fft, hop_length):
        raise ArgumentError(
            f"`length` = {length} needs {num_frames(length, n_fft, hop_length)} frames, `spectrum` has "
            f"{frames}; give the length of the waveform that was transformed."
        )
    before = (_blocks_a_frame(n_fft, hop_length) - 1) * hop_length
    frames_of_waveform = _fourier.irfft(spectrum, n_fft)
    window = jnp.asarray(_synthesis_window(n_fft, hop_length), frames_of_waveform.dtype)
    return _overlap_add(frames_of_waveform * window, hop_length)[..., before : before + length]


def frame(
    waveform: Float[Array, "*batch samples"], frame_length: int, hop_length: int
) -> Float[Array, "*batch frames frame_length"]:
    """All whole frames of ``frame_length`` samples, one every ``hop_length``; at least one must fit.

    The waveform is cut into blocks of one hop; block ``r`` of every frame is the run of blocks from ``r`` on.
    """
    *batch, samples = waveform.shape
    frames = 1 + (samples - frame_length) // hop_length
    overlap = _blocks_a_frame(frame_length, hop_length)
    total = (frames + overlap - 1) * hop_length
    if total > samples:
        waveform = jnp.pad(waveform, [(0, 0)] * len(batch) + [(0, total - samples)])
    blocks = waveform[..., :total].reshape(*batch, -1, hop_length)
    shifted = [blocks[..., start : start + frames, :] for start in range(overlap)]
    return jnp.concatenate(shifted, axis=-1)[..., :frame_length]


def _overlap_add(frames: Float[Array, "*batch frames frame_length"], hop_length: int) -> Float[Array, "*batch samples"]:
    """The transpose of :func:`frame`."""
    *batch, count, frame_length = frames.shape
    overlap = _blocks_a_frame(frame_length, hop_length)
    still = [(0, 0)] * len(batch)
    frames = jnp.pad(frames, [*still, (0, 0), (0, overlap * hop_length - frame_length)])
    blocks = frames.reshape(*batch, count, overlap, hop_length)
    shifted = [
        jnp.pad(blocks[..., start, :], [*still, (start, overlap - 1 - start), (0, 0)]) for start in range(overlap)
    ]
    return functools.reduce(jnp.add, shifted).reshape(*batch, -1)


def _blocks_a_frame(frame_length: int, hop_length: int) -> int:
    return -(-frame_length // hop_length)


def _root_hann(n_fft: int) -> np.ndarray:
    """The square root of the periodic Hann window is half a sine."""
    return np.sin(np.pi * np.arange(n_fft) / n_fft)


def _synthesis_window(n_fft: int, hop_length: int) -> np.ndarray:
    """The window over the sum of its squares in all frames of a sample, which repeats with the hop.

    Where the hop divides ``n_fft`` the sum is ``n_fft / (2 * hop_length)`` everywhere; it is never below
    about 1.
    """
    window = _root_hann(n_fft)
    overlap = _blocks_a_frame(n_fft, hop_length)
    squares = np.pad(window**2, (0, overlap * hop_length - n_fft)).reshape(overlap, hop_length).sum(0)
    return np.asarray(window / np.tile(squares, overlap)[:n_fft])


def _check_sizes(n_fft: int, hop_length: int) -> None:
    _checks.check_range("n_fft", n_fft, low=2)
    _checks.check_range("hop_length", hop_length, low=1, high=n_fft // 2)
