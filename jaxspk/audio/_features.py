"""Features of waveforms and spectra for the networks: logarithmic magnitudes, mel spectra, cepstra."""

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float, Inexact

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.audio import _fourier
from jaxspk.audio._stft import frame
from jaxspk.errors import ArgumentError


def log_magnitude(
    spectrum: Inexact[Array, "*batch frames bins"], *, floor_db: float = 60.0
) -> Float[Array, "*batch frames bins"]:
    r"""Natural logarithm of the magnitudes, floored relative to the utterance's loudest bin.

    .. math:: \ln \max\left(|X_{tk}|,\ 10^{-\text{floor}/20} \max_{t'k'} |X_{t'k'}|\right)

    Args:
      spectrum: spectrum or magnitudes.
      floor_db: how far below the maximum the floor lies, positive. An absolute floor would let the level of a
        recording decide what is seen of it.

    Returns:
      Finite always, at least float32: silence becomes the logarithm of the dtype's least normal number. Where
      the floor holds a bin, its gradient goes to the loudest one.
    """
    _checks.check_rank("spectrum", spectrum, 2, "frames, bins")
    _checks.check_range("floor_db", floor_db, low=0, low_open=True)
    magnitudes = jnp.abs(spectrum)
    magnitudes = magnitudes.astype(at_least_float32(magnitudes.dtype))
    floor = jnp.max(magnitudes, axis=(-2, -1), keepdims=True) * 10 ** (-floor_db / 20)
    return jnp.log(jnp.maximum(jnp.maximum(magnitudes, floor), float(np.finfo(magnitudes.dtype).tiny)))


