"""Deep clustering: configuration, network on spectra, loss on a batch, training and storage.

Hershey, Chen, Le Roux, Watanabe, "Deep clustering: discriminative embeddings for segmentation and separation",
ICASSP 2016 (H16); Isik et al., "Single-channel multi-speaker separation using deep clustering", Interspeech 2016
(I16); Wang, Le Roux, Hershey, "Alternative objective functions for deep clustering", ICASSP 2018 (W18).
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Complex, Float, Int

from jaxspk import _checks, audio, losses, models
from jaxspk.systems._storage import load_with_config, save_with_config

SYSTEM = "deep_clustering"

_MOST_LAYERS = 100

Batch = Mapping[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrumConfig:
    """The network's view of a recording; H16: 8 kHz, 32 ms windows of √Hann, 8 ms hop."""

    sample_rate: int = 8000
    """In Hz; recordings are resampled to it."""
    n_fft: int = 256
    """Window and transform length, in samples."""
    hop_length: int = 64
    """In samples."""
    floor_db: float = 60.0
    """Log magnitudes are floored this far below the recording's maximum."""
    normalization: Literal["utterance", "corpus"] = "utterance"
    """Zero mean and unit variance over each recording, or by a frequency's statistics over the training data,
    which then travel with the model."""

    @property
    def bins(self) -> int:
        """Frequencies of a frame."""
        return self.n_fft // 2 + 1

    @property
    def leading_frames(self) -> int:
        """Frames that begin in the zeros before the first sample."""
        return -(-self.n_fft // self.hop_length) - 1

    @property
    def stft(self) -> dict[str, int]:
        """Arguments of :func:`jaxspk.audio.stft`."""
        return {"n_fft": self.n_fft, "hop_length": self.hop_length}

    def valid_frames(self, samples: Int[Array, "*batch"], frames: int) -> Bool[Array, "*batch frames"]:
        """Which of the transform's frames hold any of the first ``samples`` samples; the others are padding."""
        starts = (jnp.arange(frames) - self.leading_frames) * self.hop_length
        return starts < samples[..., None]

    def samples(self, frames: int) -> int:
        """Length of the longest recording whose transform has so many frames."""
        return (frames - self.leading_frames) * self.hop_length


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The embedding network."""

    layers: int = 2
    """Bidirectional LSTM layers."""
    units: int = 600
    """Cells per direction (H16's 600 may be the sum of both: CURRENNT counts so)."""
    dim: int = 40
    """Length of an embedding; at least the number of speakers."""
    activation: Literal["tanh", "logistic"] = "tanh"
    """Before the embeddings are scaled to unit length."""
    dropout: float = 0.0
    """Share of a layer's outputs dropped in training."""
    initial_std: float | None = None
    """Standard deviation of normal initial weights (H16, by way of CURRENNT: 0.1, which notes on it call the variance);
    None takes Glorot-uniform input weights and orthogonal recurrent ones."""

    def __post_init__(self) -> None:
        # A configuration from elsewhere must not build for ever.
        _checks.check_range("layers", self.layers, low=1, high=_MOST_LAYERS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How time-frequency bins are weighted in the affinity cost."""

    weights: Literal["active", "magnitude", "none"] = "active"
    """Bins within ``active_db`` of the loudest count one and others nothing (H16); or each bin counts by its
    magnitude (W18); or all count one."""
    active_db: float = 40.0
    """Of ``weights="active"``."""
    balance: Literal["none", "partition"] = "none"
    """``"partition"`` divides by the square root of a source's number of bins (H16's training cost)."""
    normalize: Literal["none", "weights"] = "weights"
    """``"weights"`` divides the cost by the squared sum of weights, so that its scale does not depend on the
    number of bins; ``"none"`` is the papers' raw sum."""
    ignore_noise: bool = False
    """Leave out the bins in which what is nobody's voice is louder than every voice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """From embeddings to masks."""

    active_db: float = 40.0
    """Only bins within this range of the loudest shape the clusters; all are assigned."""
    mask_sharpness: float = 8.0
    """Of soft masks: how fast a bin's share falls with its squared distance to a centre."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepClusteringConfig:
    """Everything that makes a deep-clustering model what it is; saved beside its weights."""

    features: SpectrumConfig = SpectrumConfig()
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    inference: InferenceConfig = InferenceConfig()


class FeatureStatistic(nnx.Variable[Array]):
    """A statistic of the training data that travels with the model and is not trained."""


class DeepClusteringModel(nnx.Module):
    """From mixture spectra to one unit-length embedding a time-frequency bin."""

    def __init__(
        self,
        config: DeepClusteringConfig,
        *,
        rngs: nnx.Rngs,
        statistics: audio.Normalization | None = None,
    ) -> None:
        """Builds the network; ``statistics`` are required by, and only by, ``normalization="corpus"``."""
        features, network = config.features, config.network
        self.floor_db = features.floor_db
        self.network = models.EmbeddingNetwork(
            features.bins,
            layers=network.layers,
            units=network.units,
            dim=network.dim,
            activation=network.activation,
            dropout=network.dropout,
            initial_std=network.initial_std,
            rngs=rngs,
        )
        self.by_utterance = features.normalization == "utterance"
        if not self.by_utterance:
            given = statistics or audio.Normalization(np.zeros(features.bins), np.ones(features.bins))
            self.mean = FeatureStatistic(jnp.asarray(given.mean, jnp.float32))
            self.deviation = FeatureStatistic(jnp.asarray(given.std, jnp.float32))

    def __call__(
        self,
        spectrum: Complex[Array, "*batch frames bins"],
        *,
        frames_mask: Bool[Array, "*batch frames"] | None = None,
        deterministic: bool = True,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "*batch points dim"]:
        """Embeddings, row-major in (frame, frequency); frames whose mask is false influence no other."""
        features = audio.log_magnitude(spectrum, floor_db=self.floor_db)
        if self.by_utterance:
            features = audio.normalize_utterance(features, where=frames_mask)
        else:
            features = (features - self.mean[...]) / self.deviation[...]
        return self.network(features, frames_mask=frames_mask, deterministic=deterministic, rngs=rngs)


def deep_clustering_cost(
    model: DeepClusteringModel,
    batch: Batch,
    config: DeepClusteringConfig,
    *,
    rngs: nnx.Rngs | None = None,
) -> Float[Array, " batch"]:
    """The affinity cost of each mixture of a batch.

    Args:
      model: the network.
      batch: "mixture" ``[batch, samples]``, "sources" ``[batch, speakers, samples]`` and "samples" ``[batch]``, the
        true lengths, as :func:`jaxspk.data.stack_mixtures` makes them.
      config: names spectrum and loss.
      rngs: for dropout; without it nothing is dropped.
    """
    features = config.features
    mixture = audio.stft(batch["mixture"], **features.stft)
    sources = audio.stft(batch["sources"], **features.stft)
    frames_mask = features.valid_frames(batch["samples"], mixture.shape[-2])
    embeddings = model(mixture, frames_mask=frames_mask, deterministic=rngs is None, rngs=rngs)
    return losses.deep_clustering_loss(
        embeddings,
        _assignments(sources),
        _bin_weights(mixture, sources, frames_mask, config.loss),
        balance=config.loss.balance,
        normalize=config.loss.normalize,
    )


def deep_clustering_objective(
    config: DeepClusteringConfig,
) -> Callable[[DeepClusteringModel, Batch, Array], tuple[Array, dict[str, Array]]]:
    """The training loss, for :func:`jaxspk.training.fit`: the mean of :func:`deep_clustering_cost` over a batch."""

    def objective(model: DeepClusteringModel, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        return jnp.mean(deep_clustering_cost(model, batch, config, rngs=nnx.Rngs(key))), {}

    return objective


def fit_statistics(mixtures: Any, config: DeepClusteringConfig, *, count: int = 200) -> audio.Normalization:
    """Mean and deviation of each frequency's log magnitude over the first mixtures of the training data.

    Args:
      mixtures: indexable, yields :class:`jaxspk.data.Mixture`.
      config: names the spectrum.
      count: number of mixtures taken.
    """
    features = config.features
    rows = [
        audio.log_magnitude(audio.stft(jnp.asarray(mixtures[i].mixture), **features.stft), floor_db=features.floor_db)
        for i in range(count)
    ]
    return audio.Normalization.fit(jnp.concatenate(rows))


def save_deep_clustering(
    folder: str | Path,
    config: DeepClusteringConfig,
    model: DeepClusteringModel,
    *,
    card: str,
    dtype: type[np.floating[Any]] = np.float32,
) -> Path:
    """Writes a model directory; ``dtype=np.float16`` halves it (the card should say so)."""
    return save_with_config(folder, SYSTEM, config, model, card=card, dtype=dtype)


def load_deep_clustering(folder: str | Path) -> tuple[DeepClusteringConfig, DeepClusteringModel]:
    """Reads a model directory written by :func:`save_deep_clustering`."""
    return load_with_config(
        folder, SYSTEM, DeepClusteringConfig, lambda config: DeepClusteringModel(config, rngs=nnx.Rngs(0))
    )


def _assignments(
    sources: Complex[Array, "*batch sources frames bins"],
) -> Float[Array, "*batch points sources"]:
    """Which source dominates each bin, in the order of the embeddings."""
    masks = jnp.moveaxis(audio.ideal_binary_mask(sources), -3, -1)
    return masks.reshape(*masks.shape[:-3], -1, masks.shape[-1])


def _bin_weights(
    mixture: Complex[Array, "batch frames bins"],
    sources: Complex[Array, "batch sources frames bins"],
    frames_mask: Bool[Array, "batch frames"],
    config: LossConfig,
) -> Float[Array, "batch points"]:
    if config.weights == "active":
        weights = audio.active_bins(mixture, threshold_db=config.active_db).astype(jnp.float32)
    elif config.weights == "magnitude":
        weights = jnp.abs(mixture)
    else:
        weights = jnp.ones(mixture.shape, jnp.float32)
    if config.ignore_noise:
        noise = jnp.abs(mixture - sources.sum(1))
        weights = weights * (noise <= jnp.abs(sources).max(1))
    weights = weights * frames_mask[..., None]
    return weights.reshape(*weights.shape[:-2], -1)
