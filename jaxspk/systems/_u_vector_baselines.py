"""What u-vectors have to beat: statistics of cepstra, and a linear discriminant that is solved instead of trained."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Float32, Int

from jaxspk import audio, models
from jaxspk.audio import FrameFeatureConfig
from jaxspk.data import PseudoLabelled
from jaxspk.systems._speaker_evaluation import CepstralStatistics

_FRAMES_AT_ONCE = 256


def standardized_cepstra(
    sounds: Float32[np.ndarray, "items samples"], sample_rate: int
) -> Float[np.ndarray, "items dim"]:
    """Mean and deviation of 20 MFCCs of each sound, each dimension to zero mean and unit deviation over all sounds."""
    vectors = CepstralStatistics(sample_rate=sample_rate).embed(list(sounds), sample_rate).astype(np.float64)
    scaled: np.ndarray = (vectors - vectors.mean(0)) / np.maximum(vectors.std(0), 1e-12)
    return scaled


@dataclasses.dataclass(frozen=True, eq=False)
class LinearDiscriminant:
    r"""The linear map of band statistics in which frames of a pseudo-class lie closest and classes lie apart.

    It solves, by pseudo-labels alone, what the networks are trained for:

    .. math:: \max_V \operatorname{tr}\bigl((V^\top W V)^{-1} V^\top B V\bigr)

    with W the mean scatter of frames within classes, shrunk towards a multiple of the identity, and B that of the
    means of the classes.

    Attributes:
      features: of the pictures whose statistics are taken.
      mean: of the statistics.
      projection: V, with the scale of the statistics.
    """

    features: FrameFeatureConfig
    mean: Float[np.ndarray, " statistics"]
    projection: Float[np.ndarray, "statistics dim"]

    @classmethod
    def fit(
        cls, labelled: PseudoLabelled, features: FrameFeatureConfig, *, dim: int = 24, shrinkage: float = 0.1
    ) -> "LinearDiscriminant":
        """Solves it.

        Args:
          labelled: frames with pseudo-labels.
          features: of the pictures.
          dim: how many directions to keep, at most as many as there are statistics.
          shrinkage: share of the identity in W.
        """
        statistics = _statistics(labelled.frames, features)
        mean, deviation = statistics.mean(0), np.maximum(statistics.std(0), 1e-9)
        scaled = (statistics - mean) / deviation
        means = _class_means(scaled, labelled.labels)
        inner = scaled - means[labelled.labels]
        within = inner.T @ inner / len(inner)
        size = len(within)
        within = (1 - shrinkage) * within + shrinkage * np.trace(within) / size * np.eye(size)
        _, directions = scipy.linalg.eigh(means.T @ means / len(means), within)
        return cls(features, mean, directions[:, ::-1][:, :dim] / deviation[:, None])

    def embed(self, frames: Float32[np.ndarray, "frames samples"]) -> Float[np.ndarray, "frames dim"]:
        """Vectors of frames."""
        vectors: np.ndarray = (_statistics(frames, self.features) - self.mean) @ self.projection
        return vectors


def _class_means(rows: Float[np.ndarray, "frames dim"], labels: Int[np.ndarray, " frames"]) -> np.ndarray:
    sums = np.zeros((labels.max() + 1, rows.shape[1]))
    np.add.at(sums, labels, rows)
    means: np.ndarray = sums / np.bincount(labels)[:, None]
    return means


def _statistics(
    frames: Float32[np.ndarray, "frames samples"], features: FrameFeatureConfig
) -> Float[np.ndarray, "frames statistics"]:
    @jax.jit
    def made(some: Array) -> Array:
        return models.band_statistics(audio.frame_features(some, features))

    # Filled up, so that one program does for all.
    filled = np.pad(frames, ((0, -len(frames) % _FRAMES_AT_ONCE), (0, 0)))
    rows = [np.asarray(made(jnp.asarray(some))) for some in filled.reshape(-1, _FRAMES_AT_ONCE, frames.shape[1])]
    statistics: np.ndarray = np.concatenate(rows)[: len(frames)].astype(np.float64)
    return statistics
