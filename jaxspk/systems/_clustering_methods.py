"""One network, several ways to cluster its embeddings: those that the paper's first table compares.

=================  ==================================================================================================
global k-means     one clustering of the whole recording: what can be used, and what :class:`Separator` does
global spectral    likewise, after the spectral map
oracle k-means     each segment of 100 frames by itself; which cluster is which voice is read off the references
oracle spectral    likewise, after the spectral map
=================  ==================================================================================================

All give binary masks, as in the paper. The network reads the whole recording in every case, so that the methods
differ in their clustering alone.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Complex, Float, Int, Key

from jaxspk import _checks, audio, clustering
from jaxspk.clustering import DegreeRule
from jaxspk.data import Mixture
from jaxspk.systems._deep_clustering import DeepClusteringConfig, DeepClusteringModel
from jaxspk.systems._segment_oracle import order_like_sources

ClusteringMethod = Literal["global k-means", "global spectral", "oracle k-means", "oracle spectral"]

CLUSTERING_METHODS: tuple[ClusteringMethod, ...] = get_args(ClusteringMethod)
"""Names of the methods that :func:`separate_by_methods` knows."""

# Recordings are padded to whole numbers of so many segments, so that few lengths are compiled.
_SEGMENTS_AT_ONCE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """How the methods cluster."""

    segment_frames: int = 100
    """Frames of a segment of the oracle methods; those the network was trained on, in the paper."""
    degrees: DegreeRule = "clamped"
    """What the spectral map does about degrees that are negative or small."""
    restarts: int = 8
    """Starts of k-means."""

    def __post_init__(self) -> None:
        _checks.check_range("segment_frames", self.segment_frames, low=2)
        _checks.check_choice("degrees", self.degrees, clustering.DEGREE_RULES)
        _checks.check_range("restarts", self.restarts, low=1)


def separate_by_methods(
    config: DeepClusteringConfig,
    model: DeepClusteringModel,
    mixture: Mixture,
    methods: Sequence[ClusteringMethod] = CLUSTERING_METHODS,
    *,
    how: MethodConfig | None = None,
    seed: int = 0,
) -> Mapping[ClusteringMethod, np.ndarray]:
    """The voices of a mixture by each method, from one pass of the network.

    Args:
      config: of the network.
      model: the network.
      mixture: at the network's rate; the oracle methods look at its sources.
      methods: which to use.
      how: how to cluster.
      seed: of the k-means starts.

    Returns:
      ``[speakers, samples]`` each; the oracle's are in the order of the sources, the others in none.

    Raises:
      ArgumentError: a method is unknown.
    """
    how = how or MethodConfig()
    for method in methods:
        _checks.check_choice("methods", method, CLUSTERING_METHODS)
    features, samples = config.features, mixture.mixture.size
    block = _SEGMENTS_AT_ONCE * how.segment_frames
    frames = -(-audio.num_frames(samples, **features.stft) // block) * block
    padding = ((0, 0), (0, features.samples(frames) - samples))
    heard = np.pad(np.concatenate([mixture.mixture[None], mixture.sources]), padding).astype(np.float32)
    graph, state = nnx.split(model)
    voices = _separate(
        config, how, tuple(methods), graph, state, jnp.asarray(heard), jnp.int32(samples), jax.random.key(seed)
    )
    return {method: np.asarray(found)[:, :samples] for method, found in zip(methods, voices, strict=True)}


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _separate(
    config: DeepClusteringConfig,
    how: MethodConfig,
    methods: tuple[ClusteringMethod, ...],
    graph: nnx.GraphDef[DeepClusteringModel],
    state: nnx.State[Any, Any],
    heard: Float[Array, "heard padded"],
    samples: Int[Array, ""],
    key: Key[Array, ""],
) -> list[Float[Array, "speakers padded"]]:
    """The voices by each method; ``heard`` is the mixture, then its sources."""
    spectra = audio.stft(heard, **config.features.stft)
    mixture, sources = spectra[0], jnp.abs(spectra[1:])
    valid = config.features.valid_frames(samples, mixture.shape[0])
    embeddings = nnx.merge(graph, state)(mixture, frames_mask=valid)
    # Padding is silent; a frame of it that is not would still shape nothing.
    active = audio.active_bins(mixture, threshold_db=config.inference.active_db) & valid[:, None]
    return [
        audio.istft(
            audio.apply_masks(mixture, _masks(method, how, embeddings, mixture, sources, active, key)),
            **config.features.stft,
            length=heard.shape[1],
        )
        for method in methods
    ]


def _masks(
    method: ClusteringMethod,
    how: MethodConfig,
    embeddings: Float[Array, "points dim"],
    mixture: Complex[Array, "frames bins"],
    sources: Float[Array, "speakers frames bins"],
    active: Bool[Array, "frames bins"],
    key: Key[Array, ""],
) -> Float[Array, "speakers frames bins"]:
    speakers, frames, bins = sources.shape
    cluster = functools.partial(_labels, spectral=method.endswith("spectral"), speakers=speakers, how=how)
    weights = active.astype(embeddings.dtype)
    if method.startswith("global"):
        return _one_hot(cluster(embeddings, weights.reshape(-1), key), speakers, (frames, bins))

    def of_segment(segment: tuple[Array, ...]) -> Array:
        points, loud, heard, wanted, own_key = segment
        masks = _one_hot(cluster(points, loud.reshape(-1), own_key), speakers, heard.shape)
        return order_like_sources(masks, heard, wanted)

    length = how.segment_frames
    count = frames // length
    segments = (
        embeddings.reshape(count, length * bins, -1),
        weights.reshape(count, length, bins),
        jnp.abs(mixture).reshape(count, length, bins),
        jnp.moveaxis(sources.reshape(speakers, count, length, bins), 0, 1),
        jax.random.split(key, count),
    )
    # One after the other: side by side, all would iterate as long as the slowest.
    masks = jax.lax.map(of_segment, segments)
    return jnp.moveaxis(masks, 0, 1).reshape(speakers, frames, bins)


def _labels(
    points: Float[Array, "points dim"],
    weights: Float[Array, " points"],
    key: Key[Array, ""],
    *,
    spectral: bool,
    speakers: int,
    how: MethodConfig,
) -> Int[Array, " points"]:
    if spectral:
        return clustering.spectral_clustering(
            points, clusters=speakers, key=key, weights=weights, degrees=how.degrees, restarts=how.restarts
        ).labels
    return clustering.kmeans(points, clusters=speakers, key=key, weights=weights, restarts=how.restarts).labels


def _one_hot(
    labels: Int[Array, " points"], speakers: int, shape: tuple[int, ...]
) -> Float[Array, "speakers frames bins"]:
    return jnp.moveaxis(jax.nn.one_hot(labels.reshape(shape), speakers, dtype=jnp.float32), -1, 0)
