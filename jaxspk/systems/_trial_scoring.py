"""From recordings to scores of trials: embeddings by a protocol, scores of pairs, normalisation with a cohort."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from jaxspk import audio, metrics
from jaxspk.audio import RecordingQuality
from jaxspk.errors import ArgumentError, AudioError
from jaxspk.systems._recording import checked_waveform

_FILES_AT_ONCE = 32
_SECONDS_AT_ONCE = 240.0


@runtime_checkable
class Embedder(Protocol):
    """What is asked of an encoder; :class:`jaxspk.systems.SpeakerEncoder` is one."""

    @property
    def sample_rate(self) -> int:
        """In Hz, of what it hears."""

    @property
    def shortest_seconds(self) -> float:
        """Shortest recording that it can embed."""

    def embed(self, waveform: list[np.ndarray], sample_rate: int) -> Float32[np.ndarray, "recordings dim"]:
        """Unit vectors of recordings."""

    def embed_crops(
        self, waveform: np.ndarray, sample_rate: int, *, seconds: float, count: int
    ) -> Float32[np.ndarray, "count dim"]:
        """Unit vectors of evenly spaced crops of one recording."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringProtocol:
    """How two recordings are compared.

    Attributes:
      crops: vectors a recording.
      score: of arrays of vectors, crop by crop, and as many others; one number a pair.
      description: in words.
    """

    crops: int
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    description: str


CROP_SECONDS = 4.0
"""Of the ten crops."""

PROTOCOLS: Mapping[str, ScoringProtocol] = {
    "whole": ScoringProtocol(
        crops=1,
        score=lambda one, other: metrics.cosine_scores(one[..., 0, :], other[..., 0, :]),
        description="cosine of one vector a recording",
    ),
    "ten_crops": ScoringProtocol(
        crops=10,
        score=metrics.crop_distance_scores,
        description="minus the mean distance between ten crops of 4 s and ten",
    ),
}
"""Protocols by name: the whole recording, or the paper's ten crops."""


class EmbeddedRecordings(NamedTuple):
    """What :func:`embed_recordings` returns: those that could be embedded, in order, and those that could not."""

    paths: tuple[Path, ...]
    vectors: Float32[np.ndarray, "recordings crops dim"]
    qualities: tuple[RecordingQuality, ...]
    """One a recording, where they were asked for."""
    failed: tuple[tuple[Path, AudioError], ...]


