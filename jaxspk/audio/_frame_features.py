"""Features of the short frames that u-vectors are made of: one small picture, time by frequency, of 0.2 s of sound."""

import dataclasses
import functools
import warnings
from typing import Literal

import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float

from jaxspk import _checks
from jaxspk._numerics import at_least_float32
from jaxspk.audio import _fourier
from jaxspk.audio._features import mel_filterbank
from jaxspk.audio._stft import frame
from jaxspk.errors import ArgumentError


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameFeatureConfig:
    r"""How the picture of a frame is computed.

    Columns start at the first sample and every ``hop_length`` after it, with zeros beyond the last sample, so that
    :math:`\lceil \text{samples} / \text{hop} \rceil` start within the frame; each is windowed (periodic Hann) and
    transformed with zeros up to ``n_fft`` behind it.

    Attributes:
      sample_rate: Hz.
      n_fft: points of the Fourier transform; odd numbers are allowed.
      window_length: samples, at most ``n_fft``.
      hop_length: samples.
      scale: ``"linear"`` keeps the bins of the transform. ``"htk"`` and ``"slaney"`` are the filters of
        :func:`mel_filterbank`; ``"tensorflow"`` has triangles in mel (HTK's formula) over bins spread evenly from 0
        to half the rate, the first of which is left out.
      num_mels: filters, where the scale is not linear.
      power: 1 for magnitudes, 2 for powers.
      offset: positive: the natural logarithm is taken of all, this added; None takes no logarithm.
      normalize: zero mean and unit variance of each picture as a whole. Not of each band: over 0.2 s that would take
        away the colour of the voice.
    """

    sample_rate: int = 16_000
    n_fft: int = 512
    window_length: int = 320
    hop_length: int = 80
    scale: Literal["linear", "tensorflow", "htk", "slaney"] = "slaney"
    num_mels: int = 64
    power: float = 2.0
    offset: float | None = 1e-6
    normalize: bool = True

    def __post_init__(self) -> None:
        _checks.check_range("sample_rate", self.sample_rate, low=1)
        _checks.check_range("n_fft", self.n_fft, low=2)
        _checks.check_range("window_length", self.window_length, low=1, high=self.n_fft)
        _checks.check_range("hop_length", self.hop_length, low=1, high=self.window_length)
        _checks.check_choice("scale", self.scale, ("linear", "tensorflow", "htk", "slaney"))
        _checks.check_range("num_mels", self.num_mels, low=1)
        _checks.check_range("power", self.power, low=0, low_open=True)
        if self.offset is not None:
            _checks.check_range("offset", self.offset, low=0, low_open=True)

    @property
    def bands(self) -> int:
        """Numbers in a column."""
        return self.n_fft // 2 + 1 if self.scale == "linear" else self.num_mels

    def columns(self, samples: int) -> int:
        """Columns of the picture of so many samples."""
        return -(-samples // self.hop_length)


def paper_frame_features() -> FrameFeatureConfig:
    """The settings the paper names: 100 mels of a transform of 191 points, 95 x 100 for 0.2 s; no logarithm.

    The window of 128 samples resolves 125 Hz, so 12 of the 100 filters hold no bin and are zero always.

    References:
      Mridha, Ohi et al., `U-vectors <https://arxiv.org/abs/2102.03868>`_, 2021, section 4.1.
    """
    return dataclasses.replace(released_frame_features(), scale="tensorflow", num_mels=100)


def released_frame_features() -> FrameFeatureConfig:
    """What the code published with the paper computes: linear magnitudes, 95 x 96 for 0.2 s; no logarithm."""
    return FrameFeatureConfig(
        n_fft=191, window_length=128, hop_length=34, scale="linear", power=1.0, offset=None, normalize=False
    )


def clean_frame_features() -> FrameFeatureConfig:
    """No filter empty, logarithm, no influence of the level: 40 x 64 for 0.2 s; the defaults of the class."""
    return FrameFeatureConfig()


def frame_features(
    waveform: Float[Array, "*batch samples"], config: FrameFeatureConfig | None = None
) -> Float[Array, "*batch columns bands"]:
    r"""The picture of each frame, computed on the device.

    .. math:: |X_{tk}|^p = \Bigl|\sum_{m=0}^{w-1} h_m\, x_{t \cdot \text{hop} + m}\, e^{-2 \pi i k m / n}\Bigr|^p

    times the mel filters, then its logarithm, then scaled, each where the configuration says so.

    Args:
      waveform: at least one sample.
      config: None is :func:`clean_frame_features`.

    Returns:
      ``[*batch, ceil(samples / hop_length), bands]``, at least float32, finite always: silence too, and bands whose
      filter is empty.

    Raises:
      ArgumentTypeError: the waveform is not floating.
      ArgumentError: it has no samples.

    Example:
      >>> frame_features(jnp.zeros(3200), released_frame_features()).shape
      (95, 96)
    """
    config = config or clean_frame_features()
    _checks.check_floating("waveform", waveform)
    _checks.check_rank("waveform", waveform, 1, "samples")
    if not waveform.shape[-1]:
        raise ArgumentError("`waveform` must have at least one sample, got none.")
    power = _powers(waveform.astype(at_least_float32(waveform.dtype)), config)
    if config.scale != "linear":
        power = jnp.matmul(power, jnp.asarray(_filters(config), power.dtype), precision="highest")
    if config.offset is not None:
        power = jnp.log(power + config.offset)
    return _standardized(power) if config.normalize else power


def linear_to_mel_filters(
    *, sample_rate: int, bins: int, num_mels: int, low_hz: float = 0.0, high_hz: float | None = None
) -> Float[np.ndarray, "bins mels"]:
    """TensorFlow's mel filters: triangles in mel, not in Hz, over bins spread evenly from 0 to half the rate.

    The last bin counts as half the rate, though that of an odd transform lies below; the first bin is left out.

    Args:
      sample_rate: Hz.
      bins: of the spectrum.
      num_mels: how many filters; some are empty where they are narrower than the bins.
      low_hz: lowest edge.
      high_hz: highest edge, half the rate if None.
    """
    mel = np.log1p(np.linspace(0, sample_rate / 2, bins)[1:, None] / 700)
    lowest, highest = np.log1p(np.array([low_hz, sample_rate / 2 if high_hz is None else high_hz]) / 700)
    edges = np.linspace(lowest, highest, num_mels + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(0, np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)))
    filters: np.ndarray = np.pad(triangles, ((1, 0), (0, 0)))
    return filters