def pre_emphasis(
    waveform: Float[Array, "*batch samples"],
    *,
    coefficient: float = 0.97,
    before: Literal["zero", "repeat", "reflect"] = "zero",
) -> Float[Array, "*batch samples"]:
    r"""Lifts the high frequencies: :math:`y_n = x_n - a\, x_{n-1}`.

    Args:
      waveform: at least one sample, for ``"reflect"`` two.
      coefficient: :math:`a`, in [0, 1].
      before: what stands for :math:`x_{-1}`: 0, :math:`x_0`, or :math:`x_1` (as the VoxCeleb trainer has it).

    Returns:
      The same shape and dtype.
    """
    _checks.check_floating("waveform", waveform)
    _checks.check_rank("waveform", waveform, 1, "samples")
    _checks.check_range("coefficient", coefficient, low=0, high=1)
    _checks.check_choice("before", before, ("zero", "repeat", "reflect"))
    least = 2 if before == "reflect" else 1
    if waveform.shape[-1] < least:
        raise ArgumentError(f"`waveform` must have at least {least} sample(s), got {waveform.shape[-1]}.")
    first = {
        "zero": jnp.zeros_like(waveform[..., :1]),
        "repeat": waveform[..., :1],
        "reflect": waveform[..., 1:2],
    }
    return waveform - coefficient * jnp.concatenate([first[before], waveform[..., :-1]], axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MelConfig:
    r"""How mel spectra are computed. The defaults are those of the VoxCeleb trainer's front end at 16 kHz.

    Attributes:
      sample_rate: Hz.
      n_fft: points of the Fourier transform.
      window_length: samples of the periodic window, at most ``n_fft``; centred in it.
      hop_length: samples from frame to frame.
      window: ``"hamming"`` or ``"hann"``.
      power: exponent of the magnitudes before the filters, 2 for power and 1 for magnitude.
      num_mels: how many filters.
      low_hz: lower edge of the lowest filter.
      high_hz: upper edge of the highest; None is half the sample rate.
      scale: ``"htk"``, :math:`2595 \log_{10}(1 + f/700)`, or ``"slaney"``, linear below 1 kHz, logarithmic
        above.
      norm: ``"slaney"`` divides each filter by half its width in Hz, so that white noise is flat; None has
        peaks of 1.
      padding: by half a transform on both sides, ``"reflect"`` or ``"zero"``, so that frame t is centred on
        sample ``t * hop_length``; ``"none"`` takes whole frames only.
    """

    sample_rate: int = 16_000
    n_fft: int = 512
    window_length: int = 400
    hop_length: int = 160
    window: Literal["hamming", "hann"] = "hamming"
    power: float = 2.0
    num_mels: int = 40
    low_hz: float = 0.0
    high_hz: float | None = None
    scale: Literal["htk", "slaney"] = "htk"
    norm: Literal["slaney"] | None = None
    padding: Literal["reflect", "zero", "none"] = "reflect"

    def __post_init__(self) -> None:
        _checks.check_range("sample_rate", self.sample_rate, low=1)
        _checks.check_range("n_fft", self.n_fft, low=2)
        _checks.check_range("window_length", self.window_length, low=1, high=self.n_fft)
        _checks.check_range("hop_length", self.hop_length, low=1)
        _checks.check_choice("window", self.window, ("hamming", "hann"))
        _checks.check_range("power", self.power, low=0, low_open=True)
        _checks.check_choice("padding", self.padding, ("reflect", "zero", "none"))


def mel_filterbank(
    *,
    sample_rate: int,
    n_fft: int,
    num_mels: int,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    scale: Literal["htk", "slaney"] = "htk",
    norm: Literal["slaney"] | None = None,
    allow_empty: bool = False,
) -> Float[np.ndarray, "bins mels"]:
    """Triangular filters spaced equally in mel; a power spectrum times this matrix is a mel spectrum.

    Args:
      sample_rate: Hz.
      n_fft: points of the Fourier transform.
      num_mels: how many filters.
      low_hz: as in :class:`MelConfig`.
      high_hz: as in :class:`MelConfig`.
      scale: as in :class:`MelConfig`.
      norm: as in :class:`MelConfig`.
      allow_empty: let filters pass that are so narrow that they hold no bin and are zero always.

    Returns:
      ``[n_fft // 2 + 1, num_mels]``, float64.

    Raises:
      ArgumentError: the edges do not ascend within half the sample rate, or filters are empty.
    """
    nyquist = sample_rate / 2
    high_hz = nyquist if high_hz is None else high_hz
    _checks.check_range("num_mels", num_mels, low=1)
    _checks.check_range("high_hz", high_hz, low=0, high=nyquist, low_open=True)
    _checks.check_range("low_hz", low_hz, low=0, high=np.nextafter(high_hz, 0))
    _checks.check_choice("scale", scale, tuple(_SCALES))
    _checks.check_choice("norm", norm, ("slaney", None))
    to_mel, to_hz = _SCALES[scale]
    lowest, highest = to_mel(np.array([low_hz, high_hz]))
    edges = to_hz(np.linspace(lowest, highest, num_mels + 2))
    frequencies = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (centre - low)
    falling = (high - frequencies[:, None]) / (high - centre)
    filters: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    empty = int(np.count_nonzero(filters.max(0) == 0))
    if empty and not allow_empty:
        raise ArgumentError(
            f"{empty} of {num_mels} mel filters hold no bin of a transform of {n_fft} points at "
            f"{sample_rate} Hz; take fewer filters, a larger `n_fft`, or `allow_empty=True`."
        )
    return filters * (2 / (high - low)) if norm == "slaney" else filters


def mel_spectrogram(
    waveform: Float[Array, "*batch samples"], config: MelConfig | None = None
) -> Float[Array, "*batch frames mels"]:
    r"""Mel spectrum: :math:`\sum_k F_{km} |X_{tk}|^p`, with :math:`F` of :func:`mel_filterbank`.

    Args:
      waveform: long enough for one frame; for reflection more than ``n_fft // 2`` samples.
      config: None is ``MelConfig()``.

    Returns:
      Non-negative, at least float32; ``1 + samples // hop_length`` frames when padded (even ``n_fft``).

    Raises:
      ArgumentError: the waveform is too short.
    """
    config = config or MelConfig()
    spectrum = spectrogram(waveform, config)
    return jnp.matmul(spectrum, jnp.asarray(_filters(config), spectrum.dtype), precision="highest")


def spectrogram(
    waveform: Float[Array, "*batch samples"], config: MelConfig | None = None
) -> Float[Array, "*batch frames bins"]:
    r"""What the mel filters are applied to: :math:`|X_{tk}|^p`, each frame windowed and transformed.

    Args:
      waveform: as in :func:`mel_spectrogram`.
      config: as in :func:`mel_spectrogram`; its filters are not used.

    Returns:
      Non-negative, at least float32, ``n_fft // 2 + 1`` bins.

    Raises:
      ArgumentError: the waveform is too short.
    """
    config = config or MelConfig()
    _checks.check_floating("waveform", waveform)
    _checks.check_rank("waveform", waveform, 1, "samples")
    waveform = _padded(waveform.astype(at_least_float32(waveform.dtype)), config)
    frames = frame(waveform, config.n_fft, config.hop_length) * jnp.asarray(_window(config), waveform.dtype)
    spectrum = _fourier.rfft(frames)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    if config.power != 2:
        # The root of zero has no finite gradient.
        silent = power == 0
        power = jnp.where(silent, 0, jnp.where(silent, 1, power) ** (config.power / 2))
    return power


def log_mel(
    waveform: Float[Array, "*batch samples"], config: MelConfig | None = None, *, offset: float = 1e-6
) -> Float[Array, "*batch frames mels"]:
    r"""Natural logarithm of the mel spectrum: :math:`\ln(M_{tm} + \varepsilon)`.

    Args:
      waveform: as in :func:`mel_spectrogram`.
      config: as in :func:`mel_spectrogram`.
      offset: :math:`\varepsilon`, positive; the VoxCeleb trainer's for waveforms of full scale 1.

    Returns:
      As :func:`mel_spectrogram`, finite always.
    """
    _checks.check_range("offset", offset, low=0, low_open=True)
    return jnp.log(mel_spectrogram(waveform, config) + offset)


def mfcc(
    waveform: Float[Array, "*batch samples"],
    config: MelConfig | None = None,
    *,
    num_coefficients: int = 20,
    lifter: float = 0.0,
    offset: float = 1e-6,
) -> Float[Array, "*batch frames coefficients"]:
    r"""Mel-frequency cepstral coefficients: the orthonormal cosine transform (DCT-II) of :func:`log_mel`.

    .. math:: c_{tn} = \left(1 + \tfrac{L}{2} \sin\tfrac{\pi (n + 1)}{L}\right) \sqrt{\tfrac{2 - [n = 0]}{M}}
        \sum_{m=0}^{M-1} \ln(M_{tm} + \varepsilon) \cos\tfrac{\pi n (2m + 1)}{2M}

    Args:
      waveform: as in :func:`mel_spectrogram`.
      config: as in :func:`mel_spectrogram`.
      num_coefficients: how many, from the 0th on (the level), at most ``num_mels``.
      lifter: :math:`L`; 0 leaves the first factor out.
      offset: :math:`\varepsilon`.

    Returns:
      ``[*batch, frames, num_coefficients]``, finite always. Natural logarithms: toolkits that take decibels
      have values :math:`10 / \ln 10` times as large.
    """
    config = config or MelConfig()
    _checks.check_range("num_coefficients", num_coefficients, low=1, high=config.num_mels)
    _checks.check_range("lifter", lifter, low=0)
    features = log_mel(waveform, config, offset=offset)
    transform = _cosines(config.num_mels, num_coefficients)
    if lifter:
        transform = transform * (1 + lifter / 2 * np.sin(np.pi * np.arange(1, num_coefficients + 1) / lifter))
    return jnp.matmul(features, jnp.asarray(transform, features.dtype), precision="highest")


def _padded(waveform: Float[Array, "*batch samples"], config: MelConfig) -> Float[Array, "*batch padded"]:
    half = 0 if config.padding == "none" else config.n_fft // 2
    needed = {"reflect": half + 1, "zero": 1, "none": config.n_fft}[config.padding]
    if waveform.shape[-1] < needed:
        raise ArgumentError(
            f"`waveform` must have at least {needed} samples for n_fft={config.n_fft} and "
            f"padding={config.padding!r}, got {waveform.shape[-1]}."
        )
    widths = [(0, 0)] * (waveform.ndim - 1) + [(half, half)]
    return jnp.pad(waveform, widths, mode="reflect" if config.padding == "reflect" else "constant")


@functools.cache
def _window(config: MelConfig) -> np.ndarray:
    """Centred in the transform."""
    window = scipy.signal.get_window(config.window, config.window_length, fftbins=True)
    before = (config.n_fft - config.window_length) // 2
    padded: np.ndarray = np.pad(window, (before, config.n_fft - config.window_length - before))
    return padded


@functools.cache
def _filters(config: MelConfig) -> np.ndarray:
    return mel_filterbank(
        sample_rate=config.sample_rate,
        n_fft=config.n_fft,
        num_mels=config.num_mels,
        low_hz=config.low_hz,
        high_hz=config.high_hz,
        scale=config.scale,
        norm=config.norm,
    )


def _cosines(inputs: int, outputs: int) -> np.ndarray:
    """The orthonormal DCT-II as a matrix ``[inputs, outputs]``."""
    n, m = np.arange(outputs), np.arange(inputs)[:, None]
    scale = np.sqrt(np.where(n == 0, 1, 2) / inputs)
    return scale * np.cos(np.pi * n * (2 * m + 1) / (2 * inputs))


def _htk_mel(hz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hz / 700)


def _htk_hz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)


# Slaney's Auditory Toolbox: 15 mel a kilohertz up to 1 kHz; above, 27 mel for a factor of 6.4.
_OCTAVES = np.log(6.4) / 27


def _slaney_mel(hz: np.ndarray) -> np.ndarray:
    return np.where(hz < 1000, hz * 0.015, 15 + np.log(np.maximum(hz, 1000) / 1000) / _OCTAVES)


def _slaney_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel / 0.015, 1000 * np.exp(_OCTAVES * (np.maximum(mel, 15) - 15)))


_SCALES = {"htk": (_htk_mel, _htk_hz), "slaney": (_slaney_mel, _slaney_hz)}
