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

from jaxspk import audio, models
from jaxspk.systems._storage import load_with_config, save_with_config

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
class SpeakerConfig:
    """Everything that makes a speaker encoder what it is; saved beside its weights."""

    features: BandConfig = BandConfig()
    encoder: EncoderConfig = EncoderConfig()


class SpeakerModel(nnx.Module):
    """From waveforms to one embedding a recording, not scaled to any length."""

    def __init__(self, config: SpeakerConfig, *, rngs: nnx.Rngs) -> None:
        """Draws the weights."""
        self.features = config.features
        encoder = config.encoder
        width = {} if encoder.width is None else {"width": encoder.width}
        self.network = models.SPEAKER_NETWORKS[encoder.network](
            config.features.bands, dim=encoder.dim, pooling=encoder.pooling, rngs=rngs, **width
        )

    def __call__(
        self,
        waveform: Float[Array, "batch samples"],
        *,
        deterministic: bool = True,
        transform: Any = None,
    ) -> Float[Array, "batch dim"]:
        """Embeddings of recordings of one length.

        Args:
          waveform: at the rate of the configuration.
          deterministic: False takes batch norm's statistics from the batch.
          transform: a function of the bands, for SpecAugment.
        """
        bands = speech_bands(waveform, self.features)
        bands = bands if transform is None else transform(bands)
        embeddings: Array = self.network(bands, deterministic=deterministic)
        return embeddings

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
        bands = speech_bands(waveform, unpadded, where=frames_mask)
        embeddings: Array = self.network(bands, frames_mask=frames_mask)
        return embeddings


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