def embed_recordings(
    encoder: Embedder,
    paths: Sequence[Path],
    *,
    protocol: str = "whole",
    channel: int | Literal["mean"] = "mean",
    measure_quality: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> EmbeddedRecordings:
    """Embeds files, a few minutes of sound in memory at a time; a bad one does not stop the others.

    Args:
      encoder: what embeds.
      paths: of files.
      protocol: a key of :data:`PROTOCOLS`.
      channel: of recordings with several: one of them, or their mean.
      measure_quality: also measure speech, noise and clipping.
      progress: told how many files are done.

    Raises:
      ArgumentError: no such protocol.
    """
    crops = _protocol(protocol).crops
    kept: list[Path] = []
    vectors: list[np.ndarray] = []
    qualities: list[RecordingQuality] = []
    failed: list[tuple[Path, AudioError]] = []
    done = 0
    for group in _groups(encoder, paths, channel):
        good = [(path, heard) for path, heard in group if not isinstance(heard, AudioError)]
        failed += [(path, heard) for path, heard in group if isinstance(heard, AudioError)]
        waveforms = [heard for _, heard in good]
        kept += [path for path, _ in good]
        if waveforms and crops == 1:
            vectors += list(encoder.embed(waveforms, encoder.sample_rate)[:, None])
        else:
            vectors += [
                encoder.embed_crops(waveform, encoder.sample_rate, seconds=CROP_SECONDS, count=crops)
                for waveform in waveforms
            ]
        if measure_quality:
            qualities += [audio.recording_quality(waveform, encoder.sample_rate) for waveform in waveforms]
        done += len(group)
        progress(done)
    stacked = np.stack(vectors) if vectors else np.zeros((0, crops, 0), np.float32)
    return EmbeddedRecordings(tuple(kept), stacked.astype(np.float32), tuple(qualities), tuple(failed))


def score_pairs(
    vectors: Float[np.ndarray, "recordings crops dim"],
    enrol: Int[np.ndarray, " trials"],
    test: Int[np.ndarray, " trials"],
    *,
    protocol: str = "whole",
) -> Float64[np.ndarray, " trials"]:
    """Scores of pairs of recordings.

    Args:
      vectors: of all recordings.
      enrol: the row of the first of each pair.
      test: the row of the second.
      protocol: a key of :data:`PROTOCOLS`, the one that the vectors were made for.

    Raises:
      ArgumentError: no such protocol, or rows that are not there.
    """
    score = _protocol(protocol).score
    for name, rows in (("enrol", enrol), ("test", test)):
        if len(rows) and not (0 <= rows.min() and rows.max() < len(vectors)):
            raise ArgumentError(f"`{name}` must hold rows from 0 to {len(vectors) - 1}, got others.")
    # All trials of one recording together: one product of a matrix, and no more memory than for those.
    order = np.argsort(enrol, kind="stable")
    firsts = np.flatnonzero(np.diff(enrol[order], prepend=-1))
    scores = np.empty(len(enrol))
    for trials in np.split(order, firsts[1:]):
        if len(trials):
            scores[trials] = score(vectors[enrol[trials[0]]], vectors[test[trials]])
    return scores


def score_matrix(
    vectors: Float[np.ndarray, "recordings crops dim"],
    others: Float[np.ndarray, "others crops dim"],
    *,
    protocol: str = "whole",
) -> Float64[np.ndarray, "recordings others"]:
    """Scores of every recording against every other one, for instance against a cohort."""
    score = _protocol(protocol).score
    return np.stack([score(vector, others) for vector in vectors]) if len(vectors) else np.zeros((0, len(others)))


def mean_by_speaker(
    vectors: Float[np.ndarray, "recordings crops dim"], speakers: Sequence[str]
) -> Float[np.ndarray, "speakers crops dim"]:
    """One voice a speaker, in order of their names: the mean over the recordings, crop by crop, of unit length."""
    _, numbers = np.unique(np.array(speakers), return_inverse=True)
    sums = np.zeros((int(numbers.max()) + 1, *vectors.shape[1:]))
    np.add.at(sums, numbers, vectors)
    means: np.ndarray = sums / np.linalg.norm(sums, axis=-1, keepdims=True)
    return means


def normalize_with_cohort(
    scores: Float64[np.ndarray, " trials"],
    vectors: Float[np.ndarray, "recordings crops dim"],
    enrol: Int[np.ndarray, " trials"],
    test: Int[np.ndarray, " trials"],
    cohort: Float[np.ndarray, "cohort crops dim"],
    *,
    protocol: str = "whole",
    top: int = 300,
) -> Float64[np.ndarray, " trials"]:
    """AS-norm of scored pairs (:func:`jaxspk.metrics.adaptive_s_norm`), each recording against the cohort once."""
    against = score_matrix(vectors, cohort, protocol=protocol)
    return metrics.adaptive_s_norm(scores, against, against, top=top, enrol=enrol, test=test)


def _protocol(name: str) -> ScoringProtocol:
    if name not in PROTOCOLS:
        raise ArgumentError(f"`protocol` must be one of {', '.join(map(repr, PROTOCOLS))}, got {name!r}.")
    return PROTOCOLS[name]


def _groups(
    encoder: Embedder, paths: Sequence[Path], channel: int | Literal["mean"]
) -> Iterator[list[tuple[Path, np.ndarray | AudioError]]]:
    """Files with their sound or what is wrong with it, as many at once as make a few minutes."""
    group: list[tuple[Path, np.ndarray | AudioError]] = []
    seconds = 0.0
    for path in paths:
        heard = _heard(encoder, path, channel)
        group.append((path, heard))
        seconds += 0 if isinstance(heard, AudioError) else len(heard) / encoder.sample_rate
        if len(group) == _FILES_AT_ONCE or seconds >= _SECONDS_AT_ONCE:
            yield group
            group, seconds = [], 0.0
    if group:
        yield group


def _heard(encoder: Embedder, path: Path, channel: int | Literal["mean"]) -> np.ndarray | AudioError:
    try:
        waveform, rate = audio.read_audio(path, sample_rate=encoder.sample_rate, channel=channel)
        return checked_waveform(waveform, rate, encoder.shortest_seconds)
    except AudioError as error:
        return error
    except ArgumentError as error:
        return AudioError(f"{path}: {error}")
