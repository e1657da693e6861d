"""SpeakerEncoder: a trained speaker network, from a recording to a vector that says who speaks."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int

from jaxspk.systems import _regularized_siamese
from jaxspk.systems._packaged import packaged_model
from jaxspk.systems._recording_encoder import RecordingEncoder
from jaxspk.systems._speaker_model import (
    SYSTEM,
    SpeakerConfig,
    SpeakerModel,
    load_speaker_model,
    with_border,
)
from jaxspk.systems._storage import load_model

# Recordings are padded to the next of these durations, so that a collection compiles a few programs only: a geometric
# ladder, two rungs an octave.
_SHORTEST_RUNG = 1.0
_RUNGS_PER_OCTAVE = 2
# A longer recording is embedded in pieces of equal length whose vectors are averaged.
_LONGEST_SECONDS = 30.0
# Seconds of recordings in one run of the network: its feature maps take about 40 MB for a minute.
_SECONDS_AT_ONCE = 240.0


@dataclasses.dataclass(frozen=True)
class SpeakerEncoder(RecordingEncoder):
    """Says who speaks: one vector of unit length a recording, near for one speaker and far for two.

    The similarity of two recordings is the cosine of the angle between their vectors, which is their inner product.
    A recording of more than half a minute is embedded in pieces of equal length, and their vectors are averaged.

    Attributes:
      config: the configuration that the network was trained with.
      model: the network.

    Example:
      >>> import jaxspk
      >>> encoder = jaxspk.SpeakerEncoder.load()  # doctest: +SKIP
      >>> one, other = encoder.embed([waveform_1, waveform_2], sample_rate)  # doctest: +SKIP
      >>> similarity = one @ other  # doctest: +SKIP
    """

    config: SpeakerConfig
    model: SpeakerModel

    @classmethod
    def load(cls, path: str | Path | None = None) -> "SpeakerEncoder":
        """Reads a model directory; without a path, the weights that come with the package.

        Raises:
          ModelError: the directory is missing, damaged or holds another system's model (:func:`load_encoder` reads
            those of every encoder).
        """
        return cls(*load_speaker_model(packaged_model(SYSTEM) if path is None else path))

    @property
    def sample_rate(self) -> int:
        """In Hz, of what the network hears; recordings are resampled to it."""
        return self.config.features.mel.sample_rate

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.config.dim

    def _vectors(self, recordings: list[np.ndarray]) -> Float32[np.ndarray, "recordings dim"]:
        """Unit vectors of recordings at the network's rate, computed in batches of about equal lengths."""
        pieces = [piece for recording in recordings for piece in self._pieces(recording)]
        owners = np.repeat(np.arange(len(recordings)), [len(self._pieces(recording)) for recording in recordings])
        vectors = np.zeros((len(pieces), self.dim), np.float32)
        rungs = np.array([self._rung(len(piece)) for piece in pieces])
        for rung in np.unique(rungs):
            chosen = np.flatnonzero(rungs == rung)
            most = max(1, int(_SECONDS_AT_ONCE * self.sample_rate / rung))
            for start in range(0, len(chosen), most):
                batch = chosen[start : start + most]
                vectors[batch] = self._run([pieces[index] for index in batch], int(rung), most)
        sums = np.zeros((len(recordings), self.dim), np.float64)
        np.add.at(sums, owners, _unit(vectors))
        return _unit(sums).astype(np.float32)

    def _pieces(self, recording: np.ndarray) -> list[np.ndarray]:
        """The recording, or equal parts of a long one."""
        count = -(-len(recording) // self.config.features.samples(_LONGEST_SECONDS))
        return np.array_split(recording, count)

    def _rung(self, samples: int) -> int:
        """The length to pad to."""
        seconds = samples / self.sample_rate
        number = max(0, int(np.ceil(_RUNGS_PER_OCTAVE * np.log2(seconds / _SHORTEST_RUNG) - 1e-9)))
        return max(samples, int(np.ceil(_SHORTEST_RUNG * 2 ** (number / _RUNGS_PER_OCTAVE) * self.sample_rate)))

    def _run(self, pieces: Sequence[np.ndarray], rung: int, most: int) -> np.ndarray:
        features = self.config.features
        # Few numbers of rows, too: the next power of two.
        rows = min(most, 1 << (len(pieces) - 1).bit_length())
        waveforms = np.zeros((rows, rung + 2 * features.border), np.float32)
        samples = np.zeros(rows, np.int32)
        for row, piece in enumerate(pieces):
            bordered = with_border(piece, features)
            waveforms[row, : len(bordered)] = bordered
            samples[row] = len(piece)
        samples[len(pieces) :] = samples[0]
        waveforms[len(pieces) :] = waveforms[0]
        graph, state = self._split
        embedded: np.ndarray = np.asarray(_embed_batch(graph, state, waveforms, samples))[: len(pieces)]
        return embedded

    @functools.cached_property
    def _split(self) -> tuple[Any, Any]:
        parts: tuple[Any, Any] = nnx.split(self.model)
        return parts


def load_encoder(path: str | Path | None = None) -> RecordingEncoder:
    """Reads a model directory of any system that makes one vector a recording; without a path, the packaged weights.

    Raises:
      ModelError: the directory is missing, damaged or holds a model of no such system.
    """
    if path is not None and load_model(path).system == _regularized_siamese.SYSTEM:
        return _regularized_siamese.SiameseEncoder.load(path)
    return SpeakerEncoder.load(path)


@functools.partial(jax.jit, static_argnums=0)
def _embed_batch(
    graph: nnx.GraphDef[SpeakerModel],
    state: nnx.State[Any, Any],
    waveforms: Float[Array, "batch bordered"],
    samples: Int[Array, " batch"],
) -> Float[Array, "batch dim"]:
    return jnp.asarray(nnx.merge(graph, state).embed_bordered(waveforms, samples))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scaled to unit length; a zero vector stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return scaled
