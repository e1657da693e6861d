"""Separator: a trained deep-clustering network, from a recording to one recording per voice."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Complex, Float, Int, Key

from jaxspk import audio, clustering
from jaxspk.errors import ArgumentError
from jaxspk.systems._deep_clustering import (
    SYSTEM,
    DeepClusteringConfig,
    DeepClusteringModel,
    SpectrumConfig,
    load_deep_clustering,
)
from jaxspk.systems._packaged import packaged_model

MaskKind = Literal["soft", "binary"]

# Recordings are padded to the next of these lengths, so that a folder of recordings compiles a few programs only.
_BUCKETS_PER_OCTAVE = 2
_SMALLEST_BUCKET = 128


@dataclasses.dataclass(frozen=True)
class Separator:
    """Separates the voices of a one-microphone recording by deep clustering.

    The recording's time-frequency bins are embedded by the network, the embeddings of the bins within 40 dB of the
    loudest are clustered by k-means, every bin is assigned to the clusters, and the masks that follow are applied
    to the mixture (Hershey et al. 2016, one global clustering for the recording).

    Attributes:
      config: the configuration that the network was trained with.
      model: the network.

    Example:
      >>> import jaxspk
      >>> separator = jaxspk.Separator.load()  # doctest: +SKIP
      >>> voices = separator.separate(waveform, sample_rate, speakers=2)  # doctest: +SKIP
    """

    config: DeepClusteringConfig
    model: DeepClusteringModel

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Separator":
        """Reads a model directory; without a path, the weights that come with the package.

        Raises:
          ModelError: the directory is missing, damaged or holds another system's model.
        """
        config, model = load_deep_clustering(packaged_model(SYSTEM) if path is None else path)
        return cls(config, model)

    @property
    def shortest_seconds(self) -> float:
        """Shortest recording that can be separated: ten frames of the network's spectrogram."""
        features = self.config.features
        return (features.n_fft + 9 * features.hop_length) / features.sample_rate

    def separate(
        self,
        waveform: np.ndarray,
        sample_rate: int,
        speakers: int = 2,
        *,
        masks: MaskKind = "soft",
        seed: int = 0,
    ) -> np.ndarray:
        """One waveform per voice, at the recording's own rate and length; they add up to the recording.

        The network hears the recording at its training rate. What lies above (half of) that rate, and the
        resampler's rounding, is shared between the voices in proportion to their momentary power.

        Args:
          waveform: ``[samples]``, floating, any level.
          sample_rate: in Hz.
          speakers: number of voices, at least 2; may differ from the number trained with.
          masks: ``"soft"`` shares every bin by its distance to the cluster centres; ``"binary"`` gives each bin to
            one voice, as the paper does.
          seed: of the k-means starts; the same seed gives the same result.

        Returns:
          ``[speakers, samples]``, float32, ordered from the voice with most energy to the one with least.

        Raises:
          ArgumentError: a wrong shape, a number of speakers below 2, a recording that is silent, holds values that
            are not finite, or is shorter than :attr:`shortest_seconds`.
        """
        waveform = _checked_waveform(waveform, sample_rate, self.shortest_seconds)
        if speakers < 2:
            raise ArgumentError(f"`speakers` must be at least 2, got {speakers}.")
        if masks not in ("soft", "binary"):
            raise ArgumentError(f'`masks` must be "soft" or "binary", got {masks!r}.')
        peak = float(np.max(np.abs(waveform)))
        scaled = waveform / peak
        heard = audio.resample(scaled, sample_rate, self.config.features.sample_rate)
        estimates = self.separate_at_model_rate(heard, speakers, masks=masks, seed=seed)
        estimates = audio.resample(estimates, self.config.features.sample_rate, sample_rate)
        estimates = _fit_length(estimates, len(scaled))
        estimates = estimates + _shares(estimates, sample_rate) * (scaled - estimates.sum(0))
        order = np.argsort(-np.square(estimates, dtype=np.float64).sum(1), kind="stable")
        voices: np.ndarray = (peak * estimates[order]).astype(np.float32)
        return voices

    def separate_at_model_rate(
        self, waveform: np.ndarray, speakers: int, *, masks: MaskKind = "soft", seed: int = 0
    ) -> np.ndarray:
        """The bare method at the network's own rate, ``[samples]`` to ``[speakers, samples]``: no sharing, no order."""
        found = self._analyze_padded(waveform, speakers, masks, seed)
        voices = _synthesize(found.mixture, found.masks, self.config.features)
        return np.asarray(voices)[:, : len(waveform)]

    def analyze(
        self, waveform: np.ndarray, speakers: int, *, masks: MaskKind = "soft", seed: int = 0
    ) -> "SeparationAnalysis":
        """Everything between recording and voices: spectrum, embeddings, clusters and masks.

        Args:
          waveform: ``[samples]`` at the network's rate.
          speakers: number of clusters.
          masks: as in :meth:`separate`.
          seed: of the k-means starts.
        """
        found = self._analyze_padded(waveform, speakers, masks, seed)
        features = self.config.features
        frames = audio.num_frames(len(waveform), **features.stft)
        return SeparationAnalysis(
            found.mixture[:frames],
            found.embeddings[: frames * features.bins],
            found.active[:frames],
            found.centers,
            found.masks[:, :frames],
        )

    def _analyze_padded(self, waveform: np.ndarray, speakers: int, masks: MaskKind, seed: int) -> "SeparationAnalysis":
        """The analysis of the waveform with zeros after it, so that few lengths are ever compiled."""
        hop = self.config.features.hop_length
        padding = _bucket(-(-len(waveform) // hop)) * hop - len(waveform)
        padded = jnp.pad(jnp.asarray(waveform, jnp.float32), (0, padding))
        graph, state = nnx.split(self.model)
        samples, key = jnp.int32(len(waveform)), jax.random.key(seed)
        found: SeparationAnalysis = _analyze(self.config, graph, state, padded, samples, key, speakers, masks)
        return found


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SeparationAnalysis:
    """How a separation came about.

    Attributes:
      mixture: its spectrum.
      embeddings: one unit vector per time-frequency bin, row-major.
      active: bins that shaped the clusters.
      centers: of the clusters.
      masks: one per voice; they sum to one in every bin.
    """

    mixture: Complex[Array, "frames bins"]
    embeddings: Float[Array, "points dim"]
    active: Bool[Array, "frames bins"]
    centers: Float[Array, "speakers dim"]
    masks: Float[Array, "speakers frames bins"]


@functools.partial(jax.jit, static_argnums=(0, 1, 6, 7))
def _analyze(
    config: DeepClusteringConfig,
    graph: nnx.GraphDef[DeepClusteringModel],
    state: nnx.State[Any, Any],
    waveform: Float[Array, " padded"],
    samples: Int[Array, ""],
    key: Key[Array, ""],
    speakers: int,
    masks: MaskKind,
) -> SeparationAnalysis:
    """The analysis of a waveform padded with zeros; padding shapes no cluster and no embedding."""
    mixture = audio.stft(waveform, **config.features.stft)
    valid = config.features.valid_frames(samples, mixture.shape[0])
    embeddings = nnx.merge(graph, state)(mixture, frames_mask=valid)
    active = audio.active_bins(mixture, threshold_db=config.inference.active_db)
    clusters = clustering.kmeans(
        embeddings, clusters=speakers, key=key, weights=active.reshape(-1).astype(embeddings.dtype)
    )
    if masks == "binary":
        shares = jax.nn.one_hot(clusters.labels, speakers, dtype=embeddings.dtype)
    else:
        sharpness = config.inference.mask_sharpness
        shares = clustering.soft_assignments(embeddings, clusters.centers, sharpness=sharpness)
    bin_masks = jnp.moveaxis(shares.reshape(*mixture.shape, speakers), -1, 0)
    return SeparationAnalysis(mixture, embeddings, active, clusters.centers, bin_masks)


@functools.partial(jax.jit, static_argnums=2)
def _synthesize(
    mixture: Complex[Array, "frames bins"], masks: Float[Array, "speakers frames bins"], features: SpectrumConfig
) -> Float[Array, "speakers samples"]:
    """All samples that the frames cover."""
    length = features.samples(mixture.shape[0])
    return audio.istft(audio.apply_masks(mixture, masks), **features.stft, length=length)


def _bucket(hops: int) -> int:
    """The next padded length: a geometric ladder, so padding costs at most a factor 2 ** (1 / steps per octave)."""
    steps = max(0, np.ceil(_BUCKETS_PER_OCTAVE * np.log2(hops / _SMALLEST_BUCKET)))
    return int(np.ceil(_SMALLEST_BUCKET * 2 ** (steps / _BUCKETS_PER_OCTAVE)))


def _checked_waveform(waveform: np.ndarray, sample_rate: int, shortest_seconds: float) -> np.ndarray:
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise ArgumentError(
            f"`waveform` must have one axis, [samples], got shape {waveform.shape}; average the channels first."
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ArgumentError(
            f"`waveform` must be floating in [-1, 1], got dtype {waveform.dtype}; scale and convert it."
        )
    if sample_rate < 1:
        raise ArgumentError(f"`sample_rate` must be a positive number of Hz, got {sample_rate}.")
    seconds = len(waveform) / sample_rate
    if seconds < shortest_seconds:
        raise ArgumentError(f"the recording lasts {seconds:.3f} s; at least {shortest_seconds:.3f} s are needed.")
    if not np.isfinite(waveform).all():
        raise ArgumentError("the recording holds values that are not finite.")
    if not waveform.any():
        raise ArgumentError("the recording is silent: all its samples are zero.")
    return waveform.astype(np.float32)


def _fit_length(waveforms: np.ndarray, length: int) -> np.ndarray:
    """Cuts or zero-pads the end: resampling there and back may differ by a sample."""
    missing = max(0, length - waveforms.shape[-1])
    return np.pad(waveforms, ((0, 0), (0, missing)))[:, :length]


def _shares(estimates: np.ndarray, sample_rate: int, seconds: float = 0.032) -> np.ndarray:
    """Each voice's share of the momentary power, smoothed over ``seconds``; the shares of a sample sum to one."""
    from scipy.ndimage import uniform_filter1d

    power = uniform_filter1d(
        np.square(estimates, dtype=np.float64), max(1, round(seconds * sample_rate)), axis=-1, mode="constant"
    )
    power = np.maximum(power, 0) + 1e-12
    shares: np.ndarray = power / power.sum(0)
    return shares
