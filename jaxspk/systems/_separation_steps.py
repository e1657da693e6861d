"""The compiled steps of a separation, each on one piece of a recording: look, embed, apply masks."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Complex, Float, Int

from jaxspk import _numerics, audio, clustering
from jaxspk.systems._deep_clustering import DeepClusteringConfig, DeepClusteringModel, SpectrumConfig

MaskKind = Literal["soft", "binary"]

# Waveforms are padded to the next of these lengths, in hops, so that a folder of recordings compiles a few programs
# only: a geometric ladder, so padding costs at most a factor 2 ** (1 / steps per octave).
_BUCKETS_PER_OCTAVE = 2
_SMALLEST_BUCKET = 128

# The longest piece: long enough for its statistics to be those of a recording, short enough to follow its level.
_LONGEST_SECONDS = 50.0
# Numbers in the embeddings of a piece at most, 128 MiB; a step takes a few times that.
_LARGEST_EMBEDDINGS = 2**25


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Embedded:
    """A piece as the network sees it.

    Attributes:
      mixture: its spectrum.
      embeddings: one unit vector per time-frequency bin, row-major.
    """

    mixture: Complex[Array, "frames bins"]
    embeddings: Float[Array, "points dim"]


class Steps:
    """What is done to a piece: NumPy in, arrays out, padded to one of a few lengths inside.

    Args:
      config: of the model.
      model: the network.
    """

    def __init__(self, config: DeepClusteringConfig, model: DeepClusteringModel) -> None:
        self.config = config
        self._graph, self._state = nnx.split(model)

    @property
    def most_samples(self) -> int:
        """Longest piece that is embedded in one go, at the network's rate; a rung of the ladder."""
        features, network = self.config.features, self.config.network
        hops = min(
            int(_LONGEST_SECONDS * features.sample_rate / features.hop_length),
            _LARGEST_EMBEDDINGS // (features.bins * network.dim) - features.leading_frames,
        )
        fitting = itertools.takewhile(lambda rung: rung <= hops, _ladder())
        return max(fitting, default=_SMALLEST_BUCKET) * features.hop_length

    def padded(self, waveform: np.ndarray) -> np.ndarray:
        """The waveform with zeros after it, to the next length of the ladder."""
        hop = self.config.features.hop_length
        padded = next(rung * hop for rung in _ladder() if rung * hop >= len(waveform))
        return np.pad(waveform.astype(np.float32, copy=False), (0, padded - len(waveform)))

    def loudest(self, waveform: np.ndarray) -> float:
        """The largest magnitude of the spectrum."""
        return float(_loudest(self.config.features, self.padded(waveform)))

    def num_active(self, waveform: np.ndarray, loudest: float) -> int:
        """Bins within the configured range of a magnitude that is called the loudest."""
        spectrum = _spectrum(self.config.features, self.padded(waveform))
        return int(jnp.sum(active_bins(spectrum, loudest, self.config)))

    def embed(self, waveform: np.ndarray) -> Embedded:
        """Spectrum and embeddings of the padded piece; the padding changes nothing before it."""
        samples = jnp.int32(len(waveform))
        found: Embedded = _embed(self.config.features, self._graph, self._state, self.padded(waveform), samples)
        return found

    def masks(self, embedded: Embedded, centers: Float[Array, "speakers dim"], kind: MaskKind) -> Array:
        """One mask a centre, ``[speakers, frames, bins]``; they sum to one in every bin."""
        sharpness = None if kind == "binary" else self.config.inference.mask_sharpness
        found: Array = _masks(embedded, centers, sharpness)
        return found

    def voices(self, embedded: Embedded, centers: Float[Array, "speakers dim"], kind: MaskKind) -> np.ndarray:
        """The voices of a piece and its padding, ``[speakers, samples]``; they add up to it."""
        sharpness = None if kind == "binary" else self.config.inference.mask_sharpness
        return np.asarray(_voices(self.config.features, embedded, centers, sharpness))


def active_bins(
    spectrum: Complex[Array, "frames bins"], loudest: float | Float[Array, ""], config: DeepClusteringConfig
) -> Bool[Array, "frames bins"]:
    """The bins that shape the clusters: those within the configured range of the loudest."""
    threshold = jnp.asarray(loudest, jnp.float32) * 10 ** (-config.inference.active_db / 20)
    return jnp.greater(jnp.abs(spectrum), threshold)


@functools.partial(jax.jit, static_argnums=0)
def _spectrum(features: SpectrumConfig, waveform: Float[Array, " padded"]) -> Complex[Array, "frames bins"]:
    return audio.stft(waveform, **features.stft)


@functools.partial(jax.jit, static_argnums=0)
def _loudest(features: SpectrumConfig, waveform: Float[Array, " padded"]) -> Float[Array, ""]:
    return jnp.max(jnp.abs(audio.stft(waveform, **features.stft)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _embed(
    features: SpectrumConfig,
    graph: nnx.GraphDef[DeepClusteringModel],
    state: nnx.State[Any, Any],
    waveform: Float[Array, " padded"],
    samples: Int[Array, ""],
) -> Embedded:
    mixture = audio.stft(waveform, **features.stft)
    valid = features.valid_frames(samples, mixture.shape[0])
    return Embedded(mixture, nnx.merge(graph, state)(mixture, frames_mask=valid))


def _masks(
    embedded: Embedded, centers: Float[Array, "speakers dim"], sharpness: float | None
) -> Float[Array, "speakers frames bins"]:
    """Soft masks of a sharpness; without one each bin goes to the nearest centre."""
    if sharpness is None:
        distances = _numerics.squared_distances(embedded.embeddings, centers)
        shares = jax.nn.one_hot(jnp.argmin(distances, axis=-1), len(centers), dtype=distances.dtype)
    else:
        shares = clustering.soft_assignments(embedded.embeddings, centers, sharpness=sharpness)
    return jnp.moveaxis(shares.reshape(*embedded.mixture.shape, len(centers)), -1, 0)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _voices(
    features: SpectrumConfig, embedded: Embedded, centers: Float[Array, "speakers dim"], sharpness: float | None
) -> Float[Array, "speakers samples"]:
    masked = audio.apply_masks(embedded.mixture, _masks(embedded, centers, sharpness))
    return audio.istft(masked, **features.stft, length=features.samples(masked.shape[-2]))


def _ladder() -> Iterator[int]:
    """Its lengths in hops, ascending without end."""
    return (int(np.ceil(_SMALLEST_BUCKET * 2 ** (number / _BUCKETS_PER_OCTAVE))) for number in itertools.count())