def _powers(
    waveform: Float[Array, "*batch samples"], config: FrameFeatureConfig
) -> Float[Array, "*batch columns bins"]:
    samples = waveform.shape[-1]
    columns = config.columns(samples)
    after = (columns - 1) * config.hop_length + config.window_length - samples
    widths = [(0, 0)] * (waveform.ndim - 1) + [(0, max(after, 0))]
    windowed = frame(jnp.pad(waveform, widths), config.window_length, config.hop_length)[..., :columns, :]
    window = scipy.signal.get_window("hann", config.window_length, fftbins=True)
    spectrum = _fourier.rfft(windowed * jnp.asarray(window, waveform.dtype), config.n_fft)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    if config.power != 2:
        # The root of zero has no finite gradient.
        silent = power == 0
        power = jnp.where(silent, 0, jnp.where(silent, 1, power) ** (config.power / 2))
    return power


def _standardized(picture: Float[Array, "*batch columns bands"]) -> Float[Array, "*batch columns bands"]:
    """Zero mean, unit variance of each; zero where nothing varies."""
    centred = picture - jnp.mean(picture, axis=(-2, -1), keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=(-2, -1), keepdims=True)
    return centred / jnp.sqrt(variance + 1e-5)


@functools.cache
def _filters(config: FrameFeatureConfig) -> np.ndarray:
    """Made, and complained of, once for each configuration."""
    if config.scale == "tensorflow":
        filters = linear_to_mel_filters(
            sample_rate=config.sample_rate, bins=config.n_fft // 2 + 1, num_mels=config.num_mels
        )
    else:
        assert config.scale != "linear"
        filters = mel_filterbank(
            sample_rate=config.sample_rate,
            n_fft=config.n_fft,
            num_mels=config.num_mels,
            scale=config.scale,
            allow_empty=True,
        )
    empty = np.flatnonzero(filters.max(0) == 0)
    if len(empty):
        warnings.warn(
            f"{len(empty)} of {config.num_mels} mel filters hold no bin of a transform of {config.n_fft} points and "
            f"are the same in every frame ({', '.join(map(str, empty))}); take fewer filters or a larger `n_fft`.",
            UserWarning,
            stacklevel=2,
        )
    return filters
