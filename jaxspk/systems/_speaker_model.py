"""Speaker embeddings: configuration, features and network on waveforms, storage.

Chung et al., "In defence of metric learning for speaker recognition", Interspeech 2020 (C20): one network, any
objective, a vector per recording.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxspk import _checks, _numerics, audio, models
from jaxspk.systems._storage import load_with_config, save_with_config
from jaxspk.training import may_change

SYSTEM = "metric_learning"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BandConfig:
    """The network's view of a recording. The defaults are C20's: 40 mel bands, 25 ms windows, 10 ms hop."""

    kind: Literal["mel", "spectrum"] = "mel"
    """Mel bands, or every bin of the transform (the thin ResNet-34 of C20, with ``mel.power`` 1)."""
    mel: audio.MelConfig = audio.MelConfig()
    """Rate, window and filters."""
    logarithm: bool = True
    """Take the natural logarithm, ``offset`` added."""
    offset: float = 1e-6
    """Of waveforms of full scale 1."""
    pre_emphasis: float = 0.0
    """Coefficient of the difference that lifts high frequencies; 0.97 in the later recipe."""
    normalize: Literal["bands", "recording", "none"] = "bands"
    """Zero mean and unit variance of each band (C20: microphones and rooms are taken out, and with them what a voice
    sounds like on the average), or of all of them together (the level is taken out)."""

    @property
    def bands(self) -> int:
        """Numbers in a frame."""
        return self.mel.num_mels if self.kind == "mel" else self.mel.n_fft // 2 + 1

    @property
    def border(self) -> int:
        """Samples that are reflected at both ends, so that frames are centred."""
        return 0 if self.mel.padding == "none" else self.mel.n_fft // 2

    def samples(self, seconds: float) -> int:
        """Of a duration."""
        return round(seconds * self.mel.sample_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The network from bands to a vector."""

    network: Literal["fast_resnet34", "thin_resnet34", "half_resnet34", "vgg_m_40", "tdnn"] = "fast_resnet34"
    """Fast, thin and half ("V2") ResNet-34 with squeeze and excitation, VGG-M-40, or a time-delay network, which is
    the quickest to train on a CPU."""
    dim: int = 512
    """Length of an embedding."""
    pooling: Literal["tap", "sap", "asp"] = "sap"
    """From frames to one vector: their mean, their mean by self-attention, or mean and deviation by attention."""
    width: int | None = None
    """Channels of the first stage; None takes the network's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackEndConfig:
    """What follows the trained network: a map in closed form, see :func:`fit_back_end`."""

    statistics: bool = True
    """Mean and deviation of each band over the recording stand beside the network's vector. They say nothing where
    bands are normalised one by one."""
    shrinkage: float = 0.1
    """Share of the mean variance within a speaker that is added to every variance."""
    crop_seconds: tuple[float, ...] = (3.0, 1.5)
    """Crops that it is fitted to beside whole recordings, three of each length: short recordings vary more."""
    equalized: int = 2
    """Copies of each recording that it is fitted to, each through a random filter: microphones differ."""
    equalizer_db: float = 5.0
    """Deviation of the filters' gains."""
    seed: int = 0
    """Of the filters."""

    def __post_init__(self) -> None:
        _checks.check_range("shrinkage", self.shrinkage, low=0.0, low_open=True)
        for seconds in self.crop_seconds:
            _checks.check_range("crop_seconds", seconds, low=0.1)
        _checks.check_range("equalized", self.equalized, low=0, high=100)
        _checks.check_range("equalizer_db", self.equalizer_db, low=0.0, high=60.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakerConfig:
    """Everything that makes a speaker encoder what it is; saved beside its weights."""

    features: BandConfig = BandConfig()
    encoder: EncoderConfig = EncoderConfig()
    back_end: BackEndConfig | None = may_change(None)
    """None leaves the network's vectors as they are."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        statistics = self.back_end is not None and self.back_end.statistics
        return self.encoder.dim + (2 * self.features.bands if statistics else 0)


class Fitted(nnx.Variable[Array]):
    """An array found in closed form; no optimiser moves it."""


class BackEnd(nnx.Module):
    r"""Vectors in coordinates in which all speakers vary equally in all directions: :math:`y = (x - m) P`.

    Attributes:
      centre: :math:`m`, ``[dim]``.
      projection: :math:`P`, ``[dim, dim]``.
    """

    def __init__(self, dim: int) -> None:
        """Changes nothing yet."""
        self.centre = Fitted(jnp.zeros(dim))
        self.projection = Fitted(jnp.eye(dim))

    def __call__(self, vectors: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """The mapped vectors."""
        return (vectors - self.centre[...]) @ self.projection[...]


class SpeakerModel(nnx.Module):
    """From waveforms to one embedding a recording, not scaled to any length.

    Attributes:
      network: from bands to a vector; all that is trained.
      back_end: what is made of the vector, or None.
    """

    def __init__(self, config: SpeakerConfig, *, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.features = config.features
        encoder = config.encoder
        width = {} if encoder.width is None else {"width": encoder.width}
        self.network = models.SPEAKER_NETWORKS[encoder.network](
            config.features.bands, dim=encoder.dim, pooling=encoder.pooling, rngs=rngs, **width
        )
        self.statistics = config.back_end is not None and config.back_end.statistics
        self.back_end = nnx.data(None if config.back_end is None else BackEnd(config.dim))

    def __call__(
        self,
        waveform: Float[Array, "batch samples"],
        *,
        deterministic: bool = True,
        transform: Any = None,
    ) -> Float[Array, "batch dim"]:
        """The network's vectors of recordings of one length, as they are trained.

        Args:
          waveform: at the rate of the configuration.
          deterministic: False takes batch norm's statistics from the batch.
          transform: a function of the bands, for SpecAugment.
        """
        bands = speech_bands(waveform, self.features)
        bands = bands if transform is None else transform(bands)
        embeddings: Array = self.network(bands, deterministic=deterministic)
        return embeddings

    def embed(self, waveform: Float[Array, "batch samples"]) -> Float[Array, "batch dim"]:
        """Embeddings of recordings of one length, by network and back end."""
        return self._embed(speech_bands(waveform, self.features))

    def embed_bordered(
        self, waveform: Float[Array, "batch bordered"], samples: Int[Array, " batch"]
    ) -> Float[Array, "batch dim"]:
        """Embeddings of recordings of several lengths, each with its reflected borders, zeros after.

        Args:
          waveform: as :func:`with_border` makes it, padded to one length.
          samples: lengths without borders.
        """
        config = self.features
        # What with_border has done is not done again.
        unpadded = dataclasses.replace(config, mel=dataclasses.replace(config.mel, padding="none"), pre_emphasis=0.0)
        valid = samples if config.border else samples - config.mel.n_fft
        frames_mask = _frames_within(valid, waveform.shape[-1], config)
        return self._embed(speech_bands(waveform, unpadded, where=frames_mask), frames_mask)

    def _embed(
        self, bands: Float[Array, "batch frames bands"], frames_mask: Bool[Array, "batch frames"] | None = None
    ) -> Float[Array, "batch dim"]:
        vectors: Array = self.network(bands, frames_mask=frames_mask)
        if self.back_end is None:
            return vectors
        vectors = _numerics.normalize(vectors)
        if self.statistics:
            # Of bands normalised together the squares of these add up to the number of bands: the same weight always.
            statistics = band_statistics(bands, frames_mask) / np.sqrt(bands.shape[-1])
            vectors = _numerics.normalize(jnp.concatenate([vectors, statistics], axis=-1))
        mapped: Array = self.back_end(vectors)
        return mapped


def speech_bands(
    waveform: Float[Array, "*batch samples"],
    config: BandConfig,
    *,
    where: Bool[Array, "*batch frames"] | None = None,
) -> Float[Array, "*batch frames bands"]:
    """What the network hears, computed on the device.

    Args:
      waveform: at the rate of the configuration.
      config: names the features.
      where: the frames that belong to the recordings; None is all. Others come out as zero if bands are normalised.
    """
    if config.pre_emphasis:
        waveform = audio.pre_emphasis(waveform, coefficient=config.pre_emphasis, before="reflect")
    compute = audio.mel_spectrogram if config.kind == "mel" else audio.spectrogram
    bands = compute(waveform, config.mel)
    if config.logarithm:
        bands = jnp.log(bands + config.offset)
    if config.normalize == "none":
        return bands
    return (audio.normalize_bands if config.normalize == "bands" else audio.normalize_utterance)(bands, where)


def band_statistics(
    bands: Float[Array, "*batch frames bands"], where: Bool[Array, "*batch frames"] | None = None
) -> Float[Array, "*batch statistics"]:
    """Mean and standard deviation of each band over the frames, side by side."""
    inside = jnp.ones(bands.shape[:-1], bool) if where is None else where
    count = jnp.maximum(jnp.sum(inside, axis=-1), 1)[..., None]

    def mean(values: Array) -> Array:
        return jnp.sum(jnp.where(inside[..., None], values, 0), axis=-2) / count

    means = mean(bands)
    return jnp.concatenate([means, jnp.sqrt(mean(jnp.square(bands - means[..., None, :])))], axis=-1)


def with_border(waveform: np.ndarray, config: BandConfig) -> np.ndarray:
    """A recording with both ends reflected, as the padding of its features would, so that zeros may follow it."""
    border = config.border
    if config.pre_emphasis:
        # Before the border, as on a recording of its own; once the border is there, it would see other neighbours.
        first = waveform[1:2] if len(waveform) > 1 else waveform[:1]
        waveform = waveform - config.pre_emphasis * np.concatenate([first, waveform[:-1]])
    padded: np.ndarray = np.pad(waveform, border, mode="reflect" if config.mel.padding == "reflect" else "constant")
    return padded.astype(np.float32, copy=False)


def _frames_within(samples: Int[Array, " batch"], bordered: int, config: BandConfig) -> Bool[Array, "batch frames"]:
    """Which frames of the bordered, padded waveforms are frames of the recordings."""
    frames = 1 + (bordered - config.mel.n_fft) // config.mel.hop_length
    return jnp.arange(frames) * config.mel.hop_length <= samples[:, None]


def save_speaker_model(
    folder: str | Path,
    config: SpeakerConfig,
    model: SpeakerModel,
    *,
    card: str,
    dtype: type[np.floating[Any]] = np.float32,
) -> Path:
    """Writes a model directory; ``dtype=np.float16`` halves it (the card should say so)."""
    return save_with_config(folder, SYSTEM, config, model, card=card, dtype=dtype)


def load_speaker_model(folder: str | Path) -> tuple[SpeakerConfig, SpeakerModel]:
    """Reads a model directory written by :func:`save_speaker_model`."""
    return load_with_config(folder, SYSTEM, SpeakerConfig, lambda config: SpeakerModel(config, rngs=nnx.Rngs(0)))
